"""What decides what a training makes: the options of the command line over a recipe over the defaults of the stage."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from vidlabel.errors import InputError

Stage = Literal["align", "pretrain", "instruct"]
PromptForm = Literal["inference", "reference"]
Language = Literal["frozen", "lora", "full"]  # what of the language model learns
Optimizer = Literal["adamw", "muon"]
Dtype = Literal["auto", "fp32", "bf16", "fp16"]
KeptDtype = Literal["fp32", "bf16", "fp16"]
TORCH_DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
_CHOICES: dict[str, Any] = {
    "prompt_form": PromptForm,
    "dtype": Dtype,
    "save_dtype": KeptDtype,
    "stage": Stage,
    "optimizer": Optimizer,
}


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """None: as the model or the other settings say."""

    stage: Stage
    steps: int | None = None  # of the optimizer; None: as `epochs` comes to
    epochs: float = 1.0
    batch_size: int = 4  # rows at once in one process
    turns: int = 1  # examples about the same clip in a row, at most
    accumulate: int = 1  # batches to one step
    optimizer: Optimizer = "adamw"
    lr: float = 1e-4
    min_lr: float | None = None  # None: a tenth of lr
    warmup_lr: float = 1e-6
    warmup_steps: int | None = None  # None: one in thirty
    vision_lr: float | None = None  # None: lr
    weight_decay: float = 0.05
    beta2: float = 0.999
    max_grad_norm: float = 1.0  # 0: gradients are not cut
    lora: bool = True
    lora_r: int = 64
    lora_alpha: float = 16.0
    lora_dropout: float = 0.05
    full: bool = False
    train_vision: bool = False
    pool: str = "caption"
    prompt_form: PromptForm = "inference"
    max_answer_tokens: int = 256
    max_context_tokens: int | None = None
    frames: int | None = None
    subtitles: bool = True
    checkpointing: bool = False
    dtype: Dtype = "auto"
    save_dtype: KeptDtype | None = None  # None: matrices as `dtype` has them, the rest as it learnt
    seed: int = 42

    def __post_init__(self) -> None:
        least = {
            "steps": 1,
            "turns": 1,
            "batch_size": 1,
            "accumulate": 1,
            "max_answer_tokens": 1,
            "max_context_tokens": 1,
        }
        for name, low in {**least, "frames": 1, "lora_r": 1, "warmup_steps": 0, "max_grad_norm": 0}.items():
            value = getattr(self, name)
            if value is not None and value < low:
                raise InputError(f"{_option(name)} {value}: is {low} at least")
        if self.epochs <= 0:
            raise InputError(f"--epochs {self.epochs}: is above 0")
        for name, known in _CHOICES.items():
            value = getattr(self, name)
            if value not in get_args(known) and (name, value) != ("save_dtype", None):
                raise InputError(f"{_option(name)} {value}: is one of {', '.join(get_args(known))}")
        if self.save_dtype is not None and not (self.full or self.train_vision):
            raise InputError(f"--save-dtype {self.save_dtype}: belongs to --full or --train-vision")

    @property
    def language(self) -> Language:
        return "full" if self.full else "lora" if self.lora else "frozen"


_KINDS: dict[str, type | tuple[type, ...]] = {"int": int, "float": (int, float), "bool": bool}


def settle(stage: Stage, recipe: Path | None, given: Mapping[str, Any]) -> TrainSettings:
    """`given`: options as typed, None where they were not."""
    values: dict[str, Any] = {"lora": stage != "align"}
    if recipe is not None:
        values |= read_recipe(recipe, stage)
    values |= {name: value for name, value in given.items() if value is not None}
    for first, second in (("steps", "epochs"), ("full", "lora")):  # what is typed sets aside what the recipe says
        if given.get(first) is not None and given.get(second) is None:
            values.pop(second, None)
        elif given.get(second) is not None and given.get(first) is None:
            values.pop(first, None)
    values["lora"] = values.get("lora", stage != "align") and not values.get("full", False)
    return TrainSettings(**values | {"stage": stage})


def read_recipe(path: Path, stage: Stage) -> dict[str, Any]:
    """The settings in a TOML file; each wrong key is named."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"--recipe {path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"--recipe {path}: not TOML: {error}") from error
    known = {field.name: str(field.type).removesuffix(" | None") for field in fields(TrainSettings)}
    for name, value in values.items():
        if name not in known:
            raise InputError(f"--recipe {path}: unknown key {name!r}; the keys are {', '.join(known)}")
        kind = _KINDS.get(known[name], str)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise InputError(f"--recipe {path}: {name} should be {known[name]}, got {value!r}")
    if values.get("stage", stage) != stage:
        raise InputError(f"--recipe {path}: is for {values['stage']}, not for {stage}")
    return values


def to_values(settings: TrainSettings) -> dict[str, Any]:
    return asdict(settings)


def _option(name: str) -> str:
    return "STAGE" if name == "stage" else "--" + name.replace("_", "-")
