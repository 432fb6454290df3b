"""Lessons as one batch of tensors: rows padded on the right, and the clips that they look at, each once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vidlabel.data import Failure
from vidlabel.train.features import Timing
from vidlabel.train.lessons import Lesson

IGNORED = -100
PADDING = -1  # among `parts`


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """What a dataset gives for one row."""

    lesson: Lesson
    clip_key: str
    clip: Tensor  # (T, S, S, 3) uint8 pictures, or (T, tokens, pooled) float16 features that were kept
    timing: Timing
    failures: Sequence[Failure] = ()  # of single examples


def collate(items: Sequence[Item | Failure]) -> dict[str, Any]:
    """A batch; examples that failed are listed and have no row, and it may have no rows at all. `parts` says of each
    position which turn it belongs to (0: the opening); None where no row has more than one."""
    good = [item for item in items if isinstance(item, Item)]
    longest = max((len(item.lesson.ids) for item in good), default=1)
    ids = torch.zeros(len(good), longest, dtype=torch.long)
    parts = torch.full_like(ids, PADDING)
    labels = torch.full_like(ids, IGNORED)
    clips = {item.clip_key: item for item in good}
    for row, item in enumerate(good):
        lesson = item.lesson
        ids[row, : len(lesson.ids)] = torch.tensor(lesson.ids)
        parts[row, : lesson.turns[0].start] = 0
        for number, turn in enumerate(lesson.turns, start=1):
            parts[row, turn.start : turn.end] = number
            labels[row, turn.answer_start : turn.end] = ids[row, turn.answer_start : turn.end]
    keys = list(clips)
    return {
        "ids": ids,
        "mask": (parts != PADDING).long(),
        "parts": parts if any(len(item.lesson.turns) > 1 for item in good) else None,
        "labels": labels,
        "clips": [item.clip for item in clips.values()],
        "clip_keys": keys,
        "timings": [item.timing for item in clips.values()],
        "clip_of_row": [keys.index(item.clip_key) for item in good],
        "failures": [one for item in items for one in (item.failures if isinstance(item, Item) else (item,))],
    }
