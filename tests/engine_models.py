"""Tiny models of every kind that the engine runs, tokens spelt out in answers, and the engine on plain maths."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import torch
from transformers import LlamaConfig, MistralConfig, Qwen2Config

from tests.minigpt4_models import TEXTS, asked_clip, golden_model
from vidlabel.config import AnswerSettings
from vidlabel.data import Answer, AskedClip, Cue
from vidlabel.engine.captioner import EngineCaptioner
from vidlabel.engine.maths import MathsKernels
from vidlabel.models.minigpt4_video.config import ModelConfig, VisionConfig
from vidlabel.models.minigpt4_video.model import MiniGPT4Video
from vidlabel.models.minigpt4_video.tokenizer import PromptTokenizer

Kind = Literal["llama", "mistral", "qwen2"]
KINDS: tuple[Kind, ...] = ("llama", "mistral", "qwen2")
SIZE = 28  # pixels
STOP_IDS = tuple(range(5, 640, 9))  # so many that rows end at different steps


class SpeltOut:
    """A tokenizer whose answers are the ids themselves, so that comparing texts compares tokens."""

    def __init__(self, tokenizer: PromptTokenizer) -> None:
        self._tokenizer = tokenizer
        self.eos_ids, self.pad_id = tokenizer.eos_ids, tokenizer.pad_id

    def control_id(self, name: str) -> int:
        return self._tokenizer.control_id(name)

    def encode(self, text: str, *, after_control: bool = False) -> list[int]:
        return self._tokenizer.encode(text, after_control=after_control)

    def decode(self, ids: Sequence[int]) -> str:
        return " ".join(map(str, ids))


TOKENIZER: PromptTokenizer = SpeltOut(golden_model("llama_small")[1])


def language_config(kind: Kind, **changes: Any) -> Any:
    """Three layers; heads of their own keys (llama), grouped four to one (mistral) and two to one (qwen2)."""
    values: dict[str, Any] = {
        "vocab_size": 640,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "max_position_embeddings": 1024,
        "tie_word_embeddings": kind == "qwen2",
    }
    if kind == "llama":
        return LlamaConfig(**values | {"num_key_value_heads": 4} | changes)
    if kind == "mistral":
        return MistralConfig(**values | {"num_key_value_heads": 1, "sliding_window": None} | changes)
    return Qwen2Config(**values | {"num_key_value_heads": 2} | changes)


def tiny_model(language: Any) -> MiniGPT4Video:
    """Random weights, large enough that answers differ between clips and questions."""
    torch.manual_seed(0)
    vision = VisionConfig(image_size=SIZE, patch_size=7, embed_dim=24, depth=2, num_heads=3, mlp_hidden=40)
    model = MiniGPT4Video(ModelConfig(vision, context_window=512, num_frames=4), language).eval().requires_grad_(False)
    for name, weight in model.named_parameters():
        if name.endswith("proj.weight"):
            weight.mul_(8.0)
    return model


@functools.cache
def model_of(kind: Kind) -> MiniGPT4Video:
    return tiny_model(language_config(kind))


def clips(num_clips: int, *, texts: tuple[str, ...] = TEXTS[:2], **options: Any) -> list[AskedClip]:
    """Clips of different lengths, some with subtitles."""
    return [
        asked_clip(
            f"clip{i}",
            texts=texts,
            num_frames=1 + i % 4,
            cues=(Cue(0.0, 1.0, "red ball " * (i % 3)),),
            size=SIZE,
            **options,
        )
        for i in range(num_clips)
    ]


def engine(
    model: MiniGPT4Video,
    settings: AnswerSettings,
    *,
    num_slots: int = 4,
    rows_per_slot: int = 2,
    stop_ids: tuple[int, ...] | None = STOP_IDS,
) -> EngineCaptioner:
    captioner = EngineCaptioner(
        model, TOKENIZER, settings, kernels=MathsKernels(), num_slots=num_slots, rows_per_slot=rows_per_slot
    )
    if stop_ids is not None:
        captioner.stop_ids = stop_ids
    return captioner


def said(answers: Iterable[Answer]) -> dict[tuple[str, str], tuple[str, int, str, str | None]]:
    return {(a.clip_id, a.question.text): (a.text, a.num_tokens, a.finish_reason, a.error) for a in answers}
