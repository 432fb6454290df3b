"""How things move between two pictures: a dense optical flow at thumbnail size, and how much of it is the mean."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from vidlabel.signals.seen import Pair, Seen

if TYPE_CHECKING:
    import numpy.typing as npt

    Reals = npt.NDArray[np.float64]
    Whole = npt.NDArray[np.intp]

STEP = 6  # pixels between the places where flow is read
TEXTURE = 3  # grey levels from pixel to pixel, on average: less cannot be followed for sure
EMPTY = 25  # pixels: a square of that size without detail or change: nothing is seen to move
PLAIN = 0.45  # where less of the picture has texture, things move before a plain ground, which stands still
WRONG = 20.0  # grey levels between a picture and the other one moved by the flow: they do not show the same scene


@dataclass(frozen=True, slots=True, eq=False)
class Flow:
    """Between two pictures. Lengths are shares of their diagonal, so that size does not matter."""

    places: Reals  # (P, 2): x and y from the middle, where there is something that can be followed
    speeds: Reals  # (P, 2): a second
    mean_speed: float  # of all of the picture
    at_seconds: float


def flow_of(pair: Pair) -> Flow | None:
    """None where the second picture is not the first one moved."""
    import cv2

    high, wide = pair.first.shape
    if min(high, wide) < 32:  # too small for the method
        return None
    method = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    flow = method.calc(pair.first, pair.second, np.zeros((high, wide, 2), np.float32))
    ys, xs = _grid(high, wide)
    moved = flow[ys, xs]  # (h', w', 2)
    to_x = np.clip(np.rint(xs + moved[..., 0]), 0, wide - 1).astype(np.intp)
    to_y = np.clip(np.rint(ys + moved[..., 1]), 0, high - 1).astype(np.intp)
    wrong = np.abs(pair.first[ys, xs].astype(np.int16) - pair.second[to_y, to_x])
    if float(wrong.mean()) > WRONG:
        return None
    detail = cv2.absdiff(pair.first, cv2.blur(pair.first, (STEP + 1, STEP + 1)))
    shows = cv2.blur(cv2.max(detail, cv2.absdiff(pair.first, pair.second)), (EMPTY, EMPTY))
    moved[(shows == 0)[ys, xs]] = 0  # flow there is what the method made up
    diagonal = math.hypot(high, wide)
    mean_speed = float(np.hypot(moved[..., 0], moved[..., 1]).mean()) / (diagonal * pair.seconds)
    textured = (cv2.blur(detail, (STEP + 1, STEP + 1)) >= TEXTURE)[ys, xs]
    if _spread(textured) < PLAIN:
        moved[~textured] = 0
        textured = np.ones_like(textured)
    places = np.stack([xs - wide / 2, ys - high / 2], axis=-1)[textured] / diagonal
    speeds = moved[textured].astype(np.float64) / (diagonal * pair.seconds)
    return Flow(places, speeds, mean_speed, pair.at_seconds)


@lru_cache(maxsize=4)  # the pictures of a run have few sizes
def _grid(high: int, wide: int) -> tuple[Whole, Whole]:
    ys, xs = np.mgrid[STEP // 2 : high : STEP, STEP // 2 : wide : STEP]
    return ys, xs


def _spread(textured: npt.NDArray[np.bool_], parts: int = 6) -> float:
    import cv2

    shares = cv2.resize(textured.astype(np.float32), (parts, parts), interpolation=cv2.INTER_AREA)
    return float((shares > 0.05).mean())


def motion(seen: Seen) -> float | None:
    return float(np.mean([flow.mean_speed for flow in seen.flows])) if seen.flows else None
