"""Examples as a torch data set, and the order in which they are gone through.

All of a run is one pass over (epoch, example) pairs. What an item is depends on that pair, the settings and the files
alone, so neither workers nor processes nor a restart change it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from vidlabel.config import FrameSettings
from vidlabel.data import Failure
from vidlabel.errors import VideoError
from vidlabel.models.minigpt4_video.config import ModelConfig
from vidlabel.models.minigpt4_video.tokenizer import PromptTokenizer
from vidlabel.prompts import Pool, choose
from vidlabel.train.batches import Item
from vidlabel.train.decoding import Decoding
from vidlabel.train.examples import Example
from vidlabel.train.features import FeatureCache, Timing
from vidlabel.train.footage import clip_key, footage_failure
from vidlabel.train.lessons import TOO_LONG, LessonForm, make_lesson
from vidlabel.train.turns import Row, clip_name


@dataclass(frozen=True, slots=True, eq=False)
class Teaching:
    """How examples become lessons."""

    tokenizer: PromptTokenizer
    config: ModelConfig  # of the form's prompts
    form: LessonForm
    frames: FrameSettings
    pool: Pool | None  # of instructions, for examples without a question
    seed: int
    cache: FeatureCache | None = None

    def question(self, example: Example, epoch: int) -> str:
        """The example's own, or one that is drawn from the pool: another one every epoch, as chance has it."""
        if example.question is not None:
            return example.question
        assert self.pool is not None
        drawn = choose(
            self.pool,
            clip_id=f"{example.example_id}/{epoch}",
            seed=self.seed,
            per_clip=1,
            language=example.language,
        )
        return drawn[0].text


class ExampleSet(Dataset[Item | Failure]):
    """Rows by (epoch, index)."""

    def __init__(self, rows: Sequence[Row], teaching: Teaching, decoding: Decoding) -> None:
        self.rows = rows
        self._teaching, self._decoding = teaching, decoding
        self._failed: dict[str, Failure] = {}  # what failed once is not tried every epoch

    def __len__(self) -> int:
        return len(self.rows)

    def announce(self, order: Iterable[tuple[int, int]]) -> None:
        """The items that will be asked for, each once and in this order."""
        self._decoding.announce((self.rows[index][0] for _, index in order), self._needs_frames)

    def _needs_frames(self, example: Example) -> bool:
        cache = self._teaching.cache
        return clip_name(example) not in self._failed and (
            cache is None or not cache.has(clip_key(example, self._teaching.frames))
        )

    def __getitem__(self, at: tuple[int, int]) -> Item | Failure:
        epoch, index = at
        row = self.rows[index]
        example = row[0]  # as to its clip all are alike
        clip = clip_name(example)
        if clip in self._failed:
            self._decoding.skip(example)
            return self._failed[clip]
        try:
            return self._item(row, epoch)
        except VideoError as error:
            failure = footage_failure(example, error)
            if error.permanent:
                self._failed[clip] = failure
            return failure

    def _item(self, row: Row, epoch: int) -> Item:
        teaching = self._teaching
        key = clip_key(row[0], teaching.frames)
        clip, timing = self._clip(row[0], key)
        lesson = make_lesson(
            teaching.tokenizer,
            teaching.config,
            teaching.form,
            pts_seconds=timing.pts_seconds,
            cues=timing.cues,
            asked=[(teaching.question(example, epoch), example.answer) for example in row],
        )
        error = VideoError(TOO_LONG)
        failures = [replace(footage_failure(row[at], error), id=row[at].example_id) for at in lesson.too_long]
        return Item(lesson, key, clip, timing, failures)

    def _clip(self, example: Example, key: str) -> tuple[torch.Tensor, Timing]:
        cache = self._teaching.cache
        kept = None if cache is None else cache.get(key)
        if kept is not None:
            self._decoding.skip(example)
            return kept
        frames = self._decoding.frames(example)
        clip = torch.from_numpy(np.ascontiguousarray(frames.images))
        timing = Timing(tuple(frames.pts_seconds.tolist()), frames.cues)
        if cache is not None and cache.holds_pictures:
            cache.put(key, clip, timing)
        return clip, timing


class Schedule(Sampler[tuple[int, int]]):
    """`total` pairs: every epoch all examples once, in an order of its own."""

    def __init__(self, num_examples: int, *, total: int, seed: int) -> None:
        self._num_examples, self._total, self._seed = num_examples, total, seed

    def __len__(self) -> int:
        return self._total

    def __iter__(self) -> Iterator[tuple[int, int]]:
        given = 0
        epoch = 0
        while given < self._total:
            order = np.random.default_rng((self._seed, epoch)).permutation(self._num_examples)
            for index in order[: self._total - given].tolist():
                yield epoch, index
            given += len(order)
            epoch += 1


def check_pool(pool: Pool, examples: Sequence[Example]) -> Mapping[str, int]:
    """How many examples of each language need the pool; an InputError where it does not have one."""
    counts: dict[str, int] = {}
    for example in examples:
        if example.question is None:
            counts[example.language] = counts.get(example.language, 0) + 1
    for language in counts:
        choose(pool, clip_id="any", seed=0, per_clip=1, language=language)
    return counts
