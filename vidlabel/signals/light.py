"""Signals of single pictures: light, colour and sharpness."""

from __future__ import annotations

import numpy as np

from vidlabel.signals.seen import Pixels, Seen

FLAT = 2.0  # grey levels of standard deviation: a picture below has nothing in it that could be sharp


def brightness(seen: Seen) -> float:
    return float(seen.luma.mean() / 255)


def contrast(seen: Seen) -> float:
    return float(np.median([_spread(picture) for picture in seen.luma]) / 127.5)


def saturation(seen: Seen) -> float:
    import cv2

    found = []
    for image in seen.images:
        red, green, blue = cv2.split(image)
        most, least = cv2.max(cv2.max(red, green), blue), cv2.min(cv2.min(red, green), blue)
        found.append(cv2.mean(cv2.subtract(most, least))[0] / 255)
    return float(np.mean(found))


def blur(seen: Seen) -> float | None:
    """The Laplacian weighs fine detail, the variance of luma all of it: their ratio goes neither with contrast nor with
    brightness. None where no frame has anything to see."""
    import cv2

    found = []
    for picture in seen.luma:
        spread = _spread(picture)
        if spread >= FLAT:
            detail = _spread(cv2.Laplacian(picture, cv2.CV_16S)) ** 2 / spread**2
            found.append(1 / (1 + detail))
    return float(np.median(found)) if found else None


def _spread(picture: Pixels) -> float:
    import cv2

    return float(cv2.meanStdDev(picture)[1][0, 0])
