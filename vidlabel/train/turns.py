"""Examples about the same clip share a row, so many to one: the clip stands in it once, however much is asked."""

from __future__ import annotations

from collections.abc import Sequence

from vidlabel.data import stable_id
from vidlabel.train.examples import Example

Row = tuple[Example, ...]


def in_rows(examples: Sequence[Example], turns: int) -> list[Row]:
    """At most `turns` a row. Which of a clip's examples stand together is drawn by their ids, so that every row has
    some of each kind."""
    if turns == 1:
        return [(example,) for example in examples]
    by_clip: dict[str, list[Example]] = {}
    for example in examples:
        by_clip.setdefault(clip_name(example), []).append(example)
    rows: list[Row] = []
    for found in by_clip.values():
        drawn = sorted(found, key=lambda one: stable_id("turn", one.example_id, one.question or "", one.answer))
        rows += [tuple(drawn[first : first + turns]) for first in range(0, len(drawn), turns)]
    return rows


def clip_name(example: Example) -> str:
    """The same for examples that show the model the same."""
    video = example.video
    return stable_id(example.source, *(() if video is None else (str(video.span), str(video.subtitle))))
