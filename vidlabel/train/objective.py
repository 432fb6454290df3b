"""The model with its loss, as the Trainer wants it: the mean cross-entropy of the answers' tokens.

What is inside is the model that labels, so that what is trained is what runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vidlabel.models.minigpt4_video.model import MiniGPT4Video
from vidlabel.train.batches import IGNORED
from vidlabel.train.features import FeatureCache, Timing, halved
from vidlabel.train.lessons import IMAGE

_VISION_CHUNK = 128  # frames in one pass of a frozen tower


class Objective(nn.Module):
    """`cache`: where the features of clips that are seen for the first time go."""

    accepts_loss_kwargs = True  # the Trainer then counts the tokens of all batches of a step, of all processes

    def __init__(self, model: MiniGPT4Video, cache: FeatureCache | None = None) -> None:
        super().__init__()
        self.model = model
        self._cache = cache

    def forward(
        self,
        ids: Tensor,  # (B, L), IMAGE where image tokens go
        mask: Tensor,  # (B, L)
        labels: Tensor,  # (B, L)
        parts: Tensor | None,  # (B, L): see `collate`
        clips: Sequence[Tensor],
        clip_keys: Sequence[str],
        timings: Sequence[Timing],
        clip_of_row: Sequence[int],
        num_items_in_batch: Tensor | int | None = None,
        failures: Sequence[object] = (),
    ) -> dict[str, Tensor]:
        """The loss: the sum over the answers' tokens by `num_items_in_batch`; without it, by their number here."""
        if not len(ids):  # every example of this batch failed; other processes wait for gradients all the same
            return {"loss": torch.stack([p.sum() * 0 for p in self.parameters() if p.requires_grad]).sum()}
        features = self._features(clips, clip_keys, timings)
        embeds = self._embed(ids, [features[clip] for clip in clip_of_row])
        total = self.answer_losses(embeds, mask, labels, parts).sum()
        count = (labels[:, 1:] != IGNORED).sum() if num_items_in_batch is None else num_items_in_batch
        return {"loss": total / torch.as_tensor(count, device=total.device).clamp(min=1)}

    def answer_losses(self, embeds: Tensor, mask: Tensor, labels: Tensor, parts: Tensor | None = None) -> Tensor:
        """The cross-entropy of each labelled token (N,). Logits are made for these alone."""
        language: Any = self.model.llama_model
        where = {"attention_mask": mask} if parts is None else _turn_by_turn(parts)
        out = language.base_model(inputs_embeds=embeds, use_cache=False, **where)
        told = labels[:, 1:] != IGNORED
        logits = language.get_output_embeddings()(out.last_hidden_state[:, :-1][told])
        return F.cross_entropy(logits.float(), labels[:, 1:][told], reduction="none")

    def _embed(self, ids: Tensor, features: Sequence[Tensor]) -> Tensor:
        """(B, L, hidden). A row whose context was cut has fewer image tokens than its clip."""
        embeds: Tensor = self.model.llama_model.get_input_embeddings()(ids.clamp(min=0))
        is_image = ids == IMAGE
        counts = is_image.sum(dim=1).tolist()
        images = [self.model.project(one).flatten(0, 1)[:count] for one, count in zip(features, counts, strict=True)]
        return embeds.masked_scatter(is_image[..., None], torch.cat(images).to(embeds.dtype))

    def _features(self, clips: Sequence[Tensor], clip_keys: Sequence[str], timings: Sequence[Timing]) -> list[Tensor]:
        """(T, tokens, pooled) of every clip; those that are pictures are encoded together."""
        pictures = [clip for clip in clips if clip.dtype == torch.uint8]
        if not pictures:
            return list(clips)
        seen = self._see(self.model.preprocess(torch.cat(pictures)))
        encoded = iter(torch.split(seen, [len(clip) for clip in pictures]))
        found = []
        for clip, key, timing in zip(clips, clip_keys, timings, strict=True):
            if clip.dtype == torch.uint8:
                clip = next(encoded)
                if self._cache is not None:
                    clip = halved(clip)
                    self._cache.put(key, clip, timing)
            found.append(clip)
        return found

    def _see(self, images: Tensor) -> Tensor:
        if self.model.visual_encoder.pos_embed.requires_grad:
            return self.model.see(images)
        with torch.no_grad():
            return torch.cat([self.model.see(part) for part in torch.split(images, _VISION_CHUNK)])


def _turn_by_turn(parts: Tensor) -> dict[str, Tensor]:
    """What each position reads, (B, 1, L, L), and how far from the beginning it is: every turn follows the opening."""
    length = parts.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=parts.device).tril()
    same = parts[:, :, None] == parts[:, None, :]
    reads = causal & (same | (parts[:, None, :] == 0))
    at = torch.arange(length, device=parts.device).expand_as(parts)
    begins = torch.ones_like(parts, dtype=torch.bool)
    begins[:, 1:] = parts[:, 1:] != parts[:, :-1]
    turn_start = torch.where(begins, at, 0).cummax(dim=1).values
    opening = (parts == 0).sum(dim=1, keepdim=True)
    return {"attention_mask": reads[:, None], "position_ids": torch.where(parts > 0, opening + at - turn_start, at)}
