"""MiniGPT4-video in PyTorch: vision tower, norm, pooling, projection, and a stock transformers language model.

The parts carry the reference's names, so that its checkpoints' keys are ours. Nothing here decodes or tokenises.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vidlabel.models.minigpt4_video.config import ModelConfig
from vidlabel.models.minigpt4_video.prompt import Prefix
from vidlabel.models.minigpt4_video.vision import LayerNorm, VisionTower, initialise, pool_tokens

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class MiniGPT4Video(nn.Module):
    """Random weights to begin with; see `loading` for real ones. `llm_config` is a transformers config."""

    def __init__(self, config: ModelConfig, llm_config: Any) -> None:
        super().__init__()
        from transformers import AutoModelForCausalLM, GenerationConfig

        self.config = config
        self.visual_encoder = VisionTower(config.vision)
        self.ln_vision = LayerNorm(config.vision.embed_dim, eps=config.ln_vision_eps)
        self.llama_proj = nn.Linear(config.vision.embed_dim * config.pool_size, llm_config.hidden_size)
        self.llama_model: Any = AutoModelForCausalLM.from_config(llm_config, dtype=torch.float32)  # type: ignore[no-untyped-call]
        # How to decode is decided by the run, never by what a language model's config files suggest
        self.llama_model.generation_config = GenerationConfig()  # type: ignore[no-untyped-call]
        if not self.visual_encoder.pos_embed.is_meta:
            initialise(self.visual_encoder)

    @property
    def device(self) -> torch.device:
        return self.llama_proj.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.llama_proj.weight.dtype

    @property
    def max_positions(self) -> int:
        return int(self.llama_model.config.max_position_embeddings)

    def preprocess(self, frames: npt.NDArray[np.uint8] | Tensor) -> Tensor:
        """uint8 frames (T, S, S, 3) at model resolution to normalised float32 images (T, 3, S, S) on the device."""
        if isinstance(frames, np.ndarray) and not frames.flags.writeable:
            frames = frames.copy()  # torch has no read-only tensors
        images = torch.as_tensor(frames).to(self.device)
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[3] != 3:
            raise ValueError(f"frames are uint8 (T, S, S, 3), got {images.dtype} {tuple(images.shape)}")
        return normalise(images.permute(0, 3, 1, 2))

    def encode_images(self, images: Tensor, *, chunk: int | None = None) -> Tensor:
        """(N, 3, S, S) normalised images to (N, tokens, hidden) embeddings; `chunk` images at a time."""
        return self.encode_and_pool(images, chunk=chunk)[0]

    def encode_and_pool(self, images: Tensor, *, chunk: int | None = None) -> tuple[Tensor, Tensor]:
        """The embeddings of `encode_images`, and (N, D) float32: the mean over each image's patches of what the vision
        tower and its norm make of them."""
        if chunk is not None and len(images) > chunk:
            parts = [self.encode_and_pool(part) for part in torch.split(images, chunk)]
            return torch.cat([embeds for embeds, _ in parts]), torch.cat([pooled for _, pooled in parts])
        tokens = self._tokens(images)
        return self.project(pool_tokens(tokens, self.config.pool_size)), tokens.float().mean(dim=1)

    def see(self, images: Tensor) -> Tensor:
        """(N, 3, S, S) normalised images to (N, tokens, pooled) float32 features: all before the projection."""
        return pool_tokens(self._tokens(images), self.config.pool_size)

    def project(self, features: Tensor) -> Tensor:
        """Features (..., pooled) to embeddings (..., hidden)."""
        out: Tensor = self.llama_proj(features.to(self.dtype))
        return out

    def _tokens(self, images: Tensor) -> Tensor:
        """What the vision tower and its norm make of the patches: (N, patches, D)."""
        tokens: Tensor = self.ln_vision(self.visual_encoder(images))[:, 1:]
        return tokens

    def embed_ids(self, ids: Sequence[int]) -> Tensor:
        """Token ids to (L, hidden)."""
        out: Tensor = self.llama_model.get_input_embeddings()(torch.tensor(ids, dtype=torch.long, device=self.device))
        return out

    def embed_prefix(self, prefix: Prefix, image_embeds: Tensor) -> Tensor:
        """A clip's prefix with its frames' embeddings (T, tokens, hidden) in their slots: (P, hidden)."""
        if len(image_embeds) != prefix.num_frames:
            raise ValueError(f"the prompt has {prefix.num_frames} image slots, got {len(image_embeds)} images")
        return self.embed_segments(prefix.segments, image_embeds)

    def embed_segments(self, segments: Sequence[Sequence[int]], image_embeds: Tensor) -> Tensor:
        """Segments of ids with one image between each two: (L, hidden). All ids are looked up at once."""
        texts = torch.split(self.embed_ids([i for segment in segments for i in segment]), [len(s) for s in segments])
        parts = [texts[0]]
        for text, image in zip(texts[1:], image_embeds, strict=True):
            parts += [image.to(text.dtype), text]
        return torch.cat(parts)


def normalise(images: Tensor) -> Tensor:
    """uint8 RGB (N, 3, S, S) to float32 with ImageNet's mean and deviation: what the reference was trained with."""
    mean = torch.tensor(IMAGENET_MEAN, device=images.device).view(3, 1, 1)
    std = torch.tensor(IMAGENET_STD, device=images.device).view(3, 1, 1)
    return (images.float().div(255) - mean) / std


def pad_left(rows: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Rows (L_i, hidden) to (B, L, hidden) with zero vectors before the shorter ones, and the mask (B, L)."""
    return _pad(rows, left=True)


def pad_right(rows: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """The same with the zero vectors behind: for training, where no row is continued."""
    return _pad(rows, left=False)


def _pad(rows: Sequence[Tensor], *, left: bool) -> tuple[Tensor, Tensor]:
    longest = max(len(row) for row in rows)
    embeds, mask = [], torch.zeros(len(rows), longest, dtype=torch.long, device=rows[0].device)
    for i, row in enumerate(rows):
        gap = longest - len(row)
        embeds.append(F.pad(row, (0, 0, gap, 0) if left else (0, 0, 0, gap)))
        mask[i, slice(gap, None) if left else slice(0, len(row))] = 1
    return torch.stack(embeds), mask


def positions(mask: Tensor) -> Tensor:
    """Position ids of padded rows, as transformers makes them in `generate`: counted over the mask, 1 on the pads."""
    return (mask.cumsum(-1) - 1).masked_fill(mask == 0, 1)
