"""Second pass over a file of labels: the rows of the clips that go on the page, a column at a time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from vidlabel.errors import InputError
from vidlabel.report.columns import flags_column, page_column, plain_values
from vidlabel.report.gathering import VIDEO, Gathered, Ints, clip_keys, gather, key_types, videos_of
from vidlabel.tables.reading import LabelTable, chunks, open_table
from vidlabel.tables.texts import said, said_types
from vidlabel.tables.values import FLAGS_TYPE

# said in another way on the page, or of no use on it
_LEFT_OUT = {
    "clip_id", "start_seconds", "end_seconds", "task", "question", "instruction", "caption", "answer", "language",
    "flags", "created_at", "model_fingerprint", "vidlabel_version", "seed", *VIDEO,
}  # fmt: skip
_NUMBERS = ("mean_logprob", "grounding", "agreement")


@dataclass(frozen=True, slots=True)
class PageClip:
    """A clip on the page."""

    key: str
    name: str
    video: str | None  # as the labels name it
    start_seconds: float
    end_seconds: float | None
    severity: float


@dataclass(slots=True)
class PageRows:
    """The labels on the page, one value a row in each column."""

    clips: list[PageClip] = field(default_factory=list)
    clip: list[int] = field(default_factory=list)  # which of `clips`
    side: list[int] = field(default_factory=list)  # which of the files
    values: dict[str, list[Any]] = field(default_factory=dict)

    def to_columns(self) -> list[dict[str, object]]:
        made = []
        for name, values in self.values.items():
            values += [None] * (len(self.clip) - len(values))  # only the first file has it
            column = flags_column(values) if name == "flags" else page_column(name, values)
            if column is not None:
                made.append(column)
        return made


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """One file of labels, with what the first pass told of it."""

    table: LabelTable
    gathered: Gathered
    text_column: str | None

    @classmethod
    def read(cls, path: Path, text_column: str | None) -> Source:
        table = open_table(path)
        return cls(table, gather(table, text_column), text_column)


def choose_clips(source: Source, *, worst: bool, max_labels: int) -> list[str]:
    """The keys of whole clips with at most so many labels together, those to be looked at first in front."""
    gathered = source.gathered
    order: Ints = gathered.worst_first() if worst else gathered.drawn()
    counts = np.cumsum(gathered.labels_per_clip()[order])
    num = int(np.searchsorted(counts, max_labels, side="right"))
    if num == 0 and len(order):
        raise InputError(f"--max-labels {max_labels}: not even the labels of one clip fit; {int(counts[0])} would")
    return [gathered.keys[at] for at in order[:num]]


def page_rows(sources: Sequence[Source], keys: Sequence[str]) -> PageRows:
    """The labels of these clips in all the files, in the order of the clips and, in a clip, of the files."""
    places = {key: at for at, key in enumerate(keys)}
    rows = PageRows()
    clips: dict[int, PageClip] = {}
    for side, source in enumerate(sources):
        severity = dict(zip(source.gathered.keys, source.gathered.clip_severities().tolist(), strict=True))
        _add_rows(rows, clips, source, side, places, severity)
    missing = set(places.values()) - set(clips)
    if missing:
        raise InputError(f"{sources[0].table.path} was changed while it was being read; run the same command again")
    rows.clips = [clips[at] for at in range(len(keys))]
    order = np.lexsort((rows.side, rows.clip)).tolist()  # stable: labels of a clip keep their order
    rows.values = {name: [values[at] for at in order] for name, values in _filled(rows).items()}
    rows.clip, rows.side = [rows.clip[at] for at in order], [rows.side[at] for at in order]
    return rows


def _filled(rows: PageRows) -> Mapping[str, list[Any]]:
    return {name: values + [None] * (len(rows.clip) - len(values)) for name, values in rows.values.items()}


def _add_rows(
    rows: PageRows,
    clips: dict[int, PageClip],
    source: Source,
    side: int,
    places: Mapping[str, int],
    severity: Mapping[str, float],
) -> None:
    table = source.table
    types = dict(said_types(table, source.text_column)) | key_types(table)
    types |= dict.fromkeys(("instruction", "language"), pa.string()) | {"flags": FLAGS_TYPE}
    types |= {name: pa.float64() for name in _NUMBERS if name in table.names}
    names = [name for name in table.names if name not in _LEFT_OUT and name != source.text_column]
    num_rows = 0
    for chunk in chunks(table, types):
        keys = list(clip_keys(chunk.asked, num_rows))
        num_rows += len(keys)
        here = [at for at, key in enumerate(keys) if key in places]
        if not here:
            continue
        asked, whole = chunk.asked.take(pa.array(here)), chunk.rows
        assert isinstance(whole, pa.RecordBatch)
        _add_clips(clips, asked, [keys[at] for at in here], places, severity)
        num_before = len(rows.clip)
        rows.clip += [places[keys[at]] for at in here]
        rows.side += [side] * len(here)
        for name, values in _values(asked, source.text_column, [name for name in names if name in types]).items():
            _extend(rows, name, values, num_before)
        rest = whole.take(pa.array(here))
        for name in names:
            if name not in types and name in rest.schema.names:
                _extend(rows, name, plain_values(rest[name]), num_before)


def _extend(rows: PageRows, name: str, values: list[Any], num_before: int) -> None:
    column = rows.values.setdefault(name, [])
    column += [None] * (num_before - len(column)) + values


def _values(asked: pa.RecordBatch, text_column: str | None, scores: Sequence[str]) -> dict[str, list[Any]]:
    spoken = said(asked, text_column)
    prompts = zip(spoken.questions.to_pylist(), asked["instruction"].to_pylist(), strict=True)
    return {
        "task": spoken.tasks.to_pylist(),
        "prompt": [question or instruction for question, instruction in prompts],
        "text": spoken.texts.to_pylist(),
        "language": spoken.languages.to_pylist(),
        "flags": asked["flags"].to_pylist(),
        **{name: asked[name].to_pylist() for name in scores},
    }


def _add_clips(
    clips: dict[int, PageClip],
    asked: pa.RecordBatch,
    keys: Sequence[str],
    places: Mapping[str, int],
    severity: Mapping[str, float],
) -> None:
    spans = zip(asked["start_seconds"].to_pylist(), asked["end_seconds"].to_pylist(), strict=True)
    for key, video, (start, end) in zip(keys, videos_of(asked), spans, strict=True):
        start, end = _time(start), _time(end)
        if places[key] not in clips:
            name = key if "\x1f" not in key else f"{video} {start or 0:g}-{'end' if end is None else f'{end:g}'}"
            clips[places[key]] = PageClip(key, name, video, start or 0.0, end, severity.get(key, 0.0))


def _time(seconds: float | None) -> float | None:
    return seconds if seconds is not None and math.isfinite(seconds) else None
