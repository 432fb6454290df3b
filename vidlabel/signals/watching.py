"""Looks at a clip's frames as they are decoded and keeps what its signals need: no file is decoded for them again.

every frame        a glance: some 1,000 pixels' luma, for what a few sampled frames would miss (a flash, a cut)
a sampled frame    a thumbnail
some sampled ones  a pair: the same, grey, and the picture of a moment later; and a page, large enough to read
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from vidlabel.decoders import Glance, TimedFrame, stretched
from vidlabel.signals.measuring import GLANCED, PAGED, PAIRED, measure
from vidlabel.signals.seen import Pair, Pixels, Seen
from vidlabel.signals.table import Value
from vidlabel.signals.text import PAGE

if TYPE_CHECKING:
    from vidlabel.decoders.pictures import SmallForm

THUMBNAIL = 320  # pixels on the longer side
MOVING = 192  # likewise, of the pictures that motion is measured between
GLANCE = 48  # where the decoder has no cheaper way
NUM_THUMBNAILS = 12
NUM_PLACES = 5  # where motion is measured, twice in each
NUM_PAGES = 3
_GOLDEN = 0.618034
PAIR_SECONDS = 0.075  # two frames at 25 a second: short enough to follow fast motion, long enough to see slow motion


class Watch:
    """Over one clip."""

    def __init__(self, names: Iterable[str], num_frames: int, start_seconds: float, end_seconds: float) -> None:
        self._names = tuple(names)
        self.sees_all = any(name in GLANCED for name in self._names)  # wants every frame of the clip
        self._kept = frozenset(_spread(num_frames, NUM_THUMBNAILS))
        wants_pairs = any(name in PAIRED for name in self._names)
        self._due = deque(_moments(start_seconds, end_seconds) if wants_pairs else ())
        self._paged = _spread(num_frames, NUM_PAGES) if any(name in PAGED for name in self._names) else ()
        self._images: list[Pixels] = []
        self._num_taken = 0
        self._glances: list[Glance] = []
        self._glance_seconds: list[float] = []
        self._waiting: list[tuple[float, Pixels]] = []  # for the picture of a moment later
        self._pairs: list[Pair] = []
        self._pages: list[Pixels] = []
        self._next_look = self._due[0] if self._due else math.inf  # seconds; before, no pair begins or ends

    def see(self, frame: TimedFrame, *, taken: bool) -> None:
        """The next frame; `taken`: it is one of the sampled ones."""
        if self.sees_all and (taken or frame.glance is not None):
            glance = frame.glance() if frame.glance is not None else Glance(_small(frame, GLANCE, "gray"), is_full=True)
            self._glances.append(glance)
            self._glance_seconds.append(frame.seconds)
        if frame.seconds >= self._next_look:
            self._pair(frame)
        if not taken:
            return
        if self._num_taken in self._kept:
            self._images.append(_small(frame, THUMBNAIL, "rgb24"))
        if self._num_taken in self._paged:
            self._pages.append(_small(frame, PAGE, "rgb24"))
        self._num_taken += 1

    def signals(self) -> dict[str, Value]:
        seen = Seen(
            images=np.stack(_alike(self._images)),
            glances=self._stretched_glances(),
            glance_seconds=np.array(self._glance_seconds, np.float64),
            pairs=tuple(self._pairs),
            pages=tuple(self._pages),
        )
        return measure(self._names, seen)

    def _stretched_glances(self) -> Pixels:
        if not self._glances:
            return np.empty((0, 1, 1), np.uint8)
        glances = np.stack(_alike([glance.luma for glance in self._glances]))
        is_full = np.array([glance.is_full for glance in self._glances])
        return np.where(is_full[:, None, None], glances, stretched(glances))

    def _pair(self, frame: TimedFrame) -> None:
        """Finish the pairs that wait for this frame, and begin one if it is time."""
        picture = _small(frame, MOVING, "gray")
        while self._waiting and frame.seconds >= self._waiting[0][0] + PAIR_SECONDS:
            at, one = self._waiting.pop(0)
            if one.shape == picture.shape:
                self._pairs.append(Pair(one, picture, at, frame.seconds - at))
        if self._due and frame.seconds >= self._due[0]:
            self._waiting.append((frame.seconds, picture))
        while self._due and frame.seconds >= self._due[0]:
            self._due.popleft()
        self._next_look = min([*self._due, *(at + PAIR_SECONDS for at, _ in self._waiting)], default=math.inf)


def _moments(start_seconds: float, end_seconds: float) -> list[float]:
    """Two moments in each of some equal parts: what a steady hand does goes on from one to the other, a tremble does
    not. They lie elsewhere in each part, since what shakes evenly could look steady to evenly spaced moments."""
    part = (end_seconds - start_seconds) / NUM_PLACES
    moments = []
    for index in range(NUM_PLACES):
        at = start_seconds + (index + 0.6 * (index * _GOLDEN % 1)) * part
        moments += [at, at + min(part / 3, 0.09 + 0.02 * index)]
    return moments


def _spread(count: int, wanted: int) -> tuple[int, ...]:
    """Indices of so many of `count`, spread evenly."""
    wanted = min(count, wanted)
    return tuple((2 * index + 1) * count // (2 * wanted) for index in range(wanted))


def _small(frame: TimedFrame, longest: int, form: SmallForm) -> Pixels:
    if frame.small is not None:
        return np.ascontiguousarray(frame.small(longest, form))
    import cv2

    image = np.ascontiguousarray(frame.rgb())
    high, wide = image.shape[:2]
    scale = min(1.0, longest / max(high, wide))
    image = _resized(image, max(1, round(high * scale)), max(1, round(wide * scale)))
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8) if form == "gray" else image


def _alike(images: list[Pixels]) -> list[Pixels]:
    """All in the first one's size: a stream may change its own on the way."""
    high, wide = images[0].shape[:2]
    return [_resized(image, high, wide) for image in images]


def _resized(image: Pixels, high: int, wide: int) -> Pixels:
    import cv2

    if image.shape[:2] == (high, wide):
        return image
    return np.asarray(cv2.resize(image, (wide, high), interpolation=cv2.INTER_AREA), np.uint8)
