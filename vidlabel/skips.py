"""What `--where` left out: `labels.skipped.parquet`, one row a clip (or video, where that was enough to tell) with the
reason. A run does not look again at what is there, unless the condition or what it asks of the manifest has changed.

Rows gather in parts in the work folder, like labels. A row without a reason says that a video was decided anew: what
older rows of other conditions say of it is over.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vidlabel.data import Clip, Video, stable_id
from vidlabel.errors import InputError
from vidlabel.labels import clean_text, escape_name, unescape_name
from vidlabel.outputs import Output, part_folders
from vidlabel.parts import PartSaver, whole_parts
from vidlabel.readers import parquet_batches
from vidlabel.selection import Rejection

SCHEMA = pa.schema(
    [
        ("clip_id", pa.string()),  # null: all of the video, or of the span that video_id and the times name
        ("video_id", pa.string()),
        ("video_path", pa.string()),
        ("start_seconds", pa.float64()),
        ("end_seconds", pa.float64()),
        ("reason", pa.string()),
        ("where", pa.string()),
        ("decided_by", pa.string()),  # see `Selection.key`
    ]
)
# in parts what was measured is one JSON text; in the file it is in columns behind the others
PART_SCHEMA = SCHEMA.append(pa.field("signals", pa.string()))
PREFIX = "skipped"  # of parts
INCOMPLETE, HAS_SPANS = b"vidlabel.incomplete_videos", b"vidlabel.has_spans"  # as `OutputInfo` has them

Numbers = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Skip:
    """One row; without a rejection, that a video was decided anew."""

    video: Video
    decided_by: str
    rejection: Rejection | None = None
    where: str | None = None  # the condition
    clip: Clip | None = None
    clip_id: str | None = None  # of a span that was rejected before it was opened
    signals: Mapping[str, object] = field(default_factory=dict, hash=False)  # of a clip whose frames were read

    def to_row(self) -> dict[str, object]:
        clip, span = self.clip, self.video.span
        start, end = (None, None) if span is None else (span.start_seconds, span.end_seconds)
        clip_id = self.clip_id if clip is None else clip.clip_id
        return {
            "clip_id": None if clip_id is None else escape_name(clip_id),
            "video_id": escape_name(self.video.video_id),
            "video_path": escape_name(self.video.path),
            "start_seconds": start if clip is None else clip.start_seconds,
            "end_seconds": end if clip is None else clip.end_seconds,
            "reason": None if self.rejection is None else clean_text(self.rejection.reason),
            "where": self.where,
            "decided_by": self.decided_by,
            "signals": json.dumps(dict(self.signals)) if self.signals else None,
        }


def skip_writer(folder: Path, *, flush_seconds: float) -> PartSaver[Skip]:
    def to_table(skips: list[Skip]) -> pa.Table:
        return pa.Table.from_pylist([skip.to_row() for skip in skips], schema=PART_SCHEMA)

    return PartSaver(folder, PREFIX, to_table, flush_seconds=flush_seconds)


@dataclass(frozen=True, slots=True, eq=False)
class RowNumbers:
    """Names of rows as hashes of 8 bytes."""

    things: Numbers  # the clip; the video where no clip is named
    videos: Numbers
    keys: Numbers
    of_videos: Mask  # no clip is named
    has_reason: Mask

    @property
    def pairs(self) -> Numbers:
        return (self.things ^ self.keys)[self.has_reason]


@dataclass(frozen=True, slots=True, eq=False)
class Skipped:
    """What is recorded. Ids are asked for as Python knows them, not as they are stored."""

    pairs: Numbers  # of thing and key, sorted
    videos: Numbers  # one a row, sorted
    keys: Numbers  # of the rows in the order of `videos`
    finished: Numbers  # videos of the finished file, sorted
    videos_in_parts: frozenset[str] = frozenset()  # with clips that were decided: others may not be
    incomplete_videos: frozenset[str] = frozenset()
    has_spans: bool = False

    def has(self, thing_id: str, key: str) -> bool:
        """Whether this clip (or whole video) was left out for the same key."""
        return bool(key) and _is_in(_number(thing_id) ^ _number(key), self.pairs)

    def is_stale(self, video_id: str, key: str) -> bool:
        """Whether something of the video was left out for another key, and so may be wanted now."""
        if not len(self.videos):
            return False
        number = _number(video_id)
        first = np.searchsorted(self.videos, number)
        last = np.searchsorted(self.videos, number, side="right")
        return bool((self.keys[first:last] != _number(key)).any())

    def is_whole(self, video_id: str, key: str) -> bool:
        """Whether all of the video was left out, and nothing has changed since."""
        return self.has(video_id, key) and not self.is_stale(video_id, key)

    def is_decided(self, video_id: str, key: str) -> bool:
        """Whether an earlier finished run left out some of the video, and nothing has changed since."""
        return bool(key) and _is_in(_number(video_id), self.finished) and not self.is_stale(video_id, key)


def read_skipped(output: Output, *, replacing: bool = False) -> Skipped:
    """`replacing`: the parts only."""
    metadata = read_metadata(output.skipped) if output.skipped.exists() and not replacing else {}
    found = [row_numbers(batch) for batch in (parquet_batches(output.skipped) if metadata else ())]
    finished = _together([numbers.videos for numbers in found])
    in_parts: set[str] = set()
    for _, table in (
        part for folder in part_folders(output) for part in whole_parts(folder, PART_SCHEMA.names, PREFIX)
    ):
        found.append(row_numbers(table))
        in_parts.update(table.filter(pc.is_valid(table["clip_id"]))["video_id"].unique().to_pylist())
    videos = _together([numbers.videos for numbers in found])
    order = np.argsort(videos, kind="stable")
    return Skipped(
        pairs=np.unique(_together([numbers.pairs for numbers in found])),
        videos=videos[order],
        keys=_together([numbers.keys for numbers in found])[order],
        finished=np.unique(finished),
        videos_in_parts=frozenset(map(unescape_name, in_parts)),
        incomplete_videos=frozenset(map(unescape_name, json.loads(metadata.get(INCOMPLETE, b"[]")))),
        has_spans=bool(json.loads(metadata.get(HAS_SPANS, b"false"))),
    )


def read_metadata(path: Path) -> dict[bytes, bytes]:
    """Of the finished file; an InputError where it is not one."""
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"{path} is not a readable parquet file ({error}); restore it, or remove it") from error
    metadata: dict[bytes, bytes] = schema.metadata or {}
    if not set(SCHEMA.names) <= set(schema.names) or not {INCOMPLETE, HAS_SPANS} <= metadata.keys():
        raise InputError(f"{path} is not what vidlabel wrote; restore it, or remove it")
    return metadata


def row_numbers(rows: pa.Table | pa.RecordBatch) -> RowNumbers:
    names = zip(rows["clip_id"].to_pylist(), rows["video_id"].to_pylist(), strict=True)
    things = [unescape_name(video_id if clip_id is None else clip_id) for clip_id, video_id in names]
    return RowNumbers(
        things=_numbers(things),
        videos=_numbers(map(unescape_name, rows["video_id"].to_pylist())),
        keys=_numbers(rows["decided_by"].to_pylist()),
        of_videos=pc.is_null(rows["clip_id"]).to_numpy(zero_copy_only=False),
        has_reason=pc.is_valid(rows["reason"]).to_numpy(zero_copy_only=False),
    )


def _together(numbers: list[Numbers]) -> Numbers:
    return np.concatenate([np.empty(0, np.uint64), *numbers])


def _number(name: str) -> np.uint64:
    return np.uint64(int(stable_id(name), 16))


def _numbers(names: Iterable[str]) -> Numbers:
    return np.fromiter((int(stable_id(name), 16) for name in names), np.uint64)


def _is_in(number: np.uint64, ordered: Numbers) -> bool:
    at = int(np.searchsorted(ordered, number))
    return at < len(ordered) and bool(ordered[at] == number)
