"""`vidlabel stats`: what a file of labels holds, in numbers. Reads it once, and the start of it again to quote texts.

Counts are exact. A label costs about 100 bytes of memory, so ten million of them a gigabyte.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vidlabel.failures import FailureLog
from vidlabel.tables.reading import LabelTable, Types, asked_batches, open_table
from vidlabel.tables.stats_signals import counted_in, numbers_in, numeric, signal_types
from vidlabel.tables.texts import NO_TEXTS, hashes, num_words, said, said_types, text_keys
from vidlabel.tables.values import FLAGS_TYPE
from vidlabel.tables.vocabulary import Vocabulary, vocabulary, word_counts

SHOWN = 20  # words; of repeated texts a quarter of that
_SAMPLE_ROWS = 2_000  # enough for the sample of words unless captions are a few words long
_COUNTED = ("pool", "language", "model", "finish_reason")
_SCORES = ("mean_logprob", "grounding", "agreement")
_VIDEO = ("video_id", "video_path", "video")  # the first that is there tells videos apart
_TIMES = ("start_seconds", "end_seconds", "video_seconds")

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Spread:
    """Of numbers: how many there are, and how they lie."""

    count: int
    mean: float
    least: float
    lower_quartile: float
    median: float
    upper_quartile: float
    most: float


@dataclass(frozen=True, slots=True)
class Repeated:
    """A text that several labels share."""

    text: str
    labels: int


@dataclass(frozen=True, slots=True)
class FailureStats:
    """What the failures file beside the labels says."""

    total: int
    permanent: int
    by_stage: Mapping[str, int]
    by_reason: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Stats:
    """What is None, or not in a mapping, the file has no column for."""

    labels: int
    clips: int | None
    videos: int | None
    by: Mapping[str, Mapping[str, int]]  # column -> value -> labels
    words: Spread | None  # a label
    characters: Spread | None
    flags: Mapping[str, int] | None
    clean: int | None
    repeated_labels: int  # whose text another label has too
    distinct_texts: int
    most_repeated: tuple[Repeated, ...]
    vocabulary: Vocabulary
    clip_hours: float | None
    clip_seconds: Spread | None
    video_hours: float | None
    scores: Mapping[str, Spread]
    signals: Mapping[str, Spread]  # of clips
    failures: FailureStats | None
    has_texts: bool = True  # else the rows are of clips alone


@dataclass(frozen=True, slots=True)
class _Measured:
    """What is taken from one batch."""

    pieces: Mapping[str, int]
    counts: Mapping[str, Mapping[str, int]]
    flags: Mapping[str, int]
    num_clean: int
    numbers: Mapping[str, npt.NDArray[np.generic]]  # one value a row
    texts: pa.StringArray


@dataclass(slots=True)
class _Gathered:
    """What is taken from all of them."""

    pieces: Counter[str] = field(default_factory=Counter)
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    flags: Counter[str] = field(default_factory=Counter)
    num_clean: int = 0
    num_rows: int = 0
    numbers: dict[str, list[npt.NDArray[np.generic]]] = field(default_factory=dict)
    sample: list[tuple[int, str]] = field(default_factory=list)

    def add(self, measured: _Measured) -> None:
        self.pieces.update(measured.pieces)
        for name, counts in measured.counts.items():
            self.counts.setdefault(name, Counter()).update(counts)
        self.flags.update(measured.flags)
        self.num_clean += measured.num_clean
        for name, numbers in measured.numbers.items():
            self.numbers.setdefault(name, []).append(numbers)
        places = _places(self.num_rows, len(measured.texts))
        bound = self.sample[-1][0] if len(self.sample) >= _SAMPLE_ROWS else np.iinfo(np.uint64).max
        for at in np.flatnonzero(places < bound).tolist():
            if text := measured.texts[at].as_py():
                self.sample.append((int(places[at]), text))
        self.sample = sorted(self.sample)[:_SAMPLE_ROWS]
        self.num_rows += len(measured.texts)

    def column(self, name: str) -> Ints:
        return np.concatenate(self.numbers[name]) if self.numbers.get(name) else np.zeros(0, np.int64)

    def finite(self, name: str) -> Floats:
        values = self.column(name).astype(np.float64)
        return values[np.isfinite(values)]


def stats(path: Path, *, text_column: str | None = None, num_threads: int = 1) -> Stats:
    table = open_table(path)
    signals = signal_types(table)
    has_texts = text_column is not None or not {"caption", "answer"}.isdisjoint(table.names)
    texts = said_types(table, text_column) if has_texts or not signals else NO_TEXTS
    wanted = {name: pa.string() for name in (*_COUNTED, "clip_id", *_VIDEO)}
    wanted |= {name: pa.float64() for name in (*_SCORES, *_TIMES)} | {"flags": FLAGS_TYPE}
    types = {name: kind for name, kind in wanted.items() if name in table.names} | signals | dict(texts)
    gathered = _Gathered()
    for measured in _in_threads(asked_batches(table, types), lambda batch: _measure(batch, text_column), num_threads):
        gathered.add(measured)
    return _summed_up(table, gathered, texts, text_column)


def _in_threads(
    batches: Iterator[pa.RecordBatch], measure: Callable[[pa.RecordBatch], _Measured], num_threads: int
) -> Iterator[_Measured]:
    """In order, and never more batches in memory than threads and one."""
    waiting: deque[Future[_Measured]] = deque()
    with ThreadPoolExecutor(num_threads) as pool:
        for batch in batches:
            waiting.append(pool.submit(measure, batch))
            if len(waiting) > num_threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _measure(batch: pa.RecordBatch, text_column: str | None) -> _Measured:
    spoken = said(batch, text_column)
    names = batch.schema.names
    numbers: dict[str, npt.NDArray[np.generic]] = {
        "words": num_words(spoken.texts).astype(np.int32),
        "characters": pc.fill_null(pc.utf8_length(spoken.texts), 0).to_numpy(),
        "text_key": text_keys(spoken),
        **numbers_in(batch),
    }
    for name in (*_SCORES, *_TIMES):
        if name in names:
            numbers[name] = batch[name].to_numpy(zero_copy_only=False)
    for name, columns in (("clip", ("clip_id",)), ("video", _VIDEO)):
        if column := next((column for column in columns if column in names), None):
            numbers[name] = hashes(batch[column])
    flags: Mapping[str, int] = {}
    num_clean = 0
    if "flags" in names:
        flags = _counts(batch["flags"].flatten())
        num_clean = len(batch) - int(pc.sum(pc.greater(pc.list_value_length(batch["flags"]), 0)).as_py() or 0)
    counted = {name: _counts(batch[name]) for name in _COUNTED if name in names}
    counts = {"task": _counts(spoken.tasks), **counted}
    counts |= {name: _counts(column) for name, column in counted_in(batch).items()}
    return _Measured(word_counts(spoken.texts), counts, flags, num_clean, numbers, spoken.texts)


def _counts(column: pa.Array) -> dict[str, int]:
    counted = pc.value_counts(pc.drop_null(column))
    return dict(zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True))


def _places(start: int, num: int) -> npt.NDArray[np.uint64]:
    """A number for each row that is as good as drawn by lot, and always the same: the lowest make the sample."""
    mixed = np.arange(start, start + num, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    return mixed ^ (mixed >> np.uint64(27))


def _summed_up(table: LabelTable, gathered: _Gathered, texts: Types, text_column: str | None) -> Stats:
    has_texts = texts is not NO_TEXTS
    text_key = gathered.column("text_key") if has_texts else np.zeros(0, np.int64)
    keys, first_rows, key_counts = np.unique(text_key, return_index=True, return_counts=True)
    frequent = sorted(
        (-int(key_counts[at]), int(first_rows[at]))
        for at in np.argsort(-key_counts, kind="stable")[: SHOWN // 4]
        if key_counts[at] > 1
    )
    quoted = _quoted(table, texts, text_column, {row for _, row in frequent})
    has_times = {"start_seconds", "end_seconds"} <= set(table.names)
    seconds = gathered.column("end_seconds") - gathered.column("start_seconds") if has_times else None
    clips = _once_each(gathered, "clip", seconds)
    has_flags = "flags" in table.names
    has_videos = not set(_VIDEO).isdisjoint(table.names)
    video_seconds = gathered.column("video_seconds") if "video_seconds" in table.names and has_videos else None
    videos = _once_each(gathered, "video", video_seconds)
    return Stats(
        labels=gathered.num_rows,
        clips=len(np.unique(gathered.column("clip"))) if "clip_id" in table.names else None,
        videos=len(np.unique(gathered.column("video"))) if has_videos else None,
        by={
            name: dict(counts.most_common())
            for name, counts in gathered.counts.items()
            if has_texts or name not in NO_TEXTS
        },
        words=spread(gathered.finite("words")) if has_texts else None,
        characters=spread(gathered.finite("characters")) if has_texts else None,
        flags=dict(gathered.flags.most_common()) if has_flags else None,
        clean=gathered.num_clean if has_flags else None,
        repeated_labels=int(key_counts[key_counts > 1].sum()),
        distinct_texts=len(keys),
        most_repeated=tuple(Repeated(quoted[row], -count) for count, row in frequent),
        vocabulary=vocabulary(gathered.pieces, [text for _, text in gathered.sample], shown=SHOWN),
        clip_hours=None if clips is None else float(clips.sum()) / 3600,
        clip_seconds=None if clips is None else spread(clips),
        video_hours=None if videos is None else float(videos.sum()) / 3600,
        scores={name: found for name in _SCORES if (found := spread(gathered.finite(name)))},
        signals=_signals(table, gathered),
        failures=failure_stats(table.failures),
        has_texts=has_texts,
    )


def _signals(table: LabelTable, gathered: _Gathered) -> dict[str, Spread]:
    made = {}
    for name in numeric(table.names):
        of_clips = _once_each(gathered, "clip", gathered.column(name)) if "clip_id" in table.names else None
        made[name] = spread(gathered.finite(name) if of_clips is None else of_clips)
    return {name: found for name, found in made.items() if found is not None}


def _once_each(gathered: _Gathered, thing: str, values: npt.NDArray[np.generic] | None) -> Floats | None:
    """One value for each clip or video, however many labels it has."""
    if values is None:
        return None
    keys = gathered.column(thing)
    chosen = values[np.unique(keys, return_index=True)[1]] if len(keys) else values
    finite = chosen.astype(np.float64)
    return finite[np.isfinite(finite)]


def _quoted(table: LabelTable, texts: Types, text_column: str | None, rows: set[int]) -> dict[int, str]:
    found: dict[int, str] = {}
    at = 0
    for batch in asked_batches(table, texts) if rows else ():
        here = [row for row in rows if at <= row < at + len(batch)]
        if here:
            column = said(batch, text_column).texts
            found |= {row: column[row - at].as_py() or "" for row in here}
        at += len(batch)
        if len(found) == len(rows):
            break
    return found


def spread(values: Floats) -> Spread | None:
    if not len(values):
        return None
    least, lower, median, upper, most = (float(value) for value in np.percentile(values, [0, 25, 50, 75, 100]))
    return Spread(len(values), float(values.mean()), least, lower, median, upper, most)


def failure_stats(path: Path) -> FailureStats | None:
    if not path.exists():
        return None
    failures = list(FailureLog(path))
    return FailureStats(
        total=len(failures),
        permanent=sum(failure.permanent for failure in failures),
        by_stage=dict(Counter(failure.stage for failure in failures).most_common()),
        by_reason=dict(Counter(failure.reason for failure in failures).most_common()),
    )
