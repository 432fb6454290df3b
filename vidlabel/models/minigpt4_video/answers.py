"""What every captioner on this model does around decoding: prompts before it, answers and their errors after it."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vidlabel.data import Answer, AskedClip, ClipFeatures, FinishReason, Question, stable_id
from vidlabel.embedding import features_of
from vidlabel.models.minigpt4_video.config import ModelConfig
from vidlabel.models.minigpt4_video.prompt import Prompt, PromptTooLongError, build_prompts
from vidlabel.models.minigpt4_video.tokenizer import PromptTokenizer

OUT_OF_MEMORY_FRAME = "out of memory while one single frame was encoded"


class Pooled:
    """What a clip's frames look like, left on the device until an answer is there: a GPU that is asked at once would
    have to be waited for."""

    def __init__(self, frames: Tensor, pts_seconds: npt.NDArray[np.float64]) -> None:
        self._frames, self._pts_seconds = frames, pts_seconds  # (T, D), (T,)

    @functools.cached_property
    def features(self) -> ClipFeatures | None:
        return features_of(self._frames.cpu().numpy(), self._pts_seconds)


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """One question about one clip, and its prompt."""

    clip: AskedClip
    question: Question
    prompt: Prompt
    pooled: Pooled | None = None  # where the clip's features are wanted

    def seed(self, run_seed: int) -> int:
        """From the run, the clip and the question alone, so that neighbours and order do not matter."""
        parts = (str(run_seed), str(self.clip.seed), self.clip.clip.clip_id, self.question.text)
        return int(stable_id(*parts), 16) >> 1


@dataclass(frozen=True, slots=True)
class Decoded:
    """What the model said."""

    ids: Sequence[int]  # without the end token
    finish_reason: FinishReason
    mean_logprob: float  # the end token's included: it is part of what the model said
    stop_id: int | None = None  # the end token, where there was one
    grounding: float | None = None

    @property
    def said(self) -> tuple[int, ...]:
        """All that was generated."""
        return (*self.ids, *(() if self.stop_id is None else (self.stop_id,)))


def ask(
    clip: AskedClip, tokenizer: PromptTokenizer, config: ModelConfig, *, max_tokens: int
) -> tuple[list[Asked], list[Answer]]:
    """The prompts of a clip's questions, and an answer that says why where there can be none."""
    try:
        prompts = build_prompts(
            tokenizer,
            config,
            pts_seconds=clip.frames.pts_seconds.tolist(),
            cues=clip.frames.cues,
            questions=[question.text for question in clip.questions],
            max_tokens=max_tokens,
        )
    except PromptTooLongError as error:
        return [], [failed(clip, question, str(error)) for question in clip.questions]
    asked, refused = [], []
    for question, prompt in zip(clip.questions, prompts, strict=True):
        if prompt is None:
            refused.append(failed(clip, question, "the question is too long for the model's window"))
        else:
            asked.append(Asked(clip, question, prompt))
    return asked, refused


def answered(asked: Asked, decoded: Decoded, tokenizer: PromptTokenizer, dtype: torch.dtype) -> Answer:
    """The answer as a label takes it; numbers that overflowed are an error and never a label."""
    if not math.isfinite(decoded.mean_logprob):
        reason = f"the model's numbers overflow in {dtype}: choose another --dtype"
        return failed(asked.clip, asked.question, reason)
    prefix = asked.prompt.prefix
    return Answer(
        clip_id=asked.clip.clip.clip_id,
        question=asked.question,
        text=clean_answer(tokenizer.decode(decoded.ids)),
        num_tokens=len(decoded.ids),
        finish_reason=decoded.finish_reason,
        mean_logprob=decoded.mean_logprob,
        grounding=decoded.grounding,
        num_frames=prefix.num_frames,
        num_subtitle_words=prefix.num_subtitle_words,
        flags=("subtitles_shortened",) if prefix.subtitles_shortened else (),
        features=None if asked.pooled is None else asked.pooled.features,
    )


def with_features(asked: Sequence[Asked], pooled: Tensor) -> list[Asked]:
    """Of one clip: its answers are to carry what its frames (T, D) look like."""
    look = Pooled(pooled, asked[0].clip.frames.pts_seconds)
    return [replace(one, pooled=look) for one in asked]


def failed(clip: AskedClip, question: Question, reason: str) -> Answer:
    """This question about this clip cannot be answered."""
    return Answer(clip.clip.clip_id, question, "", num_frames=len(clip.frames.images), error=reason)


def out_of_memory(asked: Asked) -> Answer:
    """Not even with all memory to itself."""
    reason = f"out of memory with this clip alone ({asked.prompt.num_tokens} positions)"
    return failed(asked.clip, asked.question, reason)


def clean_answer(text: str) -> str:
    """The answer without control tokens that the model spelt out. Unlike the reference, "[/INST]" cuts nothing off."""
    return text.split("</s>")[0].replace("<s>", "").strip()
