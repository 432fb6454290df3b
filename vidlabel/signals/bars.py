"""Black bars around the picture, and the box of what is inside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vidlabel.signals.seen import Pixels, Seen

if TYPE_CHECKING:
    import numpy.typing as npt

BAR = 26.0  # luma, of 255: what a bar may have at most
LIT = 16.0  # mean luma of every pixel's brightest moment: below, it is a dark picture
LEAST = 0.015  # of the side; less is an edge of the camera's, or of the encoder's
MOST_WRITING = 0.25  # of a bar's line may be brighter: subtitles are often put there


@dataclass(frozen=True, slots=True)
class Box:
    """What is inside the bars, in shares of width and height."""

    left: float = 0.0
    top: float = 0.0
    right: float = 1.0
    bottom: float = 1.0


def content_of(luma: Pixels) -> Box:  # (T, h, w)
    """Bars are where no frame shows anything; only those on both sides count."""
    brightest = luma.max(axis=0)  # (h, w)
    if float(brightest.mean()) < LIT:
        return Box()  # a black picture has no bars
    dark = brightest <= BAR
    high = len(dark)
    top, bottom = _both(dark.mean(axis=1) >= 1 - MOST_WRITING)
    inner = dark[round(top * high) : round((1 - bottom) * high)]
    left, right = _both(inner.mean(axis=0) >= 1 - MOST_WRITING)
    return Box(left, top, 1 - right, 1 - bottom)


def _both(is_bar: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """How much of the side is bar at its start and at its end; nothing unless both are."""
    lit = np.flatnonzero(~is_bar)
    if not len(lit):
        return 0.0, 0.0
    first, last = float(lit[0]) / len(is_bar), float(len(is_bar) - 1 - lit[-1]) / len(is_bar)
    return (first, last) if min(first, last) >= LEAST else (0.0, 0.0)


def letterboxed(seen: Seen) -> bool:
    return seen.content.top > 0


def pillarboxed(seen: Seen) -> bool:
    return seen.content.left > 0


def content_box(seen: Seen) -> str:
    box = seen.content
    return ",".join(f"{side:.3f}" for side in (box.left, box.top, box.right, box.bottom))
