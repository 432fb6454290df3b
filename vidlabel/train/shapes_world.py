"""The world of the `shapes` model: a seeded scene of coloured shapes that move, appear, disappear and are spoken over.

A scene is a value; everything that can be said about it is known from it, and it can be drawn at any time and size.
The streams "train", "check" (watched while training) and "held-out" never share a seed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from vidlabel.data import Cue
from vidlabel.train.shapes_words import chinese_phrase, spoken_phrase

if TYPE_CHECKING:
    import numpy.typing as npt

Stream = Literal["train", "check", "held-out"]
Shape = Literal["circle", "square", "triangle", "star"]
Motion = Literal["left", "right", "up", "down", "still", "appears", "disappears"]
Backdrop = Literal["dark", "grey", "light"]
Size = Literal["small", "large"]
Language = Literal["en", "zh"]  # of what the voice says

_STREAMS: tuple[Stream, ...] = get_args(Stream)
SHAPES: tuple[Shape, ...] = get_args(Shape)
MOTIONS: tuple[Motion, ...] = get_args(Motion)
BACKDROPS: tuple[Backdrop, ...] = get_args(Backdrop)
COLOURS = {  # in the order in which a caption names them
    "red": (215, 30, 35),
    "green": (25, 160, 55),
    "blue": (30, 70, 225),
    "yellow": (240, 220, 30),
    "purple": (140, 40, 170),
    "orange": (250, 135, 15),
    "white": (248, 248, 248),
}

_RADIUS = {"small": (0.12, 0.15), "large": (0.19, 0.24)}  # of the frame's height
_LEVEL = {"dark": (28, 58), "grey": (105, 150), "light": (205, 240)}
_FRAME_SIZES = ((160, 120), (320, 240), (320, 180), (240, 240), (240, 160), (256, 144), (200, 160))
_FRAME_RATES = (8.0, 10.0, 12.0, 15.0, 24.0, 25.0, 30.0)
_CUE_STARTS = ((), ((0.0, 0.8),), ((0.0, 0.3), (0.5, 0.8)), ((0.0, 0.15), (0.35, 0.5), (0.7, 0.85)))
_MIN_TRAVEL = 0.42  # of the frame's height


@dataclass(frozen=True, slots=True)
class Thing:
    """One shape. Positions and radius are in units of the frame's height, x from the left and y from the top."""

    colour: str
    shape: Shape
    motion: Motion
    size: Size
    radius: float
    rgb: tuple[int, int, int]
    start: tuple[float, float]
    end: tuple[float, float]  # equal to start unless it moves
    event_at: float = 0.5  # share of the scene after which it appears or disappears

    def position(self, share: float) -> tuple[float, float]:
        (x0, y0), (x1, y1) = self.start, self.end
        return x0 + (x1 - x0) * share, y0 + (y1 - y0) * share

    def is_shown(self, share: float) -> bool:
        if self.motion == "appears":
            return share >= self.event_at
        return self.motion != "disappears" or share < self.event_at


@dataclass(frozen=True, slots=True)
class Scene:
    """One or two things on a plain backdrop, and what a voice says meanwhile."""

    width: int
    height: int
    fps: float
    seconds: float
    backdrop: Backdrop
    backdrop_rgb: tuple[int, int, int]
    things: tuple[Thing, ...]
    cues: tuple[Cue, ...]


def make_scene(stream: Stream, number: int, *, wild_words: bool = False, language: Language = "en") -> Scene:
    """Scene `number` of a stream; the same for ever. `wild_words` lets an English voice say made-up words as well."""
    if stream not in _STREAMS:
        raise ValueError(f"a stream is one of {_STREAMS}, got {stream = }")
    if number < 0:
        raise ValueError(f"scenes are numbered from 0, got {number = }")
    random = np.random.default_rng((_STREAMS.index(stream), number))
    width, height = _FRAME_SIZES[random.integers(len(_FRAME_SIZES))]
    seconds = float(random.uniform(1.5, 8.0))
    backdrop = BACKDROPS[random.integers(len(BACKDROPS))]
    num_things = 1 if random.random() < 0.5 else 2
    things: list[Thing] = []
    while len(things) < num_things:
        placed = _place(random, things, backdrop, width / height)
        things = [*things, placed] if placed else []  # the first may leave no room: begin again
    things.sort(key=lambda thing: list(COLOURS).index(thing.colour))
    return Scene(
        width=width,
        height=height,
        fps=float(random.choice(_FRAME_RATES)),
        seconds=seconds,
        backdrop=backdrop,
        backdrop_rgb=_jitter(random, (int(random.uniform(*_LEVEL[backdrop])),) * 3, 12),
        things=tuple(things),
        cues=_cues(random, seconds, wild_words, language),
    )


