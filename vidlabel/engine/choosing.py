"""The choice of every row's next token in one pass on the device, without asking the host for anything.

The arithmetic is that of `decoding`, so that this engine and `generate` say the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vidlabel.config import AnswerSettings
from vidlabel.models.minigpt4_video.decoding import draw, penalise, warp


@dataclass(frozen=True, slots=True)
class Choosing:
    """How tokens are chosen; temperature 0 takes the most likely one."""

    repetition_penalty: float
    temperature: float
    top_p: float

    @classmethod
    def of(cls, settings: AnswerSettings) -> Choosing:
        return cls(settings.repetition_penalty, settings.temperature, settings.top_p)

    @property
    def sampled(self) -> bool:
        return self.temperature > 0


def choose(
    logits: Tensor,  # (R, V)
    said: Tensor | None,  # (R, n) tokens that each row has said; a token may stand there any number of times
    uniforms: Tensor | None,  # (R,) float64 in [0, 1), where tokens are drawn
    how: Choosing,
) -> tuple[Tensor, Tensor]:
    """Tokens (R,) and their log-probabilities (R,) under the model itself, before any penalty or warping."""
    raw = logits.float()
    scores = raw if said is None else penalise(raw, said, how.repetition_penalty)
    if uniforms is None:
        tokens = scores.argmax(dim=-1)
    else:
        tokens = draw(warp(scores, temperature=how.temperature, top_p=how.top_p), uniforms)
    return tokens, raw.gather(1, tokens[:, None])[:, 0] - raw.logsumexp(dim=-1)


def uniforms_of(seed: int, num_tokens: int) -> Tensor:
    """A row's own draws, (num_tokens,) float64 on the host: the same whatever its neighbours."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(num_tokens, generator=generator, dtype=torch.float64)
