"""Text from text: the language model alone, without adapter and video, in batches beside a captioner's own work.

Greedy and without a repetition penalty: it condenses and asks, it does not invent.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from vidlabel.captioner import Captioner
from vidlabel.data import Answer, AskedClip, Question
from vidlabel.models.minigpt4_video.adapter import without_adapter
from vidlabel.models.minigpt4_video.answers import clean_answer, failed
from vidlabel.models.minigpt4_video.decoding import TokenChooser
from vidlabel.models.minigpt4_video.generate import generate_ids
from vidlabel.models.minigpt4_video.model import MiniGPT4Video, pad_left
from vidlabel.models.minigpt4_video.prompt import build_opening, build_suffix, prompt_budget, stop_ids
from vidlabel.models.minigpt4_video.tokenizer import PromptTokenizer

logger = logging.getLogger(__name__)

BATCH = 16  # texts that are waited for while videos are asked

_Item = tuple[AskedClip, Question]


class WritingCaptioner:
    """A captioner, and beside it the same language model for questions that do not see the video."""

    def __init__(
        self,
        captioner: Captioner,
        model: MiniGPT4Video,
        tokenizer: PromptTokenizer,
        base: Mapping[str, Tensor],
        *,
        max_new_tokens: int,
        batch_size: int = BATCH,
    ) -> None:
        self._captioner, self._model, self._tokenizer, self._base = captioner, model, tokenizer, base
        self._opening = build_opening(tokenizer, model.config)
        self._stop_ids = stop_ids(tokenizer, model.config)
        self._max_new_tokens, self._batch_size = max_new_tokens, batch_size
        self._max_tokens = prompt_budget(model.config, model.max_positions, max_new_tokens)

    def answer(self, clips: Iterable[AskedClip]) -> Iterator[Answer]:
        """Texts are written when a batch has come together, and at the latest when the clips have ended."""
        waiting: list[_Item] = []
        for answer in self._captioner.answer(_Videos(clips, waiting)):
            yield answer
            while len(waiting) >= self._batch_size:
                yield from self._write(waiting)
        while waiting:
            yield from self._write(waiting)

    def _write(self, waiting: list[_Item]) -> list[Answer]:
        """Takes a batch off the list."""
        items = waiting[: self._batch_size]
        try:
            answers = self._generate(items)
        except torch.OutOfMemoryError:
            answers = None  # go on below, where the traceback no longer holds what did not fit
        if answers is not None:
            del waiting[: len(items)]
            return answers
        if self._model.device.type == "cuda":
            torch.cuda.empty_cache()
        if len(items) == 1:
            del waiting[0]
            return [failed(*items[0], "out of memory while the language model wrote")]
        self._batch_size = len(items) // 2
        logger.warning("out of memory: from now on %d texts at a time", self._batch_size)
        return []

    @torch.inference_mode()
    def _generate(self, items: Sequence[_Item]) -> list[Answer]:
        prompts = [(*self._opening, *build_suffix(self._tokenizer, self._model.config, q.text)) for _, q in items]
        fitting = [place for place, prompt in enumerate(prompts) if len(prompt) <= self._max_tokens]
        answers = [failed(clip, question, "the text is too long for the model's window") for clip, question in items]
        if not fitting:
            return answers
        embeds, mask = pad_left([self._model.embed_ids(prompts[place]) for place in fitting])
        chooser = TokenChooser(repetition_penalty=1.0, temperature=0.0, top_p=1.0, seeds=[0] * len(fitting))
        with without_adapter(self._model, self._base):
            generated = generate_ids(
                self._model,
                embeds,
                mask,
                chooser,
                max_new_tokens=self._max_new_tokens,
                stop_ids=self._stop_ids,
                pad_id=self._tokenizer.pad_id,
            )
        for place, ids in zip(fitting, generated.tolist(), strict=True):
            answers[place] = self._answer(items[place], ids)
        return answers

    def _answer(self, item: _Item, ids: list[int]) -> Answer:
        clip, question = item
        length = next((place for place, token in enumerate(ids) if token in self._stop_ids), None)
        said = ids if length is None else ids[:length]
        return Answer(
            clip_id=clip.clip.clip_id,
            question=question,
            text=clean_answer(self._tokenizer.decode(said)),
            num_tokens=len(said),
            finish_reason="length" if length is None else "stop",
        )


class _Videos:
    """The clips with questions that see them; the other questions go on a list. See `captioner.Feed`."""

    def __init__(self, clips: Iterable[AskedClip], texts: list[_Item]) -> None:
        self._would_wait: Callable[[], bool] | None = getattr(clips, "would_wait", None)
        self._clips, self._texts = iter(clips), texts
        self._held: list[AskedClip] = []

    def __iter__(self) -> Iterator[AskedClip]:
        while (clip := self._next()) is not None:
            yield clip

    def would_wait(self) -> bool:
        """Looks past clips that are asked nothing about their video: the next one may have to be waited for."""
        while not self._held:
            if self._would_wait is not None and self._would_wait():
                return True
            clip = next(self._clips, None)
            if clip is None:
                return False
            self._sort(clip)
        return False

    def _next(self) -> AskedClip | None:
        while not self._held and (clip := next(self._clips, None)) is not None:
            self._sort(clip)
        return self._held.pop() if self._held else None

    def _sort(self, clip: AskedClip) -> None:
        self._texts.extend((clip, question) for question in clip.questions if not question.sees_video)
        seeing = tuple(question for question in clip.questions if question.sees_video)
        if seeing:
            self._held.append(AskedClip(clip.clip, clip.frames, seeing, clip.seed))
