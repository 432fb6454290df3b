"""Small pictures with their shape kept, which signals are measured from; the model's squares have lost theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

LONGEST_SIDE = 320  # pixels


def thumbnail(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """(H, W, 3) at most `LONGEST_SIDE` long, every pixel the mean of those it stands for. Small pictures stay."""
    high, wide = image.shape[:2]
    scale = min(1.0, LONGEST_SIDE / max(high, wide))
    return _resized(image, max(1, round(high * scale)), max(1, round(wide * scale)))


def alike(images: list[npt.NDArray[np.uint8]]) -> list[npt.NDArray[np.uint8]]:
    """All in the first one's size: a stream may change its own on the way."""
    high, wide = images[0].shape[:2]
    return [_resized(image, high, wide) for image in images]


def _resized(image: npt.NDArray[np.uint8], high: int, wide: int) -> npt.NDArray[np.uint8]:
    import cv2

    if image.shape[:2] == (high, wide):
        return image
    small = cv2.resize(np.ascontiguousarray(image), (wide, high), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)