def render(scene: Scene, shares: Sequence[float], width: int, height: int) -> npt.NDArray[np.uint8]:
    """(T, height, width, 3) at the given shares of the scene's length, drawn straight to this size with soft edges."""
    images = np.empty((len(shares), height, width, 3), np.uint8)
    images[:] = scene.backdrop_rgb
    for t, thing, where, cover in _drawn(scene, shares, width, height):
        image = images[t][where]  # hardly a pixel is touched by two and rounded twice
        image[:] = image + cover[..., None] * (np.asarray(thing.rgb, np.float32) - image) + np.float32(0.5)
    return images


def coverage(scene: Scene, shares: Sequence[float], width: int, height: int) -> npt.NDArray[np.float32]:
    """(T, height, width): how much of each pixel is covered by a thing."""
    covered = np.zeros((len(shares), height, width), np.float32)
    for t, _, where, cover in _drawn(scene, shares, width, height):
        covered[t][where] += cover
    return covered


def _drawn(
    scene: Scene, shares: Sequence[float], width: int, height: int
) -> Iterator[tuple[int, Thing, tuple[slice, slice], npt.NDArray[np.float32]]]:
    """Every thing in every frame that shows it: where it is, and how much of each pixel there it covers."""
    for thing in scene.things:
        last: tuple[tuple[slice, slice], npt.NDArray[np.float32]] | None = None
        for t, share in enumerate(shares):
            if not thing.is_shown(share):
                continue
            if last is None or thing.start != thing.end:
                last = _stencil(thing, thing.position(share), scene.width / scene.height, width, height)
            yield t, thing, *last


def _place(random: np.random.Generator, others: Sequence[Thing], backdrop: Backdrop, aspect: float) -> Thing | None:
    """A thing of a colour not yet taken, whose way crosses no other thing's; None when there seems to be no room."""
    taken = {thing.colour for thing in others}
    colours = [name for name in COLOURS if name not in taken and (name, backdrop) != ("white", "light")]
    colour = str(random.choice(colours))
    rgb = _jitter(random, COLOURS[colour], 10)
    shape = SHAPES[random.integers(len(SHAPES))]
    for _ in range(30):
        size: Size = "small" if random.random() < 0.5 else "large"
        motion = MOTIONS[random.integers(len(MOTIONS))]
        radius = float(random.uniform(*_RADIUS[size]))
        start, end = _way(random, motion, radius, aspect)
        thing = Thing(colour, shape, motion, size, radius, rgb, start, end, float(random.uniform(0.3, 0.7)))
        if all(_apart(thing, other) for other in others):
            return thing
    return None


