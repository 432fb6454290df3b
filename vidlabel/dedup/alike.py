"""When two clips are alike: their frames' hashes differ in few bits and they are about equally long, or the cosine of
their embeddings is high."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vidlabel.dedup.clips import Indexes, Mask, Numbers
from vidlabel.dedup.features import Features
from vidlabel.dedup.report import DedupRules

_SECONDS, _SHARE = 0.5, 0.05  # by which two copies of one clip may differ in length: the larger counts


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """All arrays are by pair."""

    first: Indexes
    second: Indexes
    cosines: Numbers  # of the embeddings; NaN where unknown
    bits: Numbers  # of 64 in which hashes differ, in the mean over frames; NaN where unknown
    by_hash: Mask
    are_alike: Mask

    def kept(self) -> Pairs:
        """The pairs that are alike."""
        return Pairs(*(getattr(self, name)[self.are_alike] for name in self.__slots__))


@dataclass(frozen=True, slots=True, eq=False)
class Alike:
    """Compares clips by all that is known of them."""

    known: Features
    seconds: Numbers
    rules: DedupRules

    def have_same_frames(self, first: Indexes, second: Indexes) -> Mask:
        """By their hashes."""
        hashes = self.known.hashes
        if hashes is None:
            return np.zeros(len(first), np.bool_)
        return self._are_same(first, second, hashes.bits(first, second))

    def compare(self, first: Indexes, second: Indexes) -> Pairs:
        unknown = np.full(len(first), np.nan)
        hashes, vectors = self.known.hashes, self.known.vectors
        bits = unknown if hashes is None else hashes.bits(first, second)
        cosines = unknown if vectors is None else vectors.cosines(first, second).astype(np.float64)
        by_hash = self._are_same(first, second, bits)
        return Pairs(first, second, cosines, bits, by_hash, by_hash | (cosines >= self.rules.min_similarity))

    def _are_same(self, first: Indexes, second: Indexes, bits: Numbers) -> Mask:
        longer = np.fmax(self.seconds[first], self.seconds[second])
        apart = np.abs(self.seconds[first] - self.seconds[second])
        same: Mask = (bits <= self.rules.max_bits) & ~(apart > np.maximum(_SECONDS, _SHARE * longer))
        return same  # where something is unknown, the comparison is False
