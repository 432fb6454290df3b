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


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """What a dataset gives for one example."""

    lesson: Lesson
    clip_key: str
    clip: Tensor  # (T, S, S, 3) uint8 pictures, or (T, tokens, pooled) float16 features that were kept
    timing: Timing


def collate(items: Sequence[Item | Failure]) -> dict[str, Any]:
    """A batch; examples that failed are listed and have no row, and it may have no rows at all."""
    good = [item for item in items if isinstance(item, Item)]
    longest = max((len(item.lesson.ids) for item in good), default=1)
    ids = torch.zeros(len(good), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    labels = torch.full_like(ids, IGNORED)
    clips = {item.clip_key: item for item in good}
    for row, item in enumerate(good):
        lesson = item.lesson
        ids[row, : len(lesson.ids)] = torch.tensor(lesson.ids)
        mask[row, : len(lesson.ids)] = 1
        labels[row, lesson.num_context : len(lesson.ids)] = torch.tensor(lesson.ids[lesson.num_context :])
    keys = list(clips)
    return {
        "ids": ids,
        "mask": mask,
        "labels": labels,
        "clips": [item.clip for item in clips.values()],
        "clip_keys": keys,
        "timings": [item.timing for item in clips.values()],
        "clip_of_row": [keys.index(item.clip_key) for item in good],
        "failures": [item for item in items if isinstance(item, Failure)],
    }
