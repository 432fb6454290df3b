"""Pairs of vectors that are near each other, by faiss: an inverted file over the short vectors.

Each vector is in the cell of its nearest centre, and is looked for in the nearest few cells, from both sides of a pair.
A search is bounded in what it looks at and in what it gives: in a crowd of like clips each finds some of the others and
not all. Whoever asks asks again, of those that are left.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from vidlabel.dedup.clips import Indexes, Mask
from vidlabel.dedup.vectors import Half, Single
from vidlabel.errors import InputError

MOST = 16  # neighbours of one vector that are given
_PLAIN = 20_000  # so few are all compared with all
_PROBES = 8  # cells
_MOST_LOOKED_AT = 200_000  # vectors, for one
_TRAIN = 40  # vectors to learn a centre from
_ROWS = 16_384


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """What some vectors found."""

    first: Indexes  # of a pair, by place among those that were searched
    second: Indexes
    crowded: Indexes  # those that may have more neighbours than were given


def check_installed() -> None:
    if importlib.util.find_spec("faiss") is None:
        raise InputError("vidlabel dedup by embeddings needs faiss: pip install 'vidlabel[dedup]'")


def near(
    short: Half, rows: Indexes, radius: float, *, num_threads: int, only: Mask | None = None
) -> Iterator[Neighbours]:
    """Of these rows of `short`, pairs at a squared distance of at most `radius`. `only`: pairs with one of these."""
    import faiss

    faiss.omp_set_num_threads(num_threads)
    index, parameters = _index(faiss, short, rows)
    places = np.arange(len(rows)) if only is None else np.flatnonzero(only)
    for start in range(0, len(places), _ROWS):
        some = places[start : start + _ROWS]
        distances, found = index.search(_single(short, rows[some]), min(MOST + 1, len(rows)), params=parameters)
        is_near = (distances <= radius) & (found >= 0) & (found != some[:, None])
        at, column = np.nonzero(is_near)
        yield Neighbours(some[at], found[at, column].astype(np.int64), some[is_near.sum(axis=1) >= MOST])


def _index(faiss: Any, short: Half, rows: Indexes) -> tuple[Any, Any]:
    """Of these rows, and how to search it."""
    width = short.shape[1]
    if len(rows) <= _PLAIN:
        index = faiss.IndexFlatL2(width)
        index.add(_single(short, rows))
        return index, None
    num_cells = int(2 * len(rows) ** 0.5)
    index = faiss.IndexIVFScalarQuantizer(
        faiss.IndexFlatL2(width), width, num_cells, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_L2, False
    )
    index.cp.niter, index.cp.seed = 5, 0
    index.cp.min_points_per_centroid, index.cp.max_points_per_centroid = 1, _TRAIN
    sample = np.random.default_rng(0).choice(len(rows), min(len(rows), _TRAIN * num_cells), replace=False)
    index.train(_single(short, rows[np.sort(sample)]))
    for start in range(0, len(rows), _ROWS):
        index.add(_single(short, rows[start : start + _ROWS]))
    return index, faiss.SearchParametersIVF(nprobe=_PROBES, max_codes=_MOST_LOOKED_AT)


def _single(short: Half, rows: Indexes) -> Single:
    return np.ascontiguousarray(short[rows], np.float32)
