"""Whether a caption or an answer is right about a `shapes` scene. A claim that cannot be read counts as wrong."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from vidlabel.train import shapes_text, shapes_text_zh
from vidlabel.train.shapes_world import COLOURS, SHAPES, Language, Scene

_MOTIONS = {words: motion for table in (shapes_text.DOES, shapes_text.DOES_BRIEFLY) for motion, words in table.items()}
_MOTIONS_ZH = {words: motion for motion, words in shapes_text_zh.DOES.items()}
_COLOURS_ZH = {words: colour for colour, words in shapes_text_zh.COLOUR_WORDS.items()}
_SHAPES_ZH = {words: shape for shape, words in shapes_text_zh.SHAPE_WORDS.items()}
_QUOTED = {"en": re.compile(r'"([^"]*)"'), "zh": re.compile("“([^”]*)”")}


def _any_of(words: Iterable[str]) -> str:
    return f"({'|'.join(sorted(words, key=len, reverse=True))})"


_CLAIM = re.compile(rf"\b{_any_of(COLOURS)} {_any_of(SHAPES)} {_any_of(_MOTIONS)}\b")
_CLAIM_ZH = re.compile(f"{_any_of(_COLOURS_ZH)}的{_any_of(_SHAPES_ZH)}{_any_of(_MOTIONS_ZH)}")


def score_caption(scene: Scene, text: str, language: Language = "en") -> dict[str, bool]:
    """Right for the whole clip, that is for every thing in it. A thing too many or too few makes all three wrong."""
    quoted = _QUOTED[language]
    said = sorted(_claims(quoted.sub("", text), language))
    truth = sorted((thing.colour, thing.shape, thing.motion) for thing in scene.things)
    pairs = list(zip(said, truth, strict=True)) if len(said) == len(truth) else None
    scores = {
        name: pairs is not None and all(mine[i] == true[i] for mine, true in pairs)
        for i, name in enumerate(("colour", "shape", "direction"))
    }
    is_silent = bool(scene.cues) or not any(mark in text for mark in '"“”')
    return {**scores, "subtitle": quoted.findall(text) == [cue.text for cue in scene.cues] and is_silent}


def score_answer(expected: str, text: str) -> bool:
    return text.strip() == expected


def _claims(text: str, language: Language) -> Iterator[tuple[str, str, str]]:
    """Colour, shape and motion of each thing that the text names with all three."""
    if language == "zh":
        for colour, shape, does in _CLAIM_ZH.findall(text):
            yield _COLOURS_ZH[colour], _SHAPES_ZH[shape], _MOTIONS_ZH[does]
    else:
        for colour, shape, does in _CLAIM.findall(text):
            yield colour, shape, _MOTIONS[does]
