"""What the engine is compared with, on the same clips, prompts and weights.

a  transformers' own `generate`, left-padded, one whole pass (vision too) for each question
b  the captioner on `generate` as it ships: vision once a clip, the prefix read once a question
c  as a, one clip at a time, as MiniGPT4-video's own script runs (there in 8 bits)
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import GenerationConfig

from benchmarks.engine_machine import seconds_of
from vidlabel.config import AnswerSettings
from vidlabel.data import AskedClip
from vidlabel.models.minigpt4_video.answers import ask
from vidlabel.models.minigpt4_video.generate import GenerateCaptioner
from vidlabel.models.minigpt4_video.model import MiniGPT4Video, pad_left
from vidlabel.models.minigpt4_video.prompt import prompt_budget
from vidlabel.models.minigpt4_video.tokenizer import PromptTokenizer

_VISION_CHUNK = 128


@dataclass(frozen=True, slots=True)
class Baseline:
    """Wall seconds for so many clips; `vision_seconds` of them for vision beyond the first question's pass."""

    num_clips: int
    seconds: float
    repeated_vision_seconds: float = 0.0

    @property
    def clips_per_second(self) -> float:
        return self.num_clips / self.seconds

    @property
    def clips_per_second_without_repeated_vision(self) -> float:
        """As if each clip's frames had been encoded once and kept."""
        return self.num_clips / (self.seconds - self.repeated_vision_seconds)


def pass_per_question(
    model: MiniGPT4Video,
    tokenizer: PromptTokenizer,
    clips: Sequence[AskedClip],
    answers: Sequence[int],
    *,
    batch_size: int,
    repetition_penalty: float,
) -> Baseline:
    """Baselines a and c. `answers`: how many tokens each question's answer has."""
    total = repeated = 0.0
    for number, num_tokens in enumerate(answers):
        for start in range(0, len(clips), batch_size):
            batch = clips[start : start + batch_size]
            images: list[torch.Tensor] = []
            vision = seconds_of(lambda batch=batch, images=images: images.extend(_encode(model, batch)), model.device)
            config = GenerationConfig(
                max_new_tokens=num_tokens, do_sample=False, repetition_penalty=repetition_penalty, pad_token_id=0
            )
            total += vision + seconds_of(
                lambda batch=batch, images=images, number=number, config=config: _generate(
                    model, tokenizer, batch, images, number, config
                ),
                model.device,
            )
            repeated += vision if number > 0 else 0.0
    return Baseline(len(clips), total, repeated)


@torch.inference_mode()
def _encode(model: MiniGPT4Video, clips: Sequence[AskedClip]) -> list[torch.Tensor]:
    return [model.encode_images(model.preprocess(clip.frames.images), chunk=_VISION_CHUNK) for clip in clips]


@torch.inference_mode()
def _generate(
    model: MiniGPT4Video,
    tokenizer: PromptTokenizer,
    clips: Sequence[AskedClip],
    images: Sequence[torch.Tensor],
    number: int,
    config: GenerationConfig,
) -> None:
    rows = []
    for clip, encoded in zip(clips, images, strict=True):
        budget = prompt_budget(model.config, model.max_positions, config.max_new_tokens)
        prompt = ask(clip, tokenizer, model.config, max_tokens=budget)[0][number].prompt
        rows.append(torch.cat([model.embed_prefix(prompt.prefix, encoded), model.embed_ids(prompt.suffix)]))
    embeds, mask = pad_left(rows)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Passing `repetition_penalty`")  # on new tokens alone: as is meant
        out = model.llama_model.generate(inputs_embeds=embeds, attention_mask=mask, generation_config=config)
    assert out.shape == (len(clips), config.max_new_tokens), out.shape


def shipped_captioner(
    model: MiniGPT4Video,
    tokenizer: PromptTokenizer,
    clips: Sequence[AskedClip],
    settings: AnswerSettings,
    *,
    batch_size: int,
) -> Baseline:
    """Baseline b."""
    captioner = GenerateCaptioner(model, tokenizer, settings, batch_size=batch_size)
    answers = []
    seconds = seconds_of(lambda: answers.extend(captioner.answer(clips)), model.device)
    errors = [answer.error for answer in answers if answer.error]
    assert not errors, errors[0]
    assert all(answer.num_tokens == settings.max_new_tokens for answer in answers)
    return Baseline(len(clips), seconds)
