"""Embeddings on disk, and shorter ones of them to search in.

A file holds each clip's vector of length 1 in half precision: 2.8 GB for a million of 1,408 numbers. A second one holds
it in 128 numbers, by a random projection that is the same in every run: squared distances keep their size to about
an eighth, and one in ten thousand looks more than half larger. Whoever finds candidates there looks at the first file
again.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from vidlabel.dedup.clips import Indexes

Half = npt.NDArray[np.float16]
Single = npt.NDArray[np.float32]

_SHORT = 128  # numbers of a projected vector; one of up to twice as many is searched as it is
_ROUNDED = 1.02  # a squared distance that half precision may show for 1
_PROJECTED = 1.5  # likewise the projection
_DIFFERENT = 0.9  # a cosine below which two vectors cannot be of one clip, however it was sampled
_ROWS = 4096  # compared at once


class Vectors:
    """One a clip, by the number of the clip. Written once, then read."""

    def __init__(self, folder: Path, width: int, num_clips: int) -> None:
        self.width = width
        self.row_of = np.full(num_clips, -1, np.int64)  # of a clip; -1 where it has none
        self._num_rows = 0
        self._paths = folder / "vectors.f16", folder / "short.f16"
        self._is_projected = width > 2 * _SHORT
        rng = np.random.default_rng(0)
        projection = rng.standard_normal((width, _SHORT)) / _SHORT**0.5 if self._is_projected else np.eye(width)
        self._projection: Single = projection.astype(np.float32)

    def add(self, clips: Indexes, vectors: Single) -> Indexes:
        """Vectors (N, D) of different clips. Gives the places of those that differ from what the clip has already;
        vectors that are not finite, or without a length, are left out."""
        lengths = np.linalg.norm(vectors, axis=1)
        good = np.isfinite(lengths) & (lengths > 0) & (clips >= 0)
        known = good & (self.row_of[clips] >= 0)
        new = good & ~known
        scaled = (vectors / np.where(good, lengths, 1.0)[:, None]).astype(np.float16)
        short = scaled[new].astype(np.float32) @ self._projection
        for path, rows in zip(self._paths, (scaled[new], short), strict=True):
            with path.open("ab") as file:
                file.write(np.ascontiguousarray(rows, np.float16).data)
        self.row_of[clips[new]] = np.arange(self._num_rows, self._num_rows + int(new.sum()))
        self._num_rows += int(new.sum())
        if not known.any():
            return np.empty(0, np.int64)
        stored = self._read(0)[self.row_of[clips[known]]].astype(np.float32)
        cosines = np.einsum("nd,nd->n", stored, scaled[known].astype(np.float32))
        places: Indexes = np.flatnonzero(known)[cosines < _DIFFERENT]
        return places

    def __len__(self) -> int:
        return self._num_rows

    def short(self) -> Half:
        """(N, 128), by row, read from disk as it is looked at."""
        return self._read(1)

    def radius(self, min_similarity: float) -> float:
        """The squared distance in `short` within which all pairs of that similarity are, and others too."""
        slack = _PROJECTED if self._is_projected else _ROUNDED
        return 2.0 * (1.0 - min_similarity) * slack + 1e-4

    def cosines(self, first: Indexes, second: Indexes) -> Single:
        """Of pairs of clips; NaN where one has no vector."""
        rows, others = self.row_of[first], self.row_of[second]
        found = np.full(len(rows), np.nan, np.float32)
        vectors = self._read(0) if self._num_rows else None
        known = np.flatnonzero((rows >= 0) & (others >= 0))
        for start in range(0, len(known) if vectors is not None else 0, _ROWS):
            some = known[start : start + _ROWS]
            assert vectors is not None
            pair = vectors[rows[some]].astype(np.float32), vectors[others[some]].astype(np.float32)
            lengths = np.linalg.norm(pair[0], axis=1) * np.linalg.norm(pair[1], axis=1)  # half precision is not exact
            found[some] = np.einsum("nd,nd->n", *pair) / np.maximum(lengths, 1e-12)
        return found

    def _read(self, number: int) -> Half:
        width = (self.width, self._projection.shape[1])[number]
        shape = (self._num_rows, width)
        vectors: Half = np.memmap(self._paths[number], np.float16, "r", shape=shape)
        return vectors
