"""The vision side alone: tower and norm of a model without its language model, for what clips look like.

It takes two gigabytes where the released model takes sixteen, and gives the very numbers that the whole model gives.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from vidlabel.models.minigpt4_video.checkpoint import read_checkpoint, read_vision
from vidlabel.models.minigpt4_video.config import ModelConfig, read_config
from vidlabel.models.minigpt4_video.loading import WEIGHTS, Sources, float32_names, ln_vision_tensors, released_config
from vidlabel.models.minigpt4_video.model import normalise
from vidlabel.models.minigpt4_video.tensors import check_tensors, read_safetensors
from vidlabel.models.minigpt4_video.vision import LayerNorm, VisionTower

_PARTS = ("visual_encoder.", "ln_vision.")


class VisionSide(nn.Module):
    """The parts carry the whole model's names, so that its tensors are ours."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.visual_encoder = VisionTower(config.vision)
        self.ln_vision = LayerNorm(config.vision.embed_dim, eps=config.ln_vision_eps)

    @property
    def device(self) -> torch.device:
        return self.ln_vision.weight.device

    @torch.inference_mode()
    def pool(self, frames: npt.NDArray[np.uint8]) -> Tensor:
        """uint8 frames (T, S, S, 3) to (T, D) float32: see `MiniGPT4Video.encode_and_pool`."""
        images = torch.from_numpy(np.ascontiguousarray(frames)).to(self.device).permute(0, 3, 1, 2)
        tokens = self.ln_vision(self.visual_encoder(normalise(images)))[:, 1:]
        pooled: Tensor = tokens.float().mean(dim=1)
        return pooled


def load_vision(folder: Path, *, device: str | torch.device, dtype: torch.dtype) -> VisionSide:
    """Of one of our own folders."""
    return _filled(read_config(folder), read_safetensors(folder / WEIGHTS), str(folder), device=device, dtype=dtype)


def load_vision_sources(
    sources: Sources, config: ModelConfig | None, *, device: str | torch.device, dtype: torch.dtype
) -> VisionSide:
    """Of original files. Of the language model's folder only its config is read."""
    config = config or released_config(sources.language_model)
    tensors = dict(_source_tensors(sources, config))
    return _filled(config, tensors, str(sources.vision), device=device, dtype=dtype)


def _source_tensors(sources: Sources, config: ModelConfig) -> Iterator[tuple[str, Tensor]]:
    checkpoint = read_checkpoint(sources.checkpoint)
    for name, tensor in read_vision(sources.vision, config.vision).items():
        yield f"visual_encoder.{name}", checkpoint.replaced.get(f"visual_encoder.{name}", tensor)
    yield from ln_vision_tensors(checkpoint, config).items()


def _filled(
    config: ModelConfig, tensors: Mapping[str, Tensor], source: str, *, device: str | torch.device, dtype: torch.dtype
) -> VisionSide:
    with torch.device("meta"):
        side = VisionSide(config)
    keep_float32 = float32_names(side)
    state = {
        name: tensor.to(device=device, dtype=torch.float32 if name in keep_float32 else dtype)
        for name, tensor in tensors.items()
        if name.startswith(_PARTS)
    }
    check_tensors(state, {name: tensor.shape for name, tensor in side.state_dict().items()}, source=source)
    side.load_state_dict(state, assign=True)
    return side.eval().requires_grad_(False)
