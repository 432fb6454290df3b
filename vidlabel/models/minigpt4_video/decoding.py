"""How the next token is chosen: repetition penalty, then temperature, top k and top p, then the most likely or a draw.

The order is transformers'. Draws come from each row's own seed, so that a row says the same in any company.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def penalise(scores: Tensor, ids: Tensor, penalty: float) -> Tensor:
    """Scores (B, V) with the tokens in `ids` (B, n) made less likely: once each, however often they occurred."""
    if penalty == 1.0 or ids.shape[1] == 0:
        return scores
    found = scores.gather(1, ids)
    return scores.scatter(1, ids, torch.where(found < 0, found * penalty, found / penalty))


def warp(scores: Tensor, *, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0) -> Tensor:
    """Scores to draw from: what is not among the most likely becomes -inf."""
    scores = scores / temperature
    if 0 < top_k < scores.shape[1]:
        scores = scores.masked_fill(scores < scores.topk(top_k).values[:, -1:], -torch.inf)
    if top_p < 1.0:
        ordered, order = scores.sort(descending=False)
        unlikely = ordered.softmax(dim=-1).cumsum(dim=-1) <= 1 - top_p
        unlikely[:, -1] = False
        scores = scores.masked_fill(unlikely.scatter(1, order, unlikely), -torch.inf)
    return scores


def draw(scores: Tensor, uniforms: Tensor) -> Tensor:
    """One token a row, by the row's own number in [0, 1): (B, V), (B,) -> (B,)."""
    cumulative = scores.double().softmax(dim=-1).cumsum(dim=-1)
    targets = uniforms.double()[:, None] * cumulative[:, -1:]
    found = torch.searchsorted(cumulative, targets, right=True)[:, 0]
    return found.clamp(max=scores.shape[1] - 1)


class TokenChooser:
    """Chooses tokens inside `generate`, where it stands as the only logits processor: it leaves one token possible.

    Keeps the log-probability, under the model itself (before any penalty or warping), of every token it chose.
    """

    def __init__(self, *, repetition_penalty: float, temperature: float, top_p: float, seeds: Sequence[int]) -> None:
        self.repetition_penalty = repetition_penalty
        self.temperature = temperature
        self.top_p = top_p
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self.logprobs: list[Tensor] = []  # one (B,) a step
        self.last_logits = torch.empty(0)  # (B, V) of the latest step, as the model gave them
        self.last_scores = torch.empty(0)  # the same after the repetition penalty

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """`input_ids` are the generated tokens alone, because the prompt went in as embeddings."""
        raw = scores.float()
        chosen_from = penalise(raw, input_ids, self.repetition_penalty)
        self.last_logits, self.last_scores = raw, chosen_from
        if self.temperature > 0:
            warped = warp(chosen_from, temperature=self.temperature, top_p=self.top_p)
            uniforms = torch.cat(
                [torch.rand(1, generator=generator, dtype=torch.float64) for generator in self.generators]
            )
            tokens = draw(warped, uniforms.to(scores.device))
        else:
            tokens = chosen_from.argmax(dim=-1)
        self.logprobs.append(raw.log_softmax(dim=-1).gather(1, tokens[:, None])[:, 0])
        return torch.full_like(scores, -torch.inf).scatter(1, tokens[:, None], 0.0)
