"""How things move between two pictures: a dense optical flow at thumbnail size, and how much of it is the mean."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from vidlabel.signals.seen import Pair, Seen

if TYPE_CHECKING:
    import numpy.typing as npt
    from cv2 import DISOpticalFlow

    Vectors = npt.NDArray[np.complex128]
    Whole = npt.NDArray[np.intp]

REFINED = 2  # rounds in which flow is made smooth; the preset's 5 take longer and come no nearer to the truth
STEP = 6  # pixels between the places where flow is read
_READ = (slice(STEP // 2, None, STEP), slice(STEP // 2, None, STEP))
TEXTURE = 3  # grey levels from pixel to pixel, on average: less cannot be followed for sure
EMPTY = 25  # pixels: a square of that size without detail or change: nothing is seen to move
PLAIN = 0.45  # where less of the picture has texture, things move before a plain ground, which stands still
WRONG = 20.0  # grey levels between a picture and the other one moved by the flow: they do not show the same scene


@dataclass(frozen=True, slots=True, eq=False)
class Flow:
    """Between two pictures. Lengths are shares of their diagonal, so that size does not matter; x + iy is a vector."""

    places: Vectors  # (P,): from the middle, where there is something that can be followed
    speeds: Vectors  # (P,): a second
    mean_speed: float  # of all of the picture
    at_seconds: float


def flows_of(pairs: Iterable[Pair]) -> tuple[Flow, ...]:
    """Of those that show one scene."""
    import cv2

    method = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    method.setVariationalRefinementIterations(REFINED)
    return tuple(flow for pair in pairs if (flow := _flow_of(pair, method)) is not None)


def _flow_of(pair: Pair, method: DISOpticalFlow) -> Flow | None:
    """None where the second picture is not the first one moved."""
    import cv2

    high, wide = pair.first.shape
    if min(high, wide) < 32:  # too small for the method
        return None
    flow = method.calc(pair.first, pair.second, np.zeros((high, wide, 2), np.float32))
    ys, xs, places = _grid(high, wide)
    moved = np.ascontiguousarray(flow[_READ]).view(np.complex64)[..., 0]  # (h', w')
    to_x = np.clip(np.rint(xs + moved.real), 0, wide - 1).astype(np.intp)
    to_y = np.clip(np.rint(ys + moved.imag), 0, high - 1).astype(np.intp)
    wrong = np.abs(pair.first[_READ].astype(np.int16) - pair.second[to_y, to_x])
    if float(wrong.mean()) > WRONG:
        return None
    detail = cv2.absdiff(pair.first, cv2.blur(pair.first, (STEP + 1, STEP + 1)))
    shows = cv2.blur(cv2.max(detail, cv2.absdiff(pair.first, pair.second)), (EMPTY, EMPTY))
    moved[shows[_READ] == 0] = 0  # flow there is what the method made up
    scale = 1 / (math.hypot(high, wide) * pair.seconds)
    mean_speed = float(np.abs(moved).mean()) * scale
    textured = cv2.blur(detail, (STEP + 1, STEP + 1))[_READ] >= TEXTURE
    if _spread(textured) < PLAIN:
        moved[~textured] = 0
        textured = np.ones_like(textured)
    return Flow(places[textured], moved[textured].astype(np.complex128) * scale, mean_speed, pair.at_seconds)


@lru_cache(maxsize=4)  # the pictures of a run have few sizes
def _grid(high: int, wide: int) -> tuple[Whole, Whole, Vectors]:
    """Where flow is read: rows, columns, and places from the middle in diagonals."""
    ys, xs = np.ogrid[:high, :wide]
    ys, xs = ys[_READ[0]], xs[:, _READ[1]]
    return ys, xs, np.asarray(xs - wide / 2 + 1j * (ys - high / 2), np.complex128) / math.hypot(high, wide)


def _spread(textured: npt.NDArray[np.bool_], parts: int = 6) -> float:
    import cv2

    shares = cv2.resize(textured.astype(np.float32), (parts, parts), interpolation=cv2.INTER_AREA)
    return float((shares > 0.05).mean())


def motion(seen: Seen) -> float | None:
    return float(np.mean([flow.mean_speed for flow in seen.flows])) if seen.flows else None
