"""What is true of a `shapes` scene, in words: captions of three lengths, and questions with their answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vidlabel.train.shapes_asking import caption_instruction
from vidlabel.train.shapes_draws import (
    ANY_KIND,
    Asked,
    Asks,
    Kind,
    Style,
    draw_question,
    draw_style,
    draw_supposed,
    draw_thing,
    draw_words,
    is_there_throughout,
    shape_tells,
)
from vidlabel.train.shapes_world import Motion, Scene, Thing

if TYPE_CHECKING:
    import numpy as np

DOES: dict[Motion, str] = {
    "left": "moves to the left",
    "right": "moves to the right",
    "up": "moves up",
    "down": "moves down",
    "still": "stands still",
    "appears": "appears",
    "disappears": "disappears",
}
DOES_BRIEFLY = {**DOES, "left": "moves left", "right": "moves right"}
_NUMBERS = {1: "one shape", 2: "two shapes"}


def caption(scene: Scene, style: Style) -> str:
    """Every thing with its colour, shape and motion, and what the voice says if it says anything."""
    if style == "short":
        parts = [f"a {thing.colour} {thing.shape} {DOES_BRIEFLY[thing.motion]}" for thing in scene.things]
        parts += [f"a voice says {_spoken(scene)}"] if scene.cues else []
        text = " and ".join(parts) if len(parts) < 3 else f"{parts[0]}, {parts[1]} and {parts[2]}"
        return _sentence(text.replace("a orange", "an orange"))
    if style == "detailed":
        whole = f"There {'is' if len(scene.things) == 1 else 'are'} {_NUMBERS[len(scene.things)]} on a "
        sentences = [f"{whole}{scene.backdrop} background."]
        sentences += [_sentence(f"a {t.size} {t.colour} {t.shape} {DOES[t.motion]}") for t in scene.things]
    else:
        sentences = [_sentence(" and ".join(f"{_named(thing)} {DOES[thing.motion]}" for thing in scene.things))]
    return " ".join([*sentences, *([spoken_sentence(scene)] if scene.cues else [])])


def spoken_sentence(scene: Scene) -> str:
    return f"A voice says {_spoken(scene)}."


def _spoken(scene: Scene) -> str:
    return ", then ".join(f'"{cue.text}"' for cue in scene.cues)


def captions(scene: Scene, random: np.random.Generator) -> Asked:
    """An instruction to describe, in some wording or language, and the caption of the length that it asks for."""
    style = draw_style(random)
    return caption_instruction(style, random), caption(scene, style)


def question(scene: Scene, random: np.random.Generator) -> Asked:
    """One question about the scene, of a kind drawn at random, and its answer."""
    return question_of_kind(scene, random)[1]


def question_of_kind(
    scene: Scene, random: np.random.Generator, kinds: tuple[Kind, ...] = ANY_KIND
) -> tuple[Kind, Asked]:
    """Likewise, with the kind's name."""
    return draw_question(_ASKS, kinds, scene, random)


def track_question(scene: Scene, shares: Sequence[float], random: np.random.Generator) -> Asked:
    """Where something is at each of these shares of the scene, in tenths of the frame's width and height."""
    thing, what = _the(scene, random)
    asked = draw_words(random, f"Track {what}.", f"Follow {what}.", f"Where is {what} in each frame?")
    return asked, ", ".join(place(scene, thing, share) for share in shares) + "."


def still_caption(scene: Scene, share: float) -> str:
    """What one frame shows, and where."""
    shown = [thing for thing in scene.things if thing.is_shown(share)]
    return _sentence(" and ".join(f"{_named(thing)} at {place(scene, thing, share)}" for thing in shown) or "nothing")


def place(scene: Scene, thing: Thing, share: float) -> str:
    if not thing.is_shown(share):
        return "gone"
    x, y = thing.position(share)
    return f"{int(10 * x * scene.height / scene.width)} {int(10 * y)}"


def _colour(scene: Scene, random: np.random.Generator) -> Asked:
    thing = draw_thing(scene, random)
    what = thing.shape if shape_tells(scene, thing) or random.random() < 0.5 else "shape"
    colour = draw_words(random, "colour", "color")
    asked = draw_words(
        random,
        f"What {colour} is the {what}?",
        f"Which {colour} does the {what} have?",
        f"What is the {colour} of the {what}?",
    )
    same = [thing.colour for thing in scene.things if what in ("shape", thing.shape)]
    return asked, f"It is {same[0]}." if len(same) == 1 else f"One is {same[0]} and one is {same[1]}."


