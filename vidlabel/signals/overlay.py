"""What stays in its place while the picture under it changes: a logo, a watermark, a burnt-in title."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vidlabel.signals.seen import Seen

if TYPE_CHECKING:
    import numpy.typing as npt

LEAST_FRAMES = 4  # fewer cannot tell
SLOPE = 4.0  # grey levels a pixel, in every frame: an edge of what is laid over
STEADY = 0.8  # of an edge's slope is the same in all frames; of a moving edge it cancels out
SWING, CHANGES = 24, 0.6  # grey levels between a pixel's moments; of the picture must change by as much
MOST = 0.25  # of the picture: if more than that is steady, it is the picture that stands still
JOINED = 9  # pixels: what is nearer is one thing, as letters are
SMALLEST = 25  # pixels
EDGE = 3  # likewise, along the border and along bars


def overlay_share(seen: Seen) -> float | None:
    """By the mean over time of each pixel's slope. None where too little changes to tell."""
    import cv2

    num_frames, inside = len(seen.luma), _inside(seen)
    swings = seen.luma.max(axis=0) - seen.luma.min(axis=0)  # (h, w)
    if num_frames < LEAST_FRAMES or not inside.any() or float((swings[inside] >= SWING).mean()) < CHANGES:
        return None
    slope, least = np.zeros(seen.luma.shape[1:], np.float32), np.full(seen.luma.shape[1:], np.inf, np.float32)
    for picture in seen.luma:
        size = _slope(picture)
        cv2.accumulate(size, slope)
        cv2.min(size, least, least)
    # the slope of the sum is the sum of the slopes, each with its direction
    steady = _slope(seen.luma.sum(axis=0, dtype=np.uint16)) >= STEADY * slope
    share = _area(steady & (least >= SLOPE) & inside)
    return share if share <= MOST else None


def _inside(seen: Seen) -> npt.NDArray[np.bool_]:
    """Not the edges of black bars, nor those of the picture."""
    box, (high, wide) = seen.content, seen.luma.shape[1:]
    top, bottom = int(box.top * high) + EDGE, round(box.bottom * high) - EDGE
    left, right = int(box.left * wide) + EDGE, round(box.right * wide) - EDGE
    inside = np.zeros((high, wide), np.bool_)
    inside[top : max(top, bottom), left : max(left, right)] = True
    return inside


def _slope(picture: npt.NDArray[np.unsignedinteger]) -> npt.NDArray[np.float32]:
    """Grey levels a pixel."""
    import cv2

    across, down = (cv2.Sobel(picture, cv2.CV_32F, *way, scale=1 / 8) for way in ((1, 0), (0, 1)))
    return np.asarray(cv2.magnitude(across, down), np.float32)


def _area(edges: npt.NDArray[np.bool_]) -> float:
    """Of the boxes around edges that are near to each other."""
    import cv2

    joined = cv2.morphologyEx(edges.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((JOINED, JOINED), np.uint8))
    covered = np.zeros(edges.shape, np.uint8)
    # the default is three times as slow
    things = cv2.connectedComponentsWithStatsWithAlgorithm(joined, 8, cv2.CV_32S, cv2.CCL_BBDT)[2][1:]
    for left, top, wide, high, size in things:
        if size >= SMALLEST:
            covered[top : top + high, left : left + wide] = 1
    return float(covered.mean())
