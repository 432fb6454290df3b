"""Which clip stands for which: a clip goes only for one that stays and that it is like itself.

That bounds a group where connected components would not: in a chain A ~ B ~ C whose ends differ, B stands for both if
it is the best, and else the two ends stay. No group is wider than twice what makes two clips alike.
"""

from __future__ import annotations

import numpy as np

from vidlabel.dedup.clips import Indexes


class Leaders:
    """Of each clip the one that stands for it: itself while it stays."""

    def __init__(self, rank: Indexes) -> None:
        self._rank = rank
        self.leader = np.arange(len(rank))

    def staying(self) -> Indexes:
        return np.flatnonzero(self.leader == np.arange(len(self.leader)))

    def settle(self, first: Indexes, second: Indexes) -> tuple[Indexes, Indexes]:
        """Takes pairs of staying clips that are alike; of each pair the better one stays, unless it goes itself for a
        still better one. Gives the clips whose leader has gone, and the ones that their leaders went for: whether they
        are alike too is for the caller to find out."""
        better = np.where(self._rank[first] < self._rank[second], first, second)
        worse = np.where(better == first, second, first)
        order = np.lexsort((self._rank[better], self._rank[worse]))
        gone: set[int] = set()
        for good, bad in zip(better[order].tolist(), worse[order].tolist(), strict=True):
            if bad not in gone and good not in gone:
                gone.add(bad)
                self.leader[bad] = good
        moved = np.flatnonzero(self.leader[self.leader] != self.leader)
        return moved, self.leader[self.leader[moved]]

    def lead(self, clips: Indexes, leaders: Indexes) -> None:
        self.leader[clips] = leaders
