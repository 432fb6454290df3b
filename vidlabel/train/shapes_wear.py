"""What cameras, codecs and scaling do to a picture, roughly and cheaply: the `shapes` model is trained on worn frames,
so that it does not depend on clean ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt


def wear(images: npt.NDArray[np.uint8], random: np.random.Generator) -> npt.NDArray[np.uint8]:
    """(T, S, S, 3) RGB of one clip to the same. Its frames are worn alike, but each has its own noise."""
    sharpen = float(random.uniform(-0.9, 0.5)) if random.random() < 0.6 else 0.0  # below 0: a blur
    thin_colour = random.random() < 0.4
    gain, lift = float(random.uniform(0.9, 1.08)), float(random.uniform(-10, 10))
    tint = np.add(random.uniform(-4, 4, 3), lift + 128 * (1 - gain)).astype(np.float32)
    grain = float(random.uniform(0.5, 6)) if random.random() < 0.5 else 0.0
    noise = _noise(random, images.shape) * grain if grain else None
    worn = np.empty_like(images)
    for i, image in enumerate(images):
        x: Any = image
        if sharpen:
            x = cv2.addWeighted(x, 1 + sharpen, cv2.GaussianBlur(x, (3, 3), 0.9), -sharpen, 0)
        if thin_colour:
            x = _thin_colour(x)
        x = x * np.float32(gain) + tint
        if noise is not None:
            x += noise[i]
        worn[i] = np.clip(x, 0, 255)
    return worn


def _thin_colour(image: Any) -> Any:
    """Colour at half the resolution, as in nearly every video file."""
    y, cr, cb = cv2.split(cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb))
    side = image.shape[0]
    thin = [
        cv2.resize(cv2.resize(part, (side // 2, side // 2), interpolation=cv2.INTER_AREA), (side, side))
        for part in (cr, cb)
    ]
    return cv2.cvtColor(cv2.merge([y, *thin]), cv2.COLOR_YCrCb2RGB)


def _noise(random: np.random.Generator, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """About normal with deviation 1, from one cheap draw of bytes."""
    parts = np.frombuffer(random.bytes(2 * int(np.prod(shape))), np.uint8).reshape(2, *shape)
    noise: npt.NDArray[np.float32] = (parts[0].astype(np.float32) + parts[1] - 255) / np.float32(104.5)
    return noise
