"""What learns in each of the three stages, and getting it ready for that: LoRA put in, types, gradients.

    align      the projection
    pretrain   the projection, and LoRA on q_proj and v_proj
    instruct   the same

What learns is float32 whatever the rest is kept in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vidlabel.errors import InputError
from vidlabel.models.minigpt4_video.lora import Lora, merge_lora
from vidlabel.models.minigpt4_video.model import MiniGPT4Video
from vidlabel.train.settings import Language

LORA_TARGETS = ("q_proj", "v_proj")
_LLM = "llama_model."


@dataclass(frozen=True, slots=True)
class Learning:
    """What learns beside the projection, which always does."""

    language: Language
    vision: bool = False
    rank: int = 64
    alpha: float = 16.0
    dropout: float = 0.05

    def __post_init__(self) -> None:
        if self.rank < 1 or self.alpha <= 0 or not 0 <= self.dropout < 1:
            raise ValueError(
                "LoRA's rank is at least 1, its alpha above 0, its dropout in [0, 1), "
                f"got {self.rank = }, {self.alpha = }, {self.dropout = }"
            )


def get_ready(model: MiniGPT4Video, learning: Learning, lora: Mapping[str, Lora], *, seed: int) -> None:
    """Makes the right parameters learn. With LoRA, `model` is without the adapter that `lora` goes on from."""
    model.requires_grad_(False)
    if learning.language == "lora":
        _put_lora_in(model.llama_model, learning, lora, seed)
    parts: list[nn.Module] = [model.llama_proj]
    parts += [model.llama_model] if learning.language == "full" else []
    parts += [model.visual_encoder, model.ln_vision] if learning.vision else []
    for part in parts:
        part.float().requires_grad_(True)
    if learning.language == "full":
        model.llama_model.config.dtype = torch.float32


def learning_names(model: nn.Module) -> list[str]:
    """The parameters that learn, sorted."""
    return sorted(name for name, parameter in model.named_parameters() if parameter.requires_grad)


def learnt_lora(model: MiniGPT4Video, alpha: float) -> dict[str, Lora]:
    """The factors by layer of the language model, as they are now; empty without LoRA."""
    found: dict[str, Lora] = {}
    for name, module in model.llama_model.named_modules():
        if hasattr(module, "lora_A"):
            a, b = (side["default"].weight.detach().cpu() for side in (module.lora_A, module.lora_B))
            found[name] = Lora(a, b, alpha / a.shape[0])
    return found


def plain_tensors(model: MiniGPT4Video, lora: Mapping[str, Lora]) -> dict[str, Tensor]:
    """The model's tensors on the CPU by their usual names, LoRA merged in float32."""
    tensors: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        if ".lora_" in name:
            continue
        name = name.replace(".base_layer.", ".")
        tensor = tensor.detach().cpu()
        factors = lora.get(name.removeprefix(_LLM).removesuffix(".weight"))
        tensors[name] = tensor if factors is None else merge_lora(tensor, factors, name=name, source="what was learnt")
    return tensors


def _put_lora_in(llama_model: Any, learning: Learning, lora: Mapping[str, Lora], seed: int) -> None:
    from peft import LoraConfig, inject_adapter_in_model

    torch.manual_seed(seed)  # of a fresh adapter's first weights
    settings = LoraConfig(
        r=learning.rank,
        lora_alpha=learning.alpha,  # type: ignore[arg-type]  # its type says int, its code divides
        lora_dropout=learning.dropout,
        target_modules=list(LORA_TARGETS),
        bias="none",
    )
    inject_adapter_in_model(settings, llama_model)
    layers = {name: module for name, module in llama_model.named_modules() if hasattr(module, "lora_A")}
    if lora and set(lora) != set(layers):
        raise InputError(
            f"--from: its adapter is of {', '.join(sorted(set(lora) ^ set(layers))[:3])} too or not, "
            f"training is of {' and '.join(LORA_TARGETS)} in every layer"
        )
    for name, module in layers.items():
        sides = {"A": module.lora_A["default"], "B": module.lora_B["default"]}
        for side, factor in sides.items():
            factor.float().requires_grad_(True)  # peft makes it as the layer that it is put on: half, and frozen
            if lora:
                start = lora[name].a if side == "A" else lora[name].b
                if start.shape != factor.weight.shape:
                    raise InputError(
                        f"--lora-r {learning.rank}: the adapter of --from has rank {lora[name].a.shape[0]}"
                    )
                with torch.no_grad():
                    factor.weight.copy_(start)
