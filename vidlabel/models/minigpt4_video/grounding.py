"""How much a clip supports what was said about it: the mean log-probability of the answer's tokens given the video,
minus that of the same tokens without it (`video`), or minus the higher of that and another clip's (`strict`).

Without the video means: the same prompt with every frame, its <Img> and all subtitles struck out, so that the same
question stands right after the opening. Every other token stays, so that what differs is the video alone.

    bos bos [INST] <Img> F0 <Img> F1 ... <Cap>bye \\nWhat happens? [/INST] answer
    bos bos [INST] \\nWhat happens? [/INST] answer
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from vidlabel.models.minigpt4_video.config import ModelConfig
from vidlabel.models.minigpt4_video.model import MiniGPT4Video, pad_left, positions
from vidlabel.models.minigpt4_video.prompt import build_opening
from vidlabel.models.minigpt4_video.tokenizer import PromptTokenizer

_LOGIT_ROWS = 128  # tokens whose logits exist at once: of a large vocabulary they are more than all of the rest


def support(mean_logprob: float, *others: float | None) -> float | None:
    """By how much the video makes the words likelier than the best of the others does; None if one is unknown."""
    known = [other for other in others if other is not None]
    if len(known) < len(others) or not all(map(math.isfinite, (mean_logprob, *known))):
        return None
    return mean_logprob - max(known)


def prompts_without_video(
    tokenizer: PromptTokenizer, config: ModelConfig, suffixes: Sequence[Sequence[int]]
) -> list[tuple[int, ...]]:
    """The ids of prompts with these suffixes (see `Prompt.suffix`) and nothing of their clip."""
    opening = build_opening(tokenizer, config)
    return [(*opening, *suffix) for suffix in suffixes]


@torch.inference_mode()
def mean_logprobs(model: MiniGPT4Video, prompts: Sequence[Tensor], answers: Sequence[Sequence[int]]) -> list[float]:
    """Of each answer's tokens after its embedded prompt (L, hidden), by the model's ordinary forward pass."""
    rows = [
        torch.cat([prompt, model.embed_ids(ids[:-1])]) if len(ids) > 1 else prompt
        for prompt, ids in zip(prompts, answers, strict=True)
    ]
    embeds, mask = pad_left(rows)
    hidden = model.llama_model.model(
        inputs_embeds=embeds, attention_mask=mask, position_ids=positions(mask), use_cache=False
    ).last_hidden_state
    counts = [len(ids) for ids in answers]
    told = torch.cat([row[-count:] for row, count in zip(hidden, counts, strict=True)])
    targets = torch.tensor([token for ids in answers for token in ids], device=model.device)
    return means(token_logprobs(model, told, targets), counts)


def token_logprobs(model: MiniGPT4Video, hidden: Tensor, targets: Tensor) -> Tensor:
    """Hidden states (N, hidden) and the tokens (N,) that followed them: log-probabilities (N,) in float32."""
    found = []
    for states, tokens in zip(torch.split(hidden, _LOGIT_ROWS), torch.split(targets, _LOGIT_ROWS), strict=True):
        logits = model.llama_model.lm_head(states).float()
        found.append(logits.gather(1, tokens[:, None])[:, 0] - logits.logsumexp(dim=-1))
    return torch.cat(found)


def means(logprobs: Tensor, counts: Sequence[int]) -> list[float]:
    """The mean of each answer's stretch of the packed (N,)."""
    parts = torch.split(logprobs.double().cpu(), list(counts))
    return [float(part.mean()) for part in parts]
