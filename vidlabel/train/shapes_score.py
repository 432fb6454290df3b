"""Whether a caption or an answer is right about a `shapes` scene. A claim that cannot be read counts as wrong."""

from __future__ import annotations

import re

from vidlabel.train.shapes_text import DOES, DOES_BRIEFLY
from vidlabel.train.shapes_world import COLOURS, SHAPES, Scene

_MOTION = {words: motion for table in (DOES, DOES_BRIEFLY) for motion, words in table.items()}
_CLAIM = re.compile(
    rf"\b({'|'.join(COLOURS)}) ({'|'.join(SHAPES)}) ({'|'.join(sorted(_MOTION, key=len, reverse=True))})\b"
)
_QUOTED = re.compile(r'"([^"]*)"')


def score_caption(scene: Scene, text: str) -> dict[str, bool]:
    """Right for the whole clip, that is for every thing in it. A thing too many or too few makes all three wrong."""
    claims = _CLAIM.findall(_QUOTED.sub("", text))
    truth = [(thing.colour, thing.shape, thing.motion) for thing in scene.things]
    said = sorted((colour, shape, _MOTION[words]) for colour, shape, words in claims)
    pairs = list(zip(said, sorted(truth), strict=True)) if len(said) == len(truth) else None
    return {
        "colour": pairs is not None and all(mine[0] == true[0] for mine, true in pairs),
        "shape": pairs is not None and all(mine[1] == true[1] for mine, true in pairs),
        "direction": pairs is not None and all(mine[2] == true[2] for mine, true in pairs),
        "subtitle": _QUOTED.findall(text) == [cue.text for cue in scene.cues] and (bool(scene.cues) or '"' not in text),
    }


def score_answer(expected: str, text: str) -> bool:
    return text.strip() == expected
