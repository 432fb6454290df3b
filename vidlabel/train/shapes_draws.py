"""What is asked about a `shapes` scene, whatever the language: which kind of question, about which thing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal

from vidlabel.train.shapes_world import COLOURS, SHAPES, Scene, Shape, Thing

if TYPE_CHECKING:
    import numpy as np

Style = Literal["plain", "short", "detailed"]
Asked = tuple[str, str]  # question, answer
Kind = Literal["colour", "shape", "motion", "event", "count", "speech", "backdrop", "size", "existence"]
Asks = Mapping[Kind, "Callable[[Scene, np.random.Generator], Asked]"]

# motion and speech twice as often as the others
ANY_KIND: tuple[Kind, ...] = (
    "colour", "shape", "motion", "motion", "event", "count", "speech", "speech", "backdrop", "size", "existence",
)  # fmt: skip
# the hardest to answer where two things are shown: what tells one from another, and what each of them does
ATTRIBUTES: tuple[Kind, ...] = ("colour", "colour", "size", "existence")
MOTIONS: tuple[Kind, ...] = ("motion", "motion", "event")


def draw_style(random: np.random.Generator) -> Style:
    return ("plain", "short", "detailed")[int(random.choice(3, p=(0.5, 0.25, 0.25)))]


def draw_question(asks: Asks, kinds: tuple[Kind, ...], scene: Scene, random: np.random.Generator) -> tuple[Kind, Asked]:
    """A question of one of these kinds, drawn at random."""
    kind = kinds[int(random.integers(len(kinds)))]
    return kind, asks[kind](scene, random)


def draw_thing(scene: Scene, random: np.random.Generator) -> Thing:
    return scene.things[int(random.integers(len(scene.things)))]


def draw_supposed(scene: Scene, random: np.random.Generator) -> tuple[str, Shape, bool]:
    """A colour and a shape, and whether such a thing is there: half the time one that is, else one that differs in
    colour, shape or both."""
    thing = draw_thing(scene, random)
    colour, shape = thing.colour, thing.shape
    if random.random() < 0.5:
        colour = str(random.choice(list(COLOURS)))
        shape = shape if random.random() < 0.5 else SHAPES[int(random.integers(len(SHAPES)))]
    return colour, shape, any((thing.colour, thing.shape) == (colour, shape) for thing in scene.things)


def draw_words(random: np.random.Generator, *texts: str) -> str:
    return texts[int(random.integers(len(texts)))]


def shape_tells(scene: Scene, thing: Thing) -> bool:
    """Whether its shape alone says which thing is meant."""
    return sum(other.shape == thing.shape for other in scene.things) == 1


def is_there_throughout(thing: Thing) -> bool:
    return thing.motion not in ("appears", "disappears")