def _shape(scene: Scene, random: np.random.Generator) -> Asked:
    thing = draw_thing(scene, random)
    what = f"{thing.colour} {draw_words(random, 'object', 'thing', 'shape')}"
    asked = draw_words(
        random, f"What shape is the {what}?", f"What is the shape of the {what}?", f"Which shape does the {what} have?",
        f"What is the {what}?",
    )  # fmt: skip
    return asked, f"It is a {thing.shape}."


def motion_question(scene: Scene, random: np.random.Generator) -> Asked:
    thing, what = _the(scene, random)
    asked = draw_words(
        random, f"Which direction does {what} move?", f"In which direction does {what} move?", f"Where does {what} go?",
        f"What does {what} do?", f"What happens to {what}?", f"How does {what} move?", f"Which way does {what} move?",
        f"Does {what} move?",
    )  # fmt: skip
    return asked, f"It {DOES[thing.motion]}."


def _event(scene: Scene, random: np.random.Generator) -> Asked:
    thing, what = _the(scene, random)
    asked = draw_words(
        random, f"Does {what} appear or disappear?", f"Does {what} disappear?", f"Does {what} appear?",
        f"Is {what} there all the time?",
    )  # fmt: skip
    return asked, "It is there all the time." if is_there_throughout(thing) else f"It {DOES[thing.motion]}."


def _count(scene: Scene, random: np.random.Generator) -> Asked:
    what = draw_words(random, "shapes", "objects", "things")
    asked = draw_words(
        random, f"How many {what} are there?", f"How many {what} can be seen?", f"How many {what} do you see?",
        f"What is the number of {what}?",
    )  # fmt: skip
    return asked, f"There {'is' if len(scene.things) == 1 else 'are'} {_NUMBERS[len(scene.things)]}."


def speech_question(scene: Scene, random: np.random.Generator) -> Asked:
    asked = draw_words(
        random, "What is said?", "What does the voice say?", "What is said in the video?", "What do you hear?",
        "Which words are spoken?", "What does the subtitle say?", "What is being said in this clip?",
        "Does anyone speak?", "What is spoken?",
    )  # fmt: skip
    return asked, spoken_sentence(scene) if scene.cues else "Nothing is said."


def _backdrop(scene: Scene, random: np.random.Generator) -> Asked:
    asked = draw_words(
        random, "What is the background like?", "Is the background dark or light?",
        "What does the background look like?",
        "What background is there?",
    )  # fmt: skip
    return asked, f"The background is {scene.backdrop}."


def _size(scene: Scene, random: np.random.Generator) -> Asked:
    thing, what = _the(scene, random)
    asked = draw_words(random, f"How big is {what}?", f"Is {what} large or small?", f"What size is {what}?")
    return asked, f"It is {thing.size}."


def _existence(scene: Scene, random: np.random.Generator) -> Asked:
    colour, shape, is_there = draw_supposed(scene, random)
    asked = draw_words(random, "Is there a {}?", "Can you see a {}?", "Does the video show a {}?").format(
        f"{colour} {shape}"
    )
    return asked.replace("a orange", "an orange"), "Yes." if is_there else "No."


def _the(scene: Scene, random: np.random.Generator) -> tuple[Thing, str]:
    """A thing, and words that point at it alone."""
    thing = draw_thing(scene, random)
    names = [f"the {thing.colour} {thing.shape}", f"the {thing.colour} {draw_words(random, 'object', 'shape', 'one')}"]
    names += [f"the {thing.shape}"] if shape_tells(scene, thing) else []
    names += ["the " + draw_words(random, "shape", "object"), "it"] if len(scene.things) == 1 else []
    return thing, draw_words(random, *names)


def _named(thing: Thing) -> str:
    return f"{'an' if thing.colour == 'orange' else 'a'} {thing.colour} {thing.shape}"


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


_ASKS: Asks = {
    "colour": _colour,
    "shape": _shape,
    "motion": motion_question,
    "event": _event,
    "count": _count,
    "speech": speech_question,
    "backdrop": _backdrop,
    "size": _size,
    "existence": _existence,
}
