"""First pass over a file of labels: which clips there are, how bad they look, and the numbers that plots are drawn of.

A label costs about 50 bytes of memory, a clip its id.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vidlabel.data import stable_id
from vidlabel.tables.reading import LabelTable, asked_batches
from vidlabel.tables.texts import num_words, said, said_types
from vidlabel.tables.values import FLAGS_TYPE

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

VIDEO = ("video_path", "video", "path", "file_name", "video_id")  # the first that is there says which file
# how much a flag says against a label; one that is not here, 2
SEVERITY = {
    "empty": 5, "refusal": 4, "leak": 4, "noise": 4, "repetitive": 4, "wrong_language": 4, "ignores": 3, "echo": 3,
    "truncated": 3, "subtitle_copy": 3, "duplicate": 2, "damaged": 2, "short": 1, "prefix": 1, "subtitles_shortened": 1,
}  # fmt: skip
_UNKNOWN_SEVERITY = 2


@dataclass(frozen=True, slots=True, eq=False)
class Gathered:
    """One value a row, but for `keys`: one a clip, in the order of their first rows."""

    keys: tuple[str, ...]
    clips: Ints  # which of `keys`
    severities: Floats
    groundings: Floats  # NaN where there is none
    words: Ints
    seconds: Floats  # of the clip
    made_at: Floats  # seconds since 1970

    @property
    def num_rows(self) -> int:
        return len(self.clips)

    def labels_per_clip(self) -> Ints:
        return np.bincount(self.clips, minlength=len(self.keys)).astype(np.int64)

    def clip_seconds(self) -> Floats:
        """One value a clip."""
        first = np.unique(self.clips, return_index=True)[1]
        return self.seconds[first]

    def clip_severities(self) -> Floats:
        """Of the worst label of each clip."""
        worst = np.zeros(len(self.keys))
        np.maximum.at(worst, self.clips, self.severities)
        return worst

    def clip_groundings(self) -> Floats:
        """Of the label that the video supports least; infinity where none has any."""
        lowest = np.full(len(self.keys), np.inf)
        has = np.isfinite(self.groundings)
        np.minimum.at(lowest, self.clips[has], self.groundings[has])
        return lowest

    def drawn(self) -> Ints:
        """All clips, as if by lot, and always the same for the same ids."""
        return np.array(sorted(range(len(self.keys)), key=lambda at: stable_id("sample", self.keys[at])), np.int64)

    def worst_first(self) -> Ints:
        """The most and worst flags first, then what the video supports least; among equals as drawn."""
        drawn = self.drawn()
        order = np.lexsort((self.clip_groundings()[drawn], -self.clip_severities()[drawn]))
        return drawn[order]


def gather(table: LabelTable, text_column: str | None) -> Gathered:
    types = dict(said_types(table, text_column)) | key_types(table)
    types |= {"flags": FLAGS_TYPE, "grounding": pa.float64(), "created_at": pa.timestamp("us", tz="UTC")}
    numbers: dict[str, list[npt.NDArray[np.generic]]] = {}
    codes: dict[str, int] = {}
    num_rows = 0
    for batch in asked_batches(table, types):
        clips = [codes.setdefault(key, len(codes)) for key in clip_keys(batch, num_rows)]
        num_rows += len(batch)
        made_at = batch["created_at"].cast(pa.int64()).to_numpy(zero_copy_only=False) / 1e6
        values = {
            "clips": np.array(clips, np.int64),
            "severities": _severities(batch["flags"]),
            "groundings": _floats(batch["grounding"]),
            "words": num_words(said(batch, text_column).texts),
            "seconds": _floats(batch["end_seconds"]) - np.nan_to_num(_floats(batch["start_seconds"])),
            "made_at": made_at,
        }
        for name, taken in values.items():
            numbers.setdefault(name, []).append(taken)

    def column(name: str) -> Floats:
        return np.concatenate(numbers[name]).astype(np.float64) if name in numbers else np.zeros(0)

    return Gathered(
        keys=tuple(codes),
        clips=column("clips").astype(np.int64),
        severities=column("severities"),
        groundings=column("groundings"),
        words=column("words").astype(np.int64),
        seconds=column("seconds"),
        made_at=column("made_at"),
    )


def key_types(table: LabelTable) -> dict[str, pa.DataType]:
    """The columns that tell clips apart."""
    names = [name for name in ("clip_id", *VIDEO) if name in table.names]
    return dict.fromkeys(names, pa.string()) | dict.fromkeys(("start_seconds", "end_seconds"), pa.float64())


def clip_keys(batch: pa.RecordBatch, first_row: int) -> Iterator[str]:
    """The clip's id, else its video and span; a row that names neither is a clip of its own."""
    names = batch.schema.names
    nothing: list[None] = [None] * len(batch)
    ids = batch["clip_id"].to_pylist() if "clip_id" in names else nothing
    videos = videos_of(batch)
    spans = zip(batch["start_seconds"].to_pylist(), batch["end_seconds"].to_pylist(), strict=True)
    for number, (clip_id, video, (start, end)) in enumerate(zip(ids, videos, spans, strict=True), start=first_row):
        yield clip_id or (f"{video}\x1f{start}\x1f{end}" if video else f"row {number}")


def videos_of(batch: pa.RecordBatch) -> list[str | None]:
    name = next((name for name in VIDEO if name in batch.schema.names), None)
    videos: list[str | None] = [None] * len(batch) if name is None else batch[name].to_pylist()
    return videos


def _severities(flags: pa.ListArray) -> Floats:
    values, rows = flags.flatten(), pc.list_parent_indices(flags).to_numpy()
    weights = np.zeros(len(values))
    for flag in pc.unique(values).to_pylist():
        weights[pc.fill_null(pc.equal(values, flag), False).to_numpy(zero_copy_only=False)] = SEVERITY.get(
            flag, _UNKNOWN_SEVERITY
        )
    return np.bincount(rows, weights, minlength=len(flags)).astype(np.float64)


def _floats(column: pa.Array) -> Floats:
    values: Floats = column.to_numpy(zero_copy_only=False).astype(np.float64)
    return values
