"""Finds dissolves and fades in a stream of tiny pictures, which detectors of sudden change mostly miss.

In a dissolve every picture is a mixture of the one before it began and the one after it ended, and the share of the
new one only grows. A pan, a zoom or a person walking by is no such mixture (it would show both at once), a hard cut has
no pictures in between, and a lamp that is switched on keeps the shapes. That is all that is tested here.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vidlabel.transitions import Thumbs, Transition

Pictures = npt.NDArray[np.float32]  # (number, size), one tiny picture a row, or (number,)

# A mixture is looked for between pictures this far apart; each window finds what is somewhat shorter than itself.
WINDOW_SECONDS = (0.4, 0.8, 1.4, 2.2)
MIN_FRAMES = 6  # below this a window has too few pictures to tell a mixture from a jump

MIN_CHANGE = 16.0  # mean difference of the two ends in grey levels: the picture as a whole has changed
MAX_LIKENESS = 0.6  # correlation of the two ends: above it the shapes are the same and only the light has changed
MAX_STEP = 0.45  # the largest growth of the new share from one picture to the next: above it, a cut
MIN_STEADINESS = 0.6  # how much of the share's ups and downs is growth
MAX_RESIDUE = 0.27  # what the mixture leaves unexplained, relative to the change; about 0.9 for unrelated pictures
# A mixture of two unrelated pictures is paler than either. A camera that moves over a coarse texture passes the test
# above, as every picture lies halfway between its neighbours, but it keeps its contrast.
MAX_CONTRAST = 1.15  # of the pictures in between, relative to the mixture; a moving texture has 1.25 and more
MIN_MIXED = 3  # pictures that show both
MIN_LENGTH = 4  # frames; shorter ones are for the detectors of sudden change
FLAT = 4.0  # standard deviation in grey levels: below it a picture has no shapes to compare (black, white)


class DissolveFinder:
    """Call `look` after every picture that `thumbs` has taken; `found` lists the transitions at the end."""

    def __init__(self, thumbs: Thumbs, fps: float) -> None:
        self._thumbs = thumbs
        self._windows = [max(MIN_FRAMES, round(seconds * fps)) for seconds in WINDOW_SECONDS]
        self._best: list[tuple[Transition, float]] = []  # apart from each other, in order; grows with the cuts only

    @staticmethod
    def reach(fps: float) -> int:
        """How many pictures `thumbs` must remember."""
        return max(MIN_FRAMES, round(WINDOW_SECONDS[-1] * fps)) + 1

    def look(self) -> None:
        last = self._thumbs.count - 1
        for window in self._windows:
            # a window is moved in eighths of itself: closer would see the same transition again
            if last >= window and last % max(1, window // 8) == 0:
                self._look_at(last - window, last)

    def found(self) -> list[Transition]:
        return [transition for transition, _ in self._best]

    def _look_at(self, first: int, last: int) -> None:
        pictures = self._thumbs.between(first, last)
        if _is_one_scene(_shapes(pictures[[0, -1]])):
            return  # by far most windows
        shapes = _shapes(pictures)
        if _passes_blank(shapes):
            return
        change = shapes[-1] - shapes[0]
        power = float(change @ change)
        offsets = shapes - shapes[0]
        share = (offsets @ change) / power  # of the new picture: 0 at the first, 1 at the last
        steps = np.diff(share)
        if float(steps.max()) > MAX_STEP or 1 / float(np.abs(steps).sum()) < MIN_STEADINESS:
            return
        mixed = (share > 0.1) & (share < 0.9)
        extent = _extent(share, first)
        if mixed.sum() < MIN_MIXED or extent.end - extent.start < MIN_LENGTH:
            return
        mixture = shapes[0] + share[mixed, None] * change
        residue = float(np.sqrt(((shapes[mixed] - mixture) ** 2).sum(axis=1) / power).mean())
        contrast = float((shapes[mixed].std(axis=1) / mixture.std(axis=1)).mean())
        if residue <= MAX_RESIDUE and contrast <= MAX_CONTRAST:
            self._keep(extent, float(np.abs(change).mean()) * (1 - residue))

    def _keep(self, transition: Transition, score: float) -> None:
        """Of all windows that saw the same transition the one that saw most of it says where it is."""
        while self._best and transition.start < self._best[-1][0].end and self._best[-1][0].start < transition.end:
            rival, its_score = self._best.pop()
            if its_score > score:
                transition, score = rival, its_score
        self._best.append((transition, score))
        self._best.sort(key=lambda pair: pair[0].start)


def _shapes(pictures: Pictures) -> Pictures:
    """Without their mean brightness, which makes any two bright pictures alike."""
    return np.asarray(pictures - pictures.mean(axis=1, keepdims=True), np.float32)


def _is_one_scene(ends: Pictures) -> bool:
    first, last = ends
    if float(np.abs(last - first).mean()) < MIN_CHANGE:
        return True
    spread = float(first.std()), float(last.std())
    # a blank picture has no shapes; it is like nothing, so that a fade is a transition
    return min(spread) >= FLAT and float((first * last).mean()) > MAX_LIKENESS * spread[0] * spread[1]


def _passes_blank(shapes: Pictures) -> bool:
    """From picture to picture through black: two transitions, each of which a shorter window sees for itself."""
    spread = shapes.std(axis=1)
    return bool(min(spread[0], spread[-1]) >= FLAT > spread.min())


def _extent(share: Pictures, first: int) -> Transition:
    """Where the share leaves 0 and reaches 1, by the straight line through its quarters: motion blurs the ends."""
    quarter = int(np.argmax(share >= 0.25))
    three_quarters = len(share) - 1 - int(np.argmax(share[::-1] <= 0.75))
    half = max(three_quarters - quarter, 1) / 2
    return Transition(max(0, first + round(quarter - half)), first + round(three_quarters + half) + 1)
