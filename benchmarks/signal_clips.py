"""Clips whose signals are known because they were made so: cameras over a painted world, flashes, bars, text, logos.

A film is a list of pictures, made by `film` from what the camera does and then changed by the functions below it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]  # (H, W, 3) RGB
Place = tuple[float, float, float, float]  # right and down in diagonals of the picture, size, turn in radians
Path = Callable[[float], Place]  # where the camera is at a second

FPS = 25
WIDTH, HEIGHT = 640, 360


def world(seed: int, *, size: int = 2400) -> Image:
    """A large picture with detail of all sizes, as photographs have: clouds of noise, and patches with sharp edges."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((size, size, 3), np.float32)
    for cell in (4, 8, 16, 32, 64, 128, 256):
        noise = rng.normal(0, 1, (size // cell + 1, size // cell + 1, 3)).astype(np.float32)
        noise = 0.6 * noise.mean(axis=2, keepdims=True) + 0.4 * noise  # half grey, as the world is
        picture += cv2.resize(noise, (size, size), interpolation=cv2.INTER_CUBIC) * cell**0.5
    picture = 120 + picture * (38 / picture.std())
    for _ in range(500):
        centre, radius = rng.integers(0, size, 2), int(rng.integers(6, 60))
        colour = [float(value) for value in rng.uniform(20, 235, 3)]
        cv2.circle(picture, (int(centre[0]), int(centre[1])), radius, colour, -1)
    return np.clip(picture, 0, 255).astype(np.uint8)


def film(background: Image, path: Path, *, seconds: float, width: int = WIDTH, height: int = HEIGHT) -> list[Image]:
    """What a camera on its path sees of the background."""
    middle, diagonal = background.shape[0] / 2, math.hypot(width, height)
    pictures = []
    for index in range(round(seconds * FPS)):
        right, down, size, turn = path(index / FPS)
        cosine, sine = math.cos(turn) / size, math.sin(turn) / size
        x, y = middle + right * diagonal, middle + down * diagonal
        matrix = np.array(
            [
                [cosine, -sine, x - cosine * width / 2 + sine * height / 2],
                [sine, cosine, y - sine * width / 2 - cosine * height / 2],
            ]
        )
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        seen = cv2.warpAffine(background, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT)
        pictures.append(np.asarray(seen, np.uint8))
    return pictures


def still() -> Path:
    return lambda at: (0.0, 0.0, 1.0, 0.0)


def panning(right: float, down: float) -> Path:
    """By so many diagonals a second, through the middle of the world."""
    return lambda at: (right * (at - 1), down * (at - 1), 1.0, 0.0)


def zooming(rate: float) -> Path:
    """Things grow by e^rate a second."""
    return lambda at: (0.0, 0.0, math.exp(rate * (at - 1)), 0.0)


def rolling(rate: float) -> Path:
    return lambda at: (0.0, 0.0, 1.0, rate * (at - 1))


def shaking(amplitude: float, seed: int) -> Path:
    """A hand's tremble: a few waves of 2 to 6 a second."""
    rng = np.random.default_rng(seed)
    waves = rng.uniform((2, 0, -1, -1), (6, 2 * math.pi, 1, 1), (4, 4))

    def place(at: float) -> Place:
        sway = sum(math.sin(2 * math.pi * rate * at + phase) * np.array([x, y]) for rate, phase, x, y in waves)
        return (*(amplitude * sway / 2), 1.0, 0.0)

    return place


def with_shapes(pictures: Sequence[Image], speed: float, seed: int, *, radius: int = 40, count: int = 3) -> list[Image]:
    """Discs that cross the picture at so many diagonals a second and turn back at its edges."""
    rng = np.random.default_rng(seed)
    starts, angles = rng.uniform(0, 2, (count, 2)), rng.uniform(0, 2 * math.pi, count)
    colours = rng.uniform(20, 235, (count, 3))
    high, wide = pictures[0].shape[:2]
    drawn = []
    for index, picture in enumerate(pictures):
        image = picture.copy()
        for start, angle, colour in zip(starts, angles, colours, strict=True):
            way = speed * math.hypot(wide, high) * index / FPS
            x = _bounced(start[0] * wide + way * math.cos(angle), wide)
            y = _bounced(start[1] * high + way * math.sin(angle), high)
            cv2.circle(
                image, (round(x * 16), round(y * 16)), radius * 16, tuple(map(float, colour)), -1, cv2.LINE_AA, 4
            )
        drawn.append(image)
    return drawn


def _bounced(at: float, length: int) -> float:
    at %= 2 * length
    return at if at < length else 2 * length - at


def blurred(pictures: Sequence[Image], sigma: float) -> list[Image]:
    return [
        np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.uint8) if sigma else picture for picture in pictures
    ]


def scaled(pictures: Sequence[Image], *, gain: float = 1.0, lift: float = 0.0) -> list[Image]:
    """Contrast about middle grey, and brightness."""
    return [np.clip(128 + (picture - 128.0) * gain + lift, 0, 255).astype(np.uint8) for picture in pictures]


def coloured(pictures: Sequence[Image], share: float) -> list[Image]:
    """So much of the colour is left."""
    return [
        np.clip(grey + (picture - grey) * share, 0, 255).astype(np.uint8)
        for picture in pictures
        for grey in [picture.mean(axis=2, keepdims=True)]
    ]


def with_bars(pictures: Sequence[Image], *, rows: float = 0.0, columns: float = 0.0) -> list[Image]:
    """Black bars, each of so much of the side, over the picture."""
    drawn = []
    for picture in pictures:
        image = picture.copy()
        high, wide = round(rows * picture.shape[0]), round(columns * picture.shape[1])
        if high:
            image[:high] = image[-high:] = 0
        if wide:
            image[:, :wide] = image[:, -wide:] = 0
        drawn.append(image)
    return drawn


def replaced(pictures: Sequence[Image], at: Sequence[int], value: int) -> list[Image]:
    """Frames of one grey in the place of those at some indices."""
    return [np.full_like(one, value) if index in set(at) else one for index, one in enumerate(pictures)]


def with_logo(pictures: Sequence[Image], share: float, *, opacity: float = 0.9) -> list[Image]:
    """A checkered box of so much of the picture, in the lower right corner."""
    high, wide = pictures[0].shape[:2]
    side_y, side_x = round(high * share**0.5), round(wide * share**0.5)
    top, left = high - side_y - high // 12, wide - side_x - wide // 12
    cell = 12
    ys, xs = np.mgrid[:side_y, :side_x]
    logo = np.where((ys // cell + xs // cell) % 2, 255.0, 30.0)[..., None]
    drawn = []
    for picture in pictures:
        image = picture.astype(np.float32)
        box = image[top : top + side_y, left : left + side_x]
        box += (logo - box) * opacity
        drawn.append(np.clip(image, 0, 255).astype(np.uint8))
    return drawn


def with_text(pictures: Sequence[Image], lines: int, *, scale: float = 1.0) -> tuple[list[Image], float]:
    """Lines of burnt-in words, and the share of the picture that their boxes cover."""
    words = [
        "SUBSCRIBE TO OUR CHANNEL",
        "the best of holiday offers",
        "Chapter two: a long way home",
        "call now 555 0199",
    ]
    drawn, covered = [], 0.0
    for picture in pictures:
        image, covered = picture.copy(), 0.0
        for line in range(lines):
            text, place = words[line % len(words)], (30, 50 + round(48 * scale) * line)
            (wide, high), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 2)
            cv2.putText(image, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, (0, 0, 0), 6, cv2.LINE_AA)
            cv2.putText(image, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), 2, cv2.LINE_AA)
            covered += min(wide, image.shape[1] - 30) * (high + below) / image[..., 0].size
        drawn.append(image)
    return drawn, covered
