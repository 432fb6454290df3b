"""A perceptual hash of each frame: 64 bits that scaling and encoding again hardly change.

Of a frame made 32 x 32: the signs of the lowest frequencies of its luma (32 bits) and of its two colours (10 each), and
how light it is and of what tint in steps (6, 3 and 3). A frequency weaker than half a grey level counts as absent, so
that noise on a flat picture flips nothing.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from vidlabel.signals.seen import Pixels, Seen

MOST_FRAMES = 16  # of a clip, evenly spread
_SIDE = 32
_ABSENT = 0.5  # grey levels
_BITS = (32, 10, 10)  # of luma, blue and red: frequencies
_STEPS = (6, 3, 3)  # likewise: levels of the mean


def phash(seen: Seen) -> str:
    """16 hexadecimal digits a frame, one frame after the other."""
    return hash_images(seen.images)


def hash_images(images: Pixels) -> str:  # (T, H, W, 3) RGB
    import cv2

    some = images[np.unique(np.linspace(0, len(images) - 1, MOST_FRAMES).round().astype(np.int64))]
    small = np.concatenate([_square(np.ascontiguousarray(one)) for one in some])  # (T * S, S, 3)
    planes = cv2.cvtColor(small, cv2.COLOR_RGB2YCrCb).reshape(-1, _SIDE, _SIDE, 3).astype(np.float32)
    return np.packbits(_bits(planes), axis=1).tobytes().hex()


def _square(image: Pixels) -> Pixels:
    """(S, S, 3). Halved first as often as leaves enough: to halve is fast, and to scale by a fraction slow."""
    import cv2

    high, wide = image.shape[:2]
    while min(high, wide) >= 4 * _SIDE:
        high, wide = high // 2, wide // 2
        image = np.asarray(
            cv2.resize(image[: 2 * high, : 2 * wide], (wide, high), interpolation=cv2.INTER_AREA), np.uint8
        )
    return np.asarray(cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA), np.uint8)


def _bits(planes: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:  # (T, 64)
    cosines = _cosines()
    frequencies = cosines @ planes.transpose(0, 3, 1, 2) @ cosines.T  # (T, 3, 8, 8), in grey levels
    found = []
    for plane, (num_bits, num_steps) in enumerate(zip(_BITS, _STEPS, strict=True)):
        lowest = frequencies[:, plane][:, *_order(num_bits)]
        means = frequencies[:, plane, 0, 0, None]
        # light is spread over all levels, tints are near the middle
        steps = np.arange(1, num_steps + 1) * (256 / (num_steps + 1)) if plane == 0 else 128 + np.array([-16, 0.5, 16])
        found += [lowest > _ABSENT, means > steps]
    return np.concatenate(found, axis=1)


@lru_cache(maxsize=1)
def _cosines() -> npt.NDArray[np.float32]:
    """(8, 32): the mean, and cosines whose products with a picture are their amplitudes in it."""
    at = (np.arange(_SIDE) + 0.5) * np.pi / _SIDE
    rows = np.cos(np.arange(8)[:, None] * at) * 2 / _SIDE
    rows[0] /= 2
    return rows.astype(np.float32)


@lru_cache(maxsize=4)
def _order(count: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The lowest frequencies but the mean, by row and column."""
    places = sorted(((row, column) for row in range(8) for column in range(8)), key=lambda at: (sum(at), at))
    rows, columns = np.array(places[1 : count + 1]).T
    return rows, columns
