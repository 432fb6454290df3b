"""Pairs of clips whose frames look the same by a perceptual hash: 64 bits a frame, which an encoder hardly changes.

Two clips of equally many hashed frames are compared where at least one frame has the very same first half of its hash,
which is of luma, at the same place; they are duplicates when few bits of all frames differ and the clips are about
equally long.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from vidlabel.dedup.clips import Indexes, Numbers

Hashes = npt.NDArray[np.uint64]  # (N, P)

MOST = 16  # frames of a clip
_WINDOW = 4  # neighbours in order of hash that are compared: like clips are next to each other
_ONES = np.array([bin(byte).count("1") for byte in range(256)], np.uint8)
_ROWS = 65_536


class ClipHashes:
    """By clip: the hashes of its frames, and how many there are (0: none known)."""

    def __init__(self, num_clips: int) -> None:
        self.counts = np.zeros(num_clips, np.int64)
        self._hashes: Hashes = np.zeros((num_clips, MOST), np.uint64)

    def add(self, clips: Indexes, texts: list[str | None], max_bits: float) -> Indexes:
        """Hashes as `phash` writes them: 16 hexadecimal digits a frame. Gives the places of those that differ from what
        the clip has already. A ValueError for what is no hash."""
        differ = []
        for place, (clip, text) in enumerate(zip(clips.tolist(), texts, strict=True)):
            if clip < 0 or not text:
                continue
            if len(text) % 16 or len(text) > 16 * MOST:
                raise ValueError(f"a phash is up to {MOST} times 16 digits, got {text[:40]!r}")
            frames = np.frombuffer(bytes.fromhex(text), ">u8").astype(np.uint64)
            if not self.counts[clip]:
                self._hashes[clip, : len(frames)] = frames
                self.counts[clip] = len(frames)
            elif self.counts[clip] == len(frames):
                bits = float(_ONES[(self._hashes[clip, : len(frames)] ^ frames).view(np.uint8)].sum()) / len(frames)
                if bits > 4 * max_bits:
                    differ.append(place)
        return np.array(differ, np.int64)

    def bits(self, first: Indexes, second: Indexes) -> Numbers:
        """Of pairs of clips: how many bits of 64 differ, in the mean over frames; NaN where that cannot be said."""
        counts = self.counts[first]
        found = np.full(len(first), np.nan)
        known = np.flatnonzero((counts > 0) & (counts == self.counts[second]))
        for start in range(0, len(known), _ROWS):
            some = known[start : start + _ROWS]
            differing = self._hashes[first[some]] ^ self._hashes[second[some]]  # zeros where there are no frames
            ones = _ONES[differing.view(np.uint8)].sum(axis=1, dtype=np.int64)
            found[some] = ones / counts[some]
        return found

    def candidates(self, clips: Indexes) -> Iterator[tuple[Indexes, Indexes]]:
        """Pairs of these clips that share half a hash."""
        counts = self.counts[clips]
        for count in np.unique(counts[counts > 0]).tolist():
            some = clips[counts == count]
            halves = (self._hashes[some, :count] >> np.uint64(32)).astype(np.uint32)
            for place in range(count):
                column = halves[:, place]
                order = np.lexsort((halves[:, (place + 1) % count], column))  # a crowd at one hash: by the next frame
                ordered = column[order]
                for step in range(1, min(_WINDOW, len(some) - 1) + 1):
                    same = np.flatnonzero(ordered[step:] == ordered[:-step])
                    yield some[order[same]], some[order[same + step]]
