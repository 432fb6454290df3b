"""The files that users really have: BLIP-2's `eva_vit_g.pth` and a released `video_*_checkpoint_*.pth`.

Both are read with every key accounted for. Nothing is dropped silently: a checkpoint whose LoRA tensors were not
recognised once made the model invent what it saw.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vidlabel.errors import InputError
from vidlabel.models.minigpt4_video.config import VisionConfig
from vidlabel.models.minigpt4_video.lora import DEFAULT_ALPHA, Lora, collect_lora
from vidlabel.models.minigpt4_video.tensors import check_tensors, read_torch_file, require_tensors
from vidlabel.models.minigpt4_video.vision import VisionTower, interpolate_pos_embed

_VISION_EXTRAS = re.compile(r"(norm|head|fc_norm)\..*")  # the classifier's; never used
_LLM = "llama_model."
_IGNORED = "rotary_emb.inv_freq"  # a buffer in old transformers, computed today


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """What a released checkpoint adds to vision tower and language model."""

    projection: dict[str, Tensor]  # llama_proj.weight, llama_proj.bias
    ln_vision: dict[str, Tensor]  # empty in the released ones: the identity
    lora: dict[str, Lora]  # by layer of the language model
    replaced: dict[str, Tensor]  # weights of tower and language model by our names; empty in the released ones


def read_vision(path: Path, config: VisionConfig) -> dict[str, Tensor]:
    """The vision tower's state dict. Blocks beyond `config.depth` and the classifier are known extras."""
    tensors = require_tensors(read_torch_file(path), source=str(path))
    with torch.device("meta"):
        expected = {name: tensor.shape for name, tensor in VisionTower(config).state_dict().items()}
    kept: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        block = re.match(r"blocks\.(\d+)\.", name)
        if _VISION_EXTRAS.fullmatch(name) or (block and int(block[1]) >= config.depth):
            continue
        kept[name] = tensor
    grid = kept.get("pos_embed")
    if grid is not None and grid.ndim == 3 and math.isqrt(grid.shape[1] - 1) ** 2 == grid.shape[1] - 1:
        kept["pos_embed"] = interpolate_pos_embed(grid, config.num_patches)
    check_tensors(kept, expected, source=str(path))
    return kept


def read_checkpoint(path: Path) -> Checkpoint:
    """Projection, norm and LoRA factors of a checkpoint as the reference's training writes it."""
    values = read_torch_file(path)
    if not isinstance(values, Mapping) or "model" not in values:
        raise InputError(f"{path}: not a MiniGPT4-video checkpoint (it has no entry 'model')")
    tensors = require_tensors(values["model"], source=f"{path}: model")
    groups: dict[str, dict[str, Tensor]] = {"llama_proj.": {}, "ln_vision.": {}, "visual_encoder.": {}, _LLM: {}}
    lora: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        group = next((known for known in groups if name.startswith(known)), None)
        if group is None:
            raise InputError(f"{path}: {name} is not part of a MiniGPT4-video checkpoint")
        if name.endswith(_IGNORED):
            continue
        name = _plain_name(name)
        if ".lora_" in name:
            lora[name.removeprefix(_LLM)] = tensor
        else:
            groups[group][name] = tensor
    for group in ("llama_proj.", "ln_vision."):
        names = {f"{group}weight", f"{group}bias"}
        if group == "ln_vision." and not groups[group]:
            continue
        if set(groups[group]) != names:
            raise InputError(f"{path}: expected {' and '.join(sorted(names))}, found {sorted(groups[group])}")
    if not lora and not _learnt_without_lora(values.get("config")):
        raise InputError(f"{path}: has no LoRA tensors; without them this is not the model that was trained")
    return Checkpoint(
        projection=groups["llama_proj."],
        ln_vision=groups["ln_vision."],
        lora=collect_lora(lora, alpha=_alpha(values.get("config"), path), source=str(path)),
        replaced=groups["visual_encoder."] | groups[_LLM],
    )


def _plain_name(name: str) -> str:
    """A tensor's name without what peft's versions and their wrappers put into it."""
    name = name.replace("llama_model.base_model.model.", _LLM).replace(".base_layer.", ".")
    return name.replace("lm_head.0.", "lm_head.")


def _learnt_without_lora(config: Any) -> bool:
    """Whether the training says so itself: rank 0, as `vidlabel train` and `models convert` write it."""
    model = config.get("model") if isinstance(config, Mapping) else None
    return isinstance(model, Mapping) and model.get("lora_r") == 0


def _alpha(config: Any, path: Path) -> float:
    """LoRA's alpha as the training recorded it; the released value where it did not."""
    model = config.get("model") if isinstance(config, Mapping) else None
    alpha = model.get("lora_alpha", DEFAULT_ALPHA) if isinstance(model, Mapping) else DEFAULT_ALPHA
    if not isinstance(alpha, int | float) or not alpha > 0:
        raise InputError(f"{path}: config.model.lora_alpha should be a number above 0, got {alpha!r}")
    return float(alpha)
