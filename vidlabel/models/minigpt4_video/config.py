"""The sizes and prompt form of one MiniGPT4-video model, as they stand in its `config.json`. Needs no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from vidlabel.errors import InputError

FORMAT = "vidlabel-minigpt4-video"
FORMAT_VERSION = 1
PromptFamilyName = Literal[
    "inst", "inst_training", "inst_control", "llama3", "chatml", "qwen2", "qwen2.5", "qwen3"
]  # see `families.FAMILIES`


@dataclass(frozen=True, slots=True)
class VisionConfig:
    """The EVA vision tower. The released one is `EVA_VIT_G`."""

    image_size: int
    patch_size: int
    embed_dim: int
    depth: int
    num_heads: int
    mlp_hidden: int
    norm_eps: float = 1e-6

    def __post_init__(self) -> None:
        _require_positive(self)
        if self.image_size % self.patch_size:
            raise ValueError(
                f"image_size must be a multiple of patch_size, got {self.image_size = }, {self.patch_size = }"
            )
        if self.embed_dim % self.num_heads:
            raise ValueError(f"embed_dim must be a multiple of num_heads, got {self.embed_dim = }, {self.num_heads = }")

    @property
    def num_patches(self) -> int:
        return (self.image_size // self.patch_size) ** 2


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Everything about a model that its language model's own config does not say."""

    vision: VisionConfig
    context_window: int  # positions that prompt and answer may take together
    pool_size: int = 4  # consecutive patches that become one token
    num_frames: int = 45  # frames to sample from a clip unless told otherwise
    prompt_family: PromptFamilyName = "inst"
    num_bos: int = 2  # the reference's inference prompt begins with two; its training prompt with one
    ln_vision_eps: float = 1e-5

    def __post_init__(self) -> None:
        _require_positive(self, may_be_zero=("num_bos",))
        if self.vision.num_patches % self.pool_size:
            raise ValueError(f"pool_size must divide {self.vision.num_patches} patches, got {self.pool_size = }")
        if self.prompt_family not in get_args(PromptFamilyName):
            raise ValueError(f"prompt_family is one of {get_args(PromptFamilyName)}, got {self.prompt_family = }")

    @property
    def tokens_per_frame(self) -> int:
        return self.vision.num_patches // self.pool_size

    def to_json(self) -> str:
        values = {"format": FORMAT, "format_version": FORMAT_VERSION, **asdict(self)}
        return json.dumps(values, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, *, source: str = "config.json") -> ModelConfig:
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise InputError(f"{source}: not JSON ({error})") from error
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            raise InputError(f"{source}: not a vidlabel model (its field 'format' should be {FORMAT!r})")
        if values.get("format_version") != FORMAT_VERSION:
            raise InputError(
                f"{source}: field 'format_version' is {values.get('format_version')!r}, "
                f"this vidlabel reads {FORMAT_VERSION}"
            )
        rest = {key: value for key, value in values.items() if key not in ("format", "format_version")}
        vision = rest.get("vision")
        if not isinstance(vision, dict):
            raise InputError(f"{source}: field 'vision' should be an object, got {vision!r}")
        rest["vision"] = _build(VisionConfig, vision, f"{source}: vision")
        return _build(cls, rest, source)


Config = TypeVar("Config", VisionConfig, ModelConfig)


def read_config(folder: Path) -> ModelConfig:
    """The config of one of our own model folders."""
    path = folder / "config.json"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error}); a model folder has a config.json") from error
    return ModelConfig.from_json(text, source=str(path))


def _build(cls: type[Config], values: Mapping[str, Any], source: str) -> Config:
    """The dataclass from JSON values; each wrong field is named."""
    known = {field.name: field for field in fields(cls)}
    for name in values:
        if name not in known:
            raise InputError(f"{source}: unknown field {name!r}; known are {', '.join(known)}")
    for name, field in known.items():
        if name not in values:
            if field.default is MISSING:
                raise InputError(f"{source}: field {name!r} is missing")
            continue
        value, kind = values[name], str(field.type)
        numeric = isinstance(value, int) and not isinstance(value, bool)
        fits = {
            "int": numeric,
            "float": numeric or isinstance(value, float),
            "PromptFamilyName": isinstance(value, str),
        }
        if not fits.get(kind, True):
            raise InputError(f"{source}: field {name!r} should be {kind}, got {value!r}")
    try:
        return cls(**values)
    except ValueError as error:
        raise InputError(f"{source}: {error}") from error


def _require_positive(config: VisionConfig | ModelConfig, may_be_zero: tuple[str, ...] = ()) -> None:
    for field in fields(config):
        value = getattr(config, field.name)
        if isinstance(value, int | float) and (value < 0 or (value == 0 and field.name not in may_be_zero)):
            raise ValueError(f"{field.name} must be above 0, got {value}")


EVA_VIT_G = VisionConfig(image_size=224, patch_size=14, embed_dim=1408, depth=39, num_heads=16, mlp_hidden=6144)
