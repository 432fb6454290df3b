"""LoRA tensors of a released checkpoint: both of peft's namings, merged by peft itself in float32, layer by layer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vidlabel.errors import InputError

DEFAULT_ALPHA = 16.0  # of the released checkpoints
# peft 0.2 wrote `q_proj.lora_A.weight`; later versions put the adapter's name between
_LORA_KEY = re.compile(r"(?P<layer>.+)\.lora_(?P<side>[AB])(?:\.default)?\.weight")


@dataclass(frozen=True, slots=True, eq=False)
class Lora:
    """The two factors of one layer: `weight + scaling * b @ a`."""

    a: Tensor  # (rank, in)
    b: Tensor  # (out, rank)
    scaling: float


def collect_lora(tensors: Mapping[str, Tensor], *, alpha: float, source: str) -> dict[str, Lora]:
    """The factors by layer name (`model.layers.0.self_attn.q_proj`). Every tensor must find its partner."""
    sides: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        match = _LORA_KEY.fullmatch(name)
        if match is None:
            raise InputError(f"{source}: {name} is not a LoRA tensor of a known form")
        if match["side"] in sides.setdefault(match["layer"], {}):
            raise InputError(f"{source}: {match['layer']} has lora_{match['side']} twice")
        sides[match["layer"]][match["side"]] = tensor
    found: dict[str, Lora] = {}
    for layer, pair in sides.items():
        for side in "AB":
            if side not in pair:
                raise InputError(f"{source}: {layer}.lora_{side}.weight missing")
        a, b = pair["A"], pair["B"]
        if a.ndim != 2 or b.ndim != 2 or a.shape[0] != b.shape[1]:
            raise InputError(f"{source}: {layer} has LoRA factors {tuple(a.shape)} and {tuple(b.shape)}, ranks differ")
        found[layer] = Lora(a, b, alpha / a.shape[0])
    _require_all_layers(found, source)
    return found


def merge_lora(weight: Tensor, lora: Lora, *, name: str, source: str) -> Tensor:
    """The merged weight in float32, computed by peft."""
    from peft import LoraConfig, inject_adapter_in_model

    rank = lora.a.shape[0]
    if weight.shape != (lora.b.shape[0], lora.a.shape[1]):
        raise InputError(
            f"{source}: LoRA of {name} is for a weight {(lora.b.shape[0], lora.a.shape[1])}, "
            f"the language model's is {tuple(weight.shape)}"
        )
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    layer.weight = nn.Parameter(weight.float().clone(), requires_grad=False)
    settings = LoraConfig(r=rank, lora_alpha=lora.scaling * rank, target_modules=["layer"])  # type: ignore[arg-type]
    holder: Any = inject_adapter_in_model(settings, nn.ModuleDict({"layer": layer}))
    adapted = holder["layer"]
    with torch.no_grad():
        adapted.lora_A["default"].weight.copy_(lora.a)
        adapted.lora_B["default"].weight.copy_(lora.b)
    adapted.merge(safe_merge=True)
    merged: Tensor = adapted.get_base_layer().weight.detach()
    return merged


def unmerge_lora(merged: Tensor, lora: Lora) -> Tensor:
    """The weight that `merge_lora` makes `merged` of, bit for bit wherever there is one: in the half type that it had
    if one of them gives `merged` again, else in float32."""
    merged = merged.float()
    added = lora.scaling * (lora.b.float() @ lora.a.float())
    base = merged - added
    for dtype in (torch.float16, torch.bfloat16):
        if torch.equal(base.to(dtype).float() + added, merged):
            return base.to(dtype)
    for _ in range(4):  # the difference was rounded; what is missing is added until it no longer shows
        error = merged - (base + added)
        if not error.any():
            break
        base = base + error
    return base


def _require_all_layers(found: Mapping[str, Lora], source: str) -> None:
    """What one layer has, all have: a checkpoint that lost a tensor pair must not pass for a smaller one."""
    numbered = [re.fullmatch(r"(.*\.)(\d+)(\..*)", layer) for layer in found]
    places = [(match[1], int(match[2]), match[3]) for match in numbered if match]
    depth = max((number for _, number, _ in places), default=-1) + 1
    for before, after in sorted({(before, after) for before, _, after in places}):
        for number in range(depth):
            if f"{before}{number}{after}" not in found:
                raise InputError(f"{source}: {before}{number}{after}.lora_A.weight and lora_B.weight missing")
