"""Signals of single pictures: light, colour and sharpness."""

from __future__ import annotations

import numpy as np

from vidlabel.signals.seen import Pixels, Seen

FLAT = 2.0  # grey levels of standard deviation: a picture below has nothing in it that could be sharp
COARSE = 8
MOST_BLURRED = 6  # pictures that blur looks at


def brightness(seen: Seen) -> float:
    import cv2

    return float(cv2.mean(seen.luma.reshape(-1, seen.luma.shape[2]))[0] / 255)


def contrast(seen: Seen) -> float:
    return float(np.median([_spread(picture) for picture in seen.luma]) / 127.5)


def saturation(seen: Seen) -> float:
    import cv2

    red, green, blue = cv2.split(seen.tall)
    most, least = cv2.max(cv2.max(red, green), blue), cv2.min(cv2.min(red, green), blue)
    return float(cv2.mean(cv2.subtract(most, least))[0] / 255)


def blur(seen: Seen) -> float | None:
    """How steep edges are, against how steep they are in a picture an eighth as large: the number and the strength of
    edges cancel out. The variance of the Laplacian over that of luma, which is more usual, follows what is shown and
    the coder's noise more. None where no frame has anything to see."""
    import cv2

    found = []
    for picture in seen.luma[:: -(-len(seen.luma) // MOST_BLURRED)]:
        if _spread(picture) >= FLAT:
            high, wide = (max(3, side // COARSE) for side in picture.shape)
            even = picture[: high * COARSE, : wide * COARSE]  # by a whole number it is five times as fast
            coarse = np.asarray(cv2.resize(even, (wide, high), interpolation=cv2.INTER_AREA), np.uint8)
            found.append(1 / (1 + 4 * _slope(picture) / max(_slope(coarse), 1e-6)))
    return float(np.median(found)) if found else None


def _slope(picture: Pixels) -> float:
    """Mean square of the differences between neighbours, across and down."""
    import cv2

    ways = ((picture[:, 2:], picture[:, :-2]), (picture[2:], picture[:-2]))
    return sum(cv2.norm(one, other, cv2.NORM_L2SQR) for one, other in ways if one.size) / picture.size


def _spread(picture: Pixels) -> float:
    import cv2

    return float(cv2.meanStdDev(picture)[1][0, 0])
