"""Labels by clip, streamed. A first pass over the file decides which labels stay and finds out whether those of a clip
stand together; where they do not, the file is read several times, a share of its clips each, so memory stays bounded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vidlabel.errors import InputError
from vidlabel.export.clips import WHOLE_SECONDS, ClipTexts, Said, file_name
from vidlabel.export.format import Task
from vidlabel.tables.filter_rules import FilterRules
from vidlabel.tables.filtering import RowFilter
from vidlabel.tables.reading import LabelTable, asked_batches, row_schema
from vidlabel.tables.texts import hashes, said, said_types

Mask = npt.NDArray[np.bool_]
Keys = npt.NDArray[np.int64]
Row = tuple[Any, ...]

# what each column may be called; the first that is there counts
NAMES: Mapping[str, tuple[str, ...]] = {
    "clip_id": ("clip_id", "id"),
    "path": ("video_path", "video", "path", "file_name"),
    "start": ("start_seconds", "start"),
    "end": ("end_seconds", "end"),
    "video_seconds": ("video_seconds",),
    "width": ("width",),
    "height": ("height",),
    "fps": ("fps",),
}
_NUMBERS = ("start", "end", "video_seconds", "width", "height", "fps")
SHARE_ROWS = 300_000  # of labels that are held at once where those of a clip do not stand together


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which labels are exported, and which of their columns go along (name there -> name here)."""

    task: Task
    levels: tuple[str, ...] = ()
    rules: FilterRules | None = None
    text_column: str | None = None
    columns: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Survey:
    """What the first pass found."""

    keep: Mask
    keys: Keys  # of the clip of each label that stays
    num_clips: int
    num_videos: int
    left_out: Counter[str]
    part: str | None  # how the first clip that is not a whole video is called
    is_grouped: bool
    paths: tuple[str, ...]  # the first few
    suffixes: tuple[str, ...]  # of all video files, lower case


