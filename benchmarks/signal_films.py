"""The films that `benchmarks.signals` measures, each with the truth about it: ladders to be put in order, and clips of
kinds to be told apart. All are generators, so that few films are held at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from benchmarks import signal_clips as made
from benchmarks.signal_clips import Image
from vidlabel.signals.table import Value

WIDTH, HEIGHT, SECONDS = 480, 270, 1.6
Film = list[Image]
Made = Iterator[tuple[Film, Value]]  # a clip and the truth of it


def moving(world: Image, path: made.Path | None = None, seconds: float = SECONDS) -> Film:
    return made.film(world, path or made.panning(0.08, 0.02), seconds=seconds, width=WIDTH, height=HEIGHT)


def pans(world: Image, seed: int) -> Made:
    for speed in (0.0, 0.01, 0.03, 0.06, 0.12, 0.25, 0.5):
        angle = seed + 10 * speed
        yield moving(world, made.panning(speed * np.cos(angle), speed * np.sin(angle))), speed


def shapes(world: Image, seed: int) -> Made:
    """Their truth is an order within one world, so each world's clips are compared by themselves."""
    for speed in (0.0, 0.05, 0.1, 0.2, 0.4):
        yield made.with_shapes(moving(world, made.still()), speed, seed, radius=30, count=5), speed


def lights(change: Callable[[Film, float], Film], steps: Sequence[float]) -> Callable[[Image, int], Made]:
    def ladder(world: Image, seed: int) -> Made:
        film = moving(world, seconds=0.6)
        yield from ((change(film, step), step) for step in steps)

    return ladder


def frozen(world: Image, seed: int) -> Made:
    film = moving(world, seconds=3)
    for still in (0, 19, 38, 56, 75):
        yield [film[0]] * still + film[: 75 - still], still / 75


def emptied(value: int) -> Callable[[Image, int], Made]:
    def ladder(world: Image, seed: int) -> Made:
        film = moving(world)
        for count in (0, 1, 3, 8, 20):
            yield made.replaced(film, range(5, 5 + count), value), count / len(film)

    return ladder


def logos(world: Image, seed: int) -> Made:
    film = moving(world, made.panning(0.2, 0.05))
    for share in (0.0, 0.005, 0.015, 0.04, 0.1):
        yield made.with_logo(film, share), share


def texts(world: Image, seed: int) -> Made:
    film = moving(world, seconds=0.4)
    for lines, scale in ((0, 1.0), (1, 0.4), (1, 0.8), (3, 0.7), (5, 0.9)):
        yield made.with_text(film, lines, scale=scale)


LADDERS: Mapping[str, tuple[str, Callable[[Image, int], Made]]] = {
    "motion, camera": ("motion", pans),
    "motion, shapes": ("motion", shapes),
    "static_share": ("static_share", frozen),
    "black_share": ("black_share", emptied(0)),
    "white_share": ("white_share", emptied(255)),
    "brightness": (
        "brightness", lights(lambda film, step: made.scaled(film, gain=0.3, lift=step), (-90, -60, -30, 0, 30, 60, 90))
    ),
    "contrast": ("contrast", lights(lambda film, step: made.scaled(film, gain=step), (0.1, 0.2, 0.4, 0.6, 0.8, 1.0))),
    "saturation": ("saturation", lights(made.coloured, (0.0, 0.2, 0.4, 0.6, 0.8, 1.0))),
    "blur": ("blur", lights(made.blurred, (0.0, 0.8, 1.5, 2.5, 4.0, 6.0))),
    "overlay_share": ("overlay_share", logos),
    "text_coverage": ("text_coverage", texts),
}  # fmt: skip


def cameras(world: Image, seed: int) -> Made:
    for speed in (0.03, 0.1, 0.3):
        for name, path in (
            ("pan_right", made.panning(speed, speed / 5)), ("pan_left", made.panning(-speed, 0)),
            ("tilt_down", made.panning(-speed / 5, speed)), ("tilt_up", made.panning(0, -speed)),
            ("zoom_in", made.zooming(speed * 4)), ("zoom_out", made.zooming(-speed * 4)),
            ("shake", made.shaking(speed / 15, seed)), ("static", made.still()),
        ):  # fmt: skip
            yield made.with_shapes(moving(world, path), 0.15, seed, radius=25), name


def flashed(world: Image, seed: int) -> Made:
    rng = np.random.default_rng(seed)
    for count in (1, 2, 3):
        for grey in (0, 255):
            at = int(rng.integers(2, 36))
            yield made.replaced(moving(world), range(at, at + count), grey), True
        yield made.with_shapes(moving(world, made.panning(0.2 * count, 0)), 0.5, seed), False
        yield made.scaled(moving(world, made.zooming(0.3 * count)), gain=0.8), False


def barred(rows: float, columns: float) -> Callable[[Image, int], Made]:
    def clips(world: Image, seed: int) -> Made:
        for share in (0.03, 0.1, 0.2):
            film = moving(world, seconds=0.4)
            yield made.with_bars(film, rows=share * rows, columns=share * columns), True
            yield made.with_bars(film, rows=share * columns, columns=share * rows), False
        yield made.scaled(film, gain=0.08, lift=-100), False  # night
        yield film, False

    return clips


def cut(world: Image, seed: int) -> Made:
    rng = np.random.default_rng(seed)
    other = moving(made.world(100 + seed, size=1000), made.still())
    for speed in (0.0, 0.1, 0.3, 0.6):
        film, at = moving(world, made.panning(0, speed)), int(rng.integers(2, 38))
        yield [*film[:at], *other[at:]], True
        yield made.replaced(film, [at, at + 1], 255 if speed else 0), False
        yield made.with_shapes(film, 0.6, seed, radius=60), False


CATEGORIES: Mapping[str, tuple[str, Callable[[Image, int], Made]]] = {
    "camera_motion": ("camera_motion", cameras),
    "flash": ("flash", flashed),
    "letterboxed": ("letterboxed", barred(1, 0)),
    "pillarboxed": ("pillarboxed", barred(0, 1)),
    "cut_inside": ("cut_inside", cut),
}
