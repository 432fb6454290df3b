"""The clips that the labels are of, and which of two is the better one.

A clip is known by 64 bits of its id, the same in every process, so that ten million take 80 MB and equals are settled
the same way each time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vidlabel.errors import InputError
from vidlabel.tables.reading import LabelTable, asked_batches
from vidlabel.tables.values import FLAGS_TYPE

Indexes = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]
Keys = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]

_TYPES = {
    "clip_id": pa.string(),
    "flags": FLAGS_TYPE,
    "grounding": pa.float64(),
    "mean_logprob": pa.float64(),
    "width": pa.float64(),
    "height": pa.float64(),
    "start_seconds": pa.float64(),
    "end_seconds": pa.float64(),
}


@dataclass(frozen=True, slots=True, eq=False)
class Clips:
    """All arrays are by clip, in order of the keys."""

    keys: Keys
    rank: Indexes  # 0: the one that stays, whichever others are like it
    seconds: Numbers  # NaN where the labels do not say
    num_labels: Indexes

    def __len__(self) -> int:
        return len(self.keys)

    def find(self, keys: Keys) -> Indexes:
        """The clips of these keys; -1 for one that has no labels."""
        if not len(self.keys):
            return np.full(len(keys), -1)
        at = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[at] == keys, at, -1)


def clip_keys(column: pa.Array, path: Path) -> Keys:
    if column.null_count:
        raise InputError(f"{path}: a row has no clip_id, and without it nobody knows which labels belong together")
    from pandas.util import hash_array  # here, because `--help` loads no heavy library

    keys: Keys = hash_array(np.asarray(column.to_pylist(), object), categorize=False)
    return keys


def read_clips(tables: Sequence[LabelTable], keep: Sequence[str]) -> Clips:
    """Two passes over a few columns: which clips there are, and how good their labels are."""
    for table in tables:
        table.require("clip_id", "dedup")
    found = [np.empty(0, np.uint64)]
    for table in tables:
        for batch in asked_batches(table, {"clip_id": pa.string()}):
            found.append(np.unique(clip_keys(batch["clip_id"], table.path)))
    keys = np.unique(np.concatenate(found))
    scores = _Scores(len(keys))
    for table in tables:
        for batch in asked_batches(table, _TYPES):
            scores.add(np.searchsorted(keys, clip_keys(batch["clip_id"], table.path)), batch)
    order = np.lexsort((keys, *(scores.badness(name) for name in reversed(keep))))
    rank = np.empty(len(keys), np.int64)
    rank[order] = np.arange(len(keys))
    return Clips(keys, rank, np.where(scores.seconds > 0, scores.seconds, np.nan), scores.labels.astype(np.int64))


class _Scores:
    """Sums and maxima over the labels of each clip."""

    def __init__(self, num_clips: int) -> None:
        self._flags, self.labels = np.zeros(num_clips), np.zeros(num_clips)
        self._sums = {name: np.zeros(num_clips) for name in ("grounding", "mean_logprob")}
        self._counts = {name: np.zeros(num_clips) for name in self._sums}
        self._pixels = np.zeros(num_clips)
        self.seconds = np.zeros(num_clips)

    def add(self, clips: Indexes, batch: pa.RecordBatch) -> None:
        np.add.at(self.labels, clips, 1.0)
        np.add.at(self._flags, clips, _numbers(pc.list_value_length(batch["flags"]), missing=0.0))
        for name, sums in self._sums.items():
            values = _numbers(batch[name], missing=np.nan)
            known = np.isfinite(values)
            np.add.at(sums, clips[known], values[known])
            np.add.at(self._counts[name], clips[known], 1.0)
        pixels = _numbers(pc.multiply(batch["width"], batch["height"]), missing=0.0)
        seconds = _numbers(pc.subtract(batch["end_seconds"], batch["start_seconds"]), missing=0.0)
        np.maximum.at(self._pixels, clips, np.nan_to_num(pixels))
        np.maximum.at(self.seconds, clips, np.nan_to_num(seconds))

    def badness(self, name: str) -> Numbers:
        """A number for each clip, lower for a better one."""
        if name == "flags":
            return self._flags / np.maximum(self.labels, 1.0)
        if name == "resolution":
            return -self._pixels
        if name == "length":
            return -self.seconds
        column = "mean_logprob" if name == "logprob" else name
        counts = self._counts[column]
        return np.where(counts > 0, -self._sums[column] / np.maximum(counts, 1.0), np.inf)


def _numbers(column: pa.Array, *, missing: float) -> Numbers:
    numbers: Numbers = pc.fill_null(pc.cast(column, pa.float64()), missing).to_numpy(zero_copy_only=False)
    return numbers
