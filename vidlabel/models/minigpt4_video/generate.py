"""The captioner on transformers' `generate`: correct before fast.

Each clip is encoded once and asked all its questions; the rows of several clips decode together. Out of memory halves
what is done at once and goes on. In float32 an answer does not depend on which clips share its batch.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vidlabel.config import AnswerSettings
from vidlabel.data import Answer, AskedClip
from vidlabel.models.minigpt4_video.answers import (
    OUT_OF_MEMORY_FRAME,
    Asked,
    Decoded,
    answered,
    ask,
    failed,
    out_of_memory,
    with_features,
)
from vidlabel.models.minigpt4_video.decoding import TokenChooser
from vidlabel.models.minigpt4_video.grounding import mean_logprobs, support
from vidlabel.models.minigpt4_video.model import MiniGPT4Video, pad_left
from vidlabel.models.minigpt4_video.prompt import build_opening, prompt_budget, stop_ids
from vidlabel.models.minigpt4_video.tokenizer import PromptTokenizer

logger = logging.getLogger(__name__)

_VISION_CHUNK = 128  # frames in one pass of the vision tower, until memory says otherwise


@dataclass(frozen=True, slots=True, eq=False)
class _Row:
    """One question about one clip, ready to decode. Rows of a clip share `prefix_embeds`."""

    asked: Asked
    prefix_embeds: Tensor  # (P, hidden)


class GenerateCaptioner:
    """Answers with a loaded model. `batch_size` is the largest number of rows (clip and question) decoded at once."""

    def __init__(
        self,
        model: MiniGPT4Video,
        tokenizer: PromptTokenizer,
        settings: AnswerSettings,
        *,
        batch_size: int = 8,
        embeddings: bool = False,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch size is at least 1, got {batch_size = }")
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.settings = settings
        self.max_rows = batch_size
        self._embeddings = embeddings
        self.vision_chunk = _VISION_CHUNK
        self.stop_ids = stop_ids(tokenizer, model.config)
        self._opening = build_opening(tokenizer, model.config)
        self._stranger: _Row | None = None  # of an earlier batch: another clip for `strict` where a batch has none

    def answer(self, clips: Iterable[AskedClip]) -> Iterator[Answer]:
        """Pulls clips until a batch of rows is full, never more."""
        rows: list[_Row] = []
        for clip in clips:
            ready, refused = self._prepare(clip)
            yield from refused
            rows += ready
            if len(rows) >= self.max_rows and self._can_compare(rows):
                yield from self._decode(rows)
                rows = []
        yield from self._decode(rows)

    def _can_compare(self, rows: Sequence[_Row]) -> bool:
        """With `strict` the first clip waits for another one."""
        clips = {row.asked.clip.clip.clip_id for row in rows}
        return self.settings.grounding != "strict" or self._stranger is not None or len(clips) > 1

    def _prepare(self, clip: AskedClip) -> tuple[list[_Row], list[Answer]]:
        """A row for each question, and an answer that says why where there can be none."""
        max_tokens = prompt_budget(self.model.config, self.model.max_positions, self.settings.max_new_tokens)
        asked, refused = ask(clip, self.tokenizer, self.model.config, max_tokens=max_tokens)
        if not asked:
            return [], refused
        encoded = self._encode(clip)
        if encoded is None:
            return [], refused + [failed(clip, one.question, OUT_OF_MEMORY_FRAME) for one in asked]
        images, pooled = encoded
        if self._embeddings:
            asked = with_features(asked, pooled)
        with torch.inference_mode():
            prefixes = {one.prompt.prefix for one in asked}
            embeds = {prefix: self.model.embed_prefix(prefix, images) for prefix in prefixes}
        return [_Row(one, embeds[one.prompt.prefix]) for one in asked], refused

    def _encode(self, clip: AskedClip) -> tuple[Tensor, Tensor] | None:
        """The clip's frames (T, tokens, hidden) and (T, D); None when memory does not do for a single frame."""
        frames = clip.frames.images
        while True:
            try:
                with torch.inference_mode():
                    return self.model.encode_and_pool(self.model.preprocess(frames), chunk=self.vision_chunk)
            except torch.OutOfMemoryError:
                pass  # go on below, where the traceback no longer holds the tensors that did not fit
            if self.vision_chunk == 1:
                return None
            self.vision_chunk = max(1, min(self.vision_chunk, len(frames)) // 2)
            logger.warning("out of memory: from now on %d frames at a time", self.vision_chunk)
            self._free_memory()

    def _decode(self, rows: Sequence[_Row]) -> Iterator[Answer]:
        """Answers rows of like lengths together, so that little is padded."""
        waiting = sorted(rows, key=lambda row: row.asked.prompt.num_tokens)
        strangers = [*([] if self._stranger is None else [self._stranger]), *rows]
        while waiting:
            batch = waiting[: self.max_rows]
            try:
                decoded = self._ground(batch, self._generate(batch), strangers)
            except torch.OutOfMemoryError:
                decoded = None  # see _encode
            if decoded is not None:
                for row, found in zip(batch, decoded, strict=True):
                    yield answered(row.asked, found, self.tokenizer, self.model.dtype)
                waiting = waiting[len(batch) :]
                continue
            self._free_memory()
            if len(batch) == 1:
                yield out_of_memory(batch[0].asked)
                waiting = waiting[1:]
            else:
                self.max_rows = len(batch) // 2
                logger.warning("out of memory: from now on %d answers at a time", self.max_rows)
        if rows and self.settings.grounding == "strict":
            self._stranger = rows[-1]

    @torch.inference_mode()
    def _generate(self, rows: Sequence[_Row]) -> list[Decoded]:
        settings = self.settings
        chooser = TokenChooser(
            repetition_penalty=settings.repetition_penalty,
            temperature=settings.temperature,
            top_p=settings.top_p,
            seeds=[row.asked.seed(settings.seed) for row in rows],
        )
        embeds, mask = pad_left(
            [torch.cat([row.prefix_embeds, self.model.embed_ids(row.asked.prompt.suffix)]) for row in rows]
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

    @torch.inference_mode()
    def _ground(self, rows: Sequence[_Row], decoded: list[Decoded], strangers: Sequence[_Row]) -> list[Decoded]:
        """The answers read again without their video, and with `strict` after another clip's prefix."""
        if self.settings.grounding == "none":
            return decoded
        said = [found.said for found in decoded]
        suffixes = [self.model.embed_ids(row.asked.prompt.suffix) for row in rows]
        opening = self.model.embed_ids(self._opening)
        alone = mean_logprobs(self.model, [torch.cat([opening, suffix]) for suffix in suffixes], said)
        others: list[list[float | None]] = [[*alone]]
        if self.settings.grounding == "strict":
            others.append([self._after_stranger(*item, strangers) for item in zip(rows, suffixes, said, strict=True)])
        return [
            replace(one, grounding=support(one.mean_logprob, *found))
            for one, *found in zip(decoded, *others, strict=True)
        ]

    def _after_stranger(
        self, row: _Row, suffix: Tensor, said: Sequence[int], strangers: Sequence[_Row]
    ) -> float | None:
        """One at a time: prefixes are long, and those of a batch together may be longer than its own prompts."""
        clip = row.asked.clip.clip
        room = min(self.model.config.context_window, self.model.max_positions) - len(suffix) - len(said)
        others = [
            other
            for other in strangers
            if other.asked.clip.clip.clip_id != clip.clip_id and len(other.prefix_embeds) <= room
        ]
        if not others:
            return None
        other = min(others, key=lambda other: other.asked.clip.clip.video.video_id == clip.video.video_id)
        return mean_logprobs(self.model, [torch.cat([other.prefix_embeds, suffix])], [said])[0]

    def _cut(self, ids: list[int], logprobs: Tensor) -> Decoded:
        """One row up to its end token; what follows is padding."""
        length = next((i for i, token in enumerate(ids) if token in self.stop_ids), None)
        kept = len(ids) if length is None else length + 1  # the end token is part of what the model said
        mean = float(logprobs[:kept].mean())
        return Decoded(ids, "length", mean) if length is None else Decoded(ids[:length], "stop", mean, ids[length])

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