def _way(
    random: np.random.Generator, motion: Motion, radius: float, aspect: float
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Start and end, wholly inside the frame."""
    edge = radius + 0.02
    x, y = float(random.uniform(edge, aspect - edge)), float(random.uniform(edge, 1 - edge))
    if motion not in ("left", "right", "up", "down"):
        return (x, y), (x, y)
    room = (aspect if motion in ("left", "right") else 1.0) - 2 * edge
    travel = float(random.uniform(min(_MIN_TRAVEL, room), room))
    low = edge + float(random.uniform(0, room - travel))
    first, last = (low, low + travel) if motion in ("right", "down") else (low + travel, low)
    return ((first, y), (last, y)) if motion in ("left", "right") else ((x, first), (x, last))


def _apart(one: Thing, other: Thing) -> bool:
    for share in np.linspace(0, 1, 13):
        (x0, y0), (x1, y1) = one.position(share), other.position(share)
        if (x0 - x1) ** 2 + (y0 - y1) ** 2 < (1.1 * (one.radius + other.radius)) ** 2:
            return False
    return True


def _cues(random: np.random.Generator, seconds: float, wild_words: bool, language: Language) -> tuple[Cue, ...]:
    """Silence, one phrase, or two after another; among wild ones, three."""
    num_cues = int(random.choice(3, p=(0.4, 0.45, 0.15)))
    if wild_words and num_cues == 2 and random.random() < 0.5:
        num_cues = 3
    edges = [*(float(random.uniform(*between)) * seconds for between in _CUE_STARTS[num_cues]), seconds]
    spans = pairwise(edges)
    if language == "zh":
        return tuple(Cue(start, end, chinese_phrase(random)) for start, end in spans)
    return tuple(Cue(start, end, spoken_phrase(random, wild=wild_words)) for start, end in spans)


def _jitter(random: np.random.Generator, rgb: tuple[int, int, int], spread: int) -> tuple[int, int, int]:
    red, green, blue = (int(v) for v in np.clip(np.add(rgb, random.integers(-spread, spread + 1, 3)), 0, 255))
    return red, green, blue


def _stencil(
    thing: Thing, centre: tuple[float, float], aspect: float, width: int, height: int
) -> tuple[tuple[slice, slice], npt.NDArray[np.float32]]:
    """The part of the image that the thing may touch, and how much of each pixel there it covers."""
    pixel_x, pixel_y = aspect / width, 1 / height  # not square when the frame is squeezed
    x, y = centre
    reach = thing.radius * 1.15
    left, right = max(0, int((x - reach) / pixel_x)), min(width, int((x + reach) / pixel_x) + 2)
    top, bottom = max(0, int((y - reach) / pixel_y)), min(height, int((y + reach) / pixel_y) + 2)
    dx = ((np.arange(left, right, dtype=np.float32) + 0.5) * pixel_x - x)[None, :] / thing.radius
    dy = ((np.arange(top, bottom, dtype=np.float32) + 0.5) * pixel_y - y)[:, None] / thing.radius
    distance = _outside(thing.shape, dx, dy)
    softness = (pixel_x + pixel_y) / 2 / thing.radius
    cover: npt.NDArray[np.float32] = np.clip(0.5 - distance / softness, 0, 1)
    return (slice(top, bottom), slice(left, right)), cover


def _outside(shape: str, dx: npt.NDArray[np.float32], dy: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """How far a point lies outside the shape of radius 1 (negative: inside); y points down. A cross can be drawn too,
    though no scene has one by itself: it is there to be taught later."""
    distance: npt.NDArray[np.float32]
    if shape == "circle":
        distance = np.sqrt(dx * dx + dy * dy) - 1
    elif shape == "square":
        distance = np.maximum(np.abs(dx), np.abs(dy)) - np.float32(0.88)
    elif shape == "triangle":
        slope = np.float32(0.8944) * np.abs(dx) - np.float32(0.4472) * (dy + 1)
        distance = np.maximum(dy - np.float32(0.85), slope)
    elif shape == "cross":
        upright = np.maximum(np.abs(dx) - np.float32(0.32), np.abs(dy) - 1)
        distance = np.minimum(upright, np.maximum(np.abs(dx) - 1, np.abs(dy) - np.float32(0.32)))
    else:
        distance = _outside_star(dx, dy)
    return distance


def _outside_star(dx: npt.NDArray[np.float32], dy: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Five points, one up: fold the plane onto half a point, then it is one straight edge."""
    tip, notch = 1.1, 0.45  # radii
    fifth = 2 * np.pi / 5
    angle = np.arctan2(dx, -dy)  # 0 is up
    folded = np.abs(np.mod(angle + fifth / 2, fifth) - fifth / 2)
    reach = np.sqrt(dx * dx + dy * dy)
    along, across = reach * np.cos(folded), reach * np.sin(folded)
    edge_x, edge_y = notch * np.cos(fifth / 2) - tip, notch * np.sin(fifth / 2)
    length = float(np.hypot(edge_x, edge_y))
    distance: npt.NDArray[np.float32] = ((along - tip) * edge_y - across * edge_x) / length
    return distance
