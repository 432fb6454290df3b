"""The captioner on transformers' `generate`: correct before fast.

Each clip is encoded once and asked all its questions; the rows of several clips decode together. Out of memory halves
what is done at once and goes on. In float32 an answer does not depend on which clips share its batch.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vidlabel.config import AnswerSettings
from vidlabel.data import Answer, AskedClip, FinishReason, Question, stable_id
from vidlabel.models.minigpt4_video.decoding import TokenChooser
from vidlabel.models.minigpt4_video.model import MiniGPT4Video, pad_left
from vidlabel.models.minigpt4_video.prompt import Prompt, PromptTooLongError, build_prompts, prompt_budget, stop_ids
from vidlabel.models.minigpt4_video.tokenizer import PromptTokenizer

logger = logging.getLogger(__name__)

_VISION_CHUNK = 128  # frames in one pass of the vision tower, until memory says otherwise


@dataclass(frozen=True, slots=True, eq=False)
class _Row:
    """One question about one clip, ready to decode. Rows of a clip share `prefix_embeds`."""

    asked: AskedClip
    question: Question
    prompt: Prompt
    prefix_embeds: Tensor  # (P, hidden)


@dataclass(frozen=True, slots=True)
class _Decoded:
    ids: list[int]  # without the end token
    finish_reason: FinishReason
    mean_logprob: float


class GenerateCaptioner:
    """Answers with a loaded model. `batch_size` is the largest number of rows (clip and question) decoded at once."""

    def __init__(
        self, model: MiniGPT4Video, tokenizer: PromptTokenizer, settings: AnswerSettings, *, batch_size: int = 8
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch size is at least 1, got {batch_size = }")
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.settings = settings
        self.max_rows = batch_size
        self.vision_chunk = _VISION_CHUNK
        self.stop_ids = stop_ids(tokenizer, model.config)

    def answer(self, clips: Iterable[AskedClip]) -> Iterator[Answer]:
        """Pulls clips until a batch of rows is full, never more."""
        rows: list[_Row] = []
        for asked in clips:
            ready, failed = self._prepare(asked)
            yield from failed
            rows += ready
            if len(rows) >= self.max_rows:
                yield from self._decode(rows)
                rows = []
        yield from self._decode(rows)

    def _prepare(self, asked: AskedClip) -> tuple[list[_Row], list[Answer]]:
        """A row for each question, and an answer that says why where there can be none."""
        settings, config = self.settings, self.model.config
        try:
            prompts = build_prompts(
                self.tokenizer,
                config,
                pts_seconds=asked.frames.pts_seconds.tolist(),
                cues=asked.frames.cues,
                questions=[question.text for question in asked.questions],
                max_tokens=prompt_budget(config, self.model.max_positions, settings.max_new_tokens),
            )
        except PromptTooLongError as error:
            return [], [_failed(asked, question, str(error)) for question in asked.questions]
        images = self._encode(asked)
        if images is None:
            reason = "out of memory while one single frame was encoded"
            return [], [_failed(asked, question, reason) for question in asked.questions]
        with torch.inference_mode():
            prefixes = {prompt.prefix for prompt in prompts if prompt is not None}
            embeds = {prefix: self.model.embed_prefix(prefix, images) for prefix in prefixes}
        rows, failed = [], []
        for question, prompt in zip(asked.questions, prompts, strict=True):
            if prompt is None:
                failed.append(_failed(asked, question, "the question is too long for the model's window"))
            else:
                rows.append(_Row(asked, question, prompt, embeds[prompt.prefix]))
        return rows, failed

    def _encode(self, asked: AskedClip) -> Tensor | None:
        """The clip's frames (T, tokens, hidden); None when memory does not do for a single frame."""
        frames = asked.frames.images
        while True:
            try:
                with torch.inference_mode():
                    return self.model.encode_images(self.model.preprocess(frames), chunk=self.vision_chunk)
            except torch.OutOfMemoryError:
                pass  # go on below, where the traceback no longer holds the tensors that did not fit
            if self.vision_chunk == 1:
                return None
            self.vision_chunk = max(1, min(self.vision_chunk, len(frames)) // 2)
            logger.warning("out of memory: from now on %d frames at a time", self.vision_chunk)
            self._free_memory()

    def _decode(self, rows: Sequence[_Row]) -> Iterator[Answer]:
        """Answers rows of like lengths together, so that little is padded."""
        waiting = sorted(rows, key=lambda row: row.prompt.num_tokens)
        while waiting:
            batch = waiting[: self.max_rows]
            try:
                decoded = self._generate(batch)
            except torch.OutOfMemoryError:
                decoded = None  # see _encode
            if decoded is not None:
                yield from (self._answer(row, found) for row, found in zip(batch, decoded, strict=True))
                waiting = waiting[len(batch) :]
                continue
            self._free_memory()
            if len(batch) == 1:
                reason = f"out of memory with this clip alone ({batch[0].prompt.num_tokens} positions)"
                yield _failed(batch[0].asked, batch[0].question, reason)
                waiting = waiting[1:]
            else:
                self.max_rows = len(batch) // 2
                logger.warning("out of memory: from now on %d answers at a time", self.max_rows)

    @torch.inference_mode()
    def _generate(self, rows: Sequence[_Row]) -> list[_Decoded]:
        settings = self.settings
        chooser = TokenChooser(
            repetition_penalty=settings.repetition_penalty,
            temperature=settings.temperature,
            top_p=settings.top_p,
            seeds=[_seed(row, settings.seed) for row in rows],
        )
        embeds, mask = pad_left(
            [torch.cat([row.prefix_embeds, self.model.embed_ids(row.prompt.suffix)]) for row in rows]
        )
        generated = generate_ids(
            self.model,
            embeds,
            mask,
            chooser,
            max_new_tokens=settings.max_new_tokens,
            stop_ids=self.stop_ids,
            pad_id=self.tokenizer.pad_id,
        )
        logprobs = torch.stack(chooser.logprobs, dim=1).cpu()
        return [self._cut(ids, found) for ids, found in zip(generated.tolist(), logprobs, strict=True)]

    def _cut(self, ids: list[int], logprobs: Tensor) -> _Decoded:
        """One row up to its end token; what follows is padding."""
        length = next((i for i, token in enumerate(ids) if token in self.stop_ids), None)
        kept = len(ids) if length is None else length + 1  # the end token is part of what the model said
        return _Decoded(ids[:length], "length" if length is None else "stop", float(logprobs[:kept].mean()))

    def _answer(self, row: _Row, decoded: _Decoded) -> Answer:
        if not math.isfinite(decoded.mean_logprob):
            reason = f"the model's numbers overflow in {self.model.dtype}: choose another --dtype"
            return _failed(row.asked, row.question, reason)
        prefix = row.prompt.prefix
        return Answer(
            clip_id=row.asked.clip.clip_id,
            question=row.question,
            text=clean_answer(self.tokenizer.decode(decoded.ids)),
            num_tokens=len(decoded.ids),
            finish_reason=decoded.finish_reason,
            mean_logprob=decoded.mean_logprob,
            num_frames=prefix.num_frames,
            num_subtitle_words=prefix.num_subtitle_words,
            flags=("subtitles_shortened",) if prefix.subtitles_shortened else (),
        )

    def _free_memory(self) -> None:
        if self.model.device.type == "cuda":
            torch.cuda.empty_cache()


def generate_ids(
    model: MiniGPT4Video,
    embeds: Tensor,  # (B, L, hidden), padded on the left
    mask: Tensor,  # (B, L)
    chooser: TokenChooser,
    *,
    max_new_tokens: int,
    stop_ids: Sequence[int],
    pad_id: int,
) -> Tensor:
    """New tokens (B, n) that follow embedded prompts; a row that has ended is filled with `pad_id`."""
    from transformers import GenerationConfig, LogitsProcessorList

    generated: Tensor = model.llama_model.generate(
        inputs_embeds=embeds,
        attention_mask=mask,
        # nothing of the language model's own comes in: Llama-2's would sample at temperature 0.6
        generation_config=GenerationConfig(  # type: ignore[no-untyped-call]
            max_new_tokens=max_new_tokens,
            do_sample=False,
            num_beams=1,
            eos_token_id=list(stop_ids),
            pad_token_id=pad_id,
        ),
        logits_processor=LogitsProcessorList([chooser]),
    )
    return generated


def clean_answer(text: str) -> str:
    """The answer without control tokens that the model spelt out. Unlike the reference, "[/INST]" cuts nothing off."""
    return text.split("</s>")[0].replace("<s>", "").strip()


def _failed(asked: AskedClip, question: Question, reason: str) -> Answer:
    return Answer(asked.clip.clip_id, question, "", num_frames=len(asked.frames.images), error=reason)


def _seed(row: _Row, seed: int) -> int:
    """From the run, the clip and the question alone, so that neighbours and order do not matter."""
    return int(stable_id(str(seed), str(row.asked.seed), row.asked.clip.clip_id, row.question.text), 16) >> 1