class LabelClips:
    """A file of labels, as the clips that they are of."""

    def __init__(self, table: LabelTable, choice: Choice) -> None:
        self._table = table
        self._choice = choice
        self._names = {role: next((n for n in names if n in table.names), None) for role, names in NAMES.items()}
        if self._names["path"] is None:
            raise InputError(f"{table.path} has no column that names the video; call it {' or '.join(NAMES['path'])}")
        if choice.levels:
            table.require("level", "--levels")
        self._columns = dict(choice.columns or {})
        for name in self._columns:
            table.require(name, "--columns")
        self._filter = None if choice.rules is None else RowFilter(table, choice.rules)
        self._types = self._row_types() | (self._filter.types if self._filter else {})

    def survey(self) -> Survey:
        rules = self._filter
        masks, keys, videos = [np.zeros(0, np.bool_)], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        ids = [np.zeros(0, np.int64)]
        left_out: Counter[str] = Counter()
        part, paths, suffixes = None, dict[str, None](), set[str]()
        for batch in self._batches():
            reasons = self._reasons(batch) | (rules.reasons(batch) if rules else {})
            masks.append(~np.any(list(reasons.values()), axis=0))
            left_out.update({reason: count for reason, mask in reasons.items() if (count := int(mask.sum()))})
            stays = batch.filter(pa.array(masks[-1]))
            keys.append(self._keys(stays))
            # a clip without an id is called by its span
            own = self._column(stays, "clip_id")
            ids.append(np.where(_mask(pc.is_null(own)), keys[-1], hashes(own)))
            videos.append(hashes(self._column(stays, "path")))
            part = part or self._first_part(stays)
            suffixes |= _suffixes(self._column(stays, "path"))
            if len(paths) < 20:
                paths |= dict.fromkeys(self._column(stays, "path")[:1000].to_pylist())
        if rules is not None:
            rules.finish()
        every = np.concatenate(keys)
        num_clips = len(np.unique(every))
        self._check_ids(np.concatenate(ids), every)
        runs = int((np.diff(every) != 0).sum()) + (len(every) > 0)
        found = np.concatenate(videos)
        return Survey(
            keep=np.concatenate(masks),
            keys=every,
            num_clips=num_clips,
            num_videos=len(np.unique(found)),
            left_out=left_out,
            part=part,
            is_grouped=runs == num_clips,
            paths=tuple(paths)[:20],
            suffixes=tuple(sorted(suffixes)),
        )

    def clips(self, survey: Survey, *, share_rows: int = SHARE_ROWS) -> Iterator[ClipTexts]:
        """In the order in which the clips are first mentioned."""
        if survey.is_grouped:
            for _, rows in groupby(self._rows(survey), key=lambda keyed: keyed[0]):
                yield self._clip([row for _, row in rows])
            return
        ranks, sizes = _ranks(survey.keys)
        start = 0
        while start < len(sizes):
            within = int(np.searchsorted(np.cumsum(sizes[start:]), share_rows, side="right"))
            end = start + max(1, within)
            share: dict[int, list[Row]] = {}
            for rank, row in self._rows(survey, ranks, (start, end)):
                share.setdefault(rank, []).append(row)
            for rank in sorted(share):
                yield self._clip(share[rank])
            start = end

    def _batches(self) -> Iterator[pa.RecordBatch]:
        for batch in asked_batches(self._table, self._types):
            yield self._filter.reworked(batch) if self._filter else batch

    def _row_types(self) -> dict[str, pa.DataType]:
        types: dict[str, pa.DataType] = dict(said_types(self._table, self._choice.text_column))
        for role, name in self._names.items():
            if name is not None:
                types[name] = pa.float64() if role in _NUMBERS else pa.string()
        types |= dict.fromkeys(["instruction", "level"], pa.string())
        if self._columns:
            schema = row_schema(self._table)
            # a column with a type of its own above keeps that: no two readings of one column
            types |= {name: schema.field(name).type for name in self._columns if name not in types}
        return types

    def _column(self, batch: pa.RecordBatch, role: str) -> pa.Array:
        name = self._names[role]
        kind = pa.float64() if role in _NUMBERS else pa.string()
        return pa.nulls(len(batch), kind) if name is None else batch[name]

    def _reasons(self, batch: pa.RecordBatch) -> dict[str, Mask]:
        """Reason to leave a label out -> the labels that have it."""
        spoken = said(batch, self._choice.text_column)
        is_qa = _mask(pc.equal(spoken.tasks, "qa"))
        reasons = {
            "without text": _mask(pc.is_null(spoken.texts)),
            "without a video": _mask(pc.is_null(self._column(batch, "path"))),
        }
        if self._choice.task == "caption":
            reasons["answers, and the format is for captions"] = is_qa
        elif self._choice.task == "qa":
            asked = pc.coalesce(spoken.questions, batch["instruction"])
            reasons["without a question or instruction"] = _mask(pc.is_null(asked))
        if self._choice.levels:
            chosen = _mask(pc.is_in(batch["level"], value_set=pa.array(self._choice.levels)))
            reasons[f"level is not {' or '.join(self._choice.levels)}"] = ~chosen & ~is_qa
        return reasons

    def _keys(self, batch: pa.RecordBatch) -> Keys:
        parts = [pc.fill_null(self._column(batch, role).cast(pa.string()), "") for role in _KEY]
        return hashes(pc.binary_join_element_wise(*parts, "\x1f"))

    def _first_part(self, batch: pa.RecordBatch) -> str | None:
        start = pc.fill_null(self._column(batch, "start"), 0.0)
        end, whole = self._column(batch, "end"), self._column(batch, "video_seconds")
        missing = pc.subtract(whole, pc.subtract(end, start))
        is_part = pc.if_else(pc.is_null(end), pc.greater(start, WHOLE_SECONDS), True)
        is_part = pc.and_(is_part, pc.fill_null(pc.greater(missing, WHOLE_SECONDS), True))
        index = pc.index(is_part, True).as_py()
        if index < 0:
            return None
        row = {role: self._column(batch, role)[index].as_py() for role in _KEY}
        end_text = "the end" if row["end"] is None else f"{row['end']:g} s"
        return f"{row['path']} from {row['start'] or 0.0:g} s to {end_text}"

    def _check_ids(self, ids: Keys, keys: Keys) -> None:
        """A clip's file is named by its id, so one id must not be two spans."""
        if self._names["clip_id"] is None:
            return
        order = np.argsort(ids, kind="stable")
        clashes = (np.diff(ids[order]) == 0) & (np.diff(keys[order]) != 0)
        if clashes.any():
            name = self._names["clip_id"]
            raise InputError(f"{self._table.path}: one {name} stands for different spans of video; make them differ")

    def _rows(
        self, survey: Survey, numbers: Keys | None = None, share: tuple[int, int] | None = None
    ) -> Iterator[tuple[int, Row]]:
        numbers = survey.keys if numbers is None else numbers
        at = kept = 0
        for batch in self._batches():
            mask = survey.keep[at : at + len(batch)]
            at += len(batch)
            if len(mask) < len(batch):
                break
            own = numbers[kept : kept + int(mask.sum())]
            kept += len(own)
            stays = batch.filter(pa.array(mask))
            if share is not None:
                chosen = (own >= share[0]) & (own < share[1])
                stays, own = stays.filter(pa.array(chosen)), own[chosen]
            yield from zip(own.tolist(), self._values(stays), strict=True)
        if at != len(survey.keep):
            raise InputError(f"{self._table.path} was changed while it was being read; run the same command again")

    def _values(self, batch: pa.RecordBatch) -> Iterator[Row]:
        spoken = said(batch, self._choice.text_column)
        asked = pc.coalesce(spoken.questions, batch["instruction"])
        columns = [spoken.tasks, asked, spoken.texts, batch["level"]]
        columns += [self._column(batch, role) for role in NAMES]
        columns += [batch[name] for name in self._columns]
        return zip(*(column.to_pylist() for column in columns), strict=True)

    def _clip(self, rows: list[Row]) -> ClipTexts:
        _, _, _, _, clip_id, path, start, end, video_seconds, width, height, fps, *extra = rows[0]
        if clip_id is None:
            clip_id = f"{path}-{round((start or 0.0) * 1000)}-{'end' if end is None else round(end * 1000)}"
        texts: tuple[Said, ...] = tuple(row[:4] for row in rows)
        levels = self._choice.levels
        if levels:
            texts = tuple(sorted(texts, key=lambda one: levels.index(one[3]) if one[3] in levels else len(levels)))
        return ClipTexts(
            clip_id=clip_id,
            name=file_name(clip_id),
            video_path=path,
            start_seconds=start or 0.0,
            end_seconds=end,
            video_seconds=video_seconds,
            width=int(width or 0),
            height=int(height or 0),
            fps=fps or 0.0,
            said=texts,
            columns=dict(zip(self._columns.values(), extra, strict=True)) if extra else {},
        )


_KEY = ("clip_id", "path", "start", "end")


def _ranks(keys: Keys) -> tuple[Keys, Keys]:
    """Of each row the number of its clip, by first mention; and how many rows each clip has."""
    _, first, inverse, counts = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return rank[inverse], counts[order]


def _suffixes(paths: pa.StringArray) -> set[str]:
    """As `Path.suffix` has them."""
    found = pc.extract_regex(paths, r"[^/](?P<suffix>\.[^./]+)$")
    return {(suffix or "").lower() for suffix in pc.unique(pc.struct_field(found, "suffix")).to_pylist()}


def _mask(values: pa.BooleanArray) -> Mask:
    mask: Mask = pc.fill_null(values, False).to_numpy(zero_copy_only=False)
    return mask
