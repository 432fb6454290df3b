"""Signals of single pictures: light, colour and sharpness."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Images = npt.NDArray[np.uint8]  # (T, H, W, 3) RGB
    Seconds = npt.NDArray[np.float64]  # (T,)

FLAT = 2.0  # grey levels of standard deviation: a picture below has nothing in it that could be sharp


def luma(images: Images) -> npt.NDArray[np.uint8]:
    """(T, H, W)"""
    import cv2

    return np.stack([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images])


def brightness(images: Images, pts_seconds: Seconds) -> float:
    return float(luma(images).mean() / 255)


def contrast(images: Images, pts_seconds: Seconds) -> float:
    return float(np.median(luma(images).std(axis=(1, 2))) / 127.5)


def saturation(images: Images, pts_seconds: Seconds) -> float:
    return float((images.max(axis=3).astype(np.int16) - images.min(axis=3)).mean() / 255)


def blur(images: Images, pts_seconds: Seconds) -> float | None:
    """The Laplacian weighs fine detail, the variance of luma all of it: their ratio goes neither with contrast nor with
    brightness. None where no frame has anything to see."""
    import cv2

    found = []
    for picture in luma(images):
        spread = float(picture.std())
        if spread >= FLAT:
            detail = float(cv2.Laplacian(picture, cv2.CV_32F).var()) / spread**2
            found.append(1 / (1 + detail))
    return float(np.median(found)) if found else None
