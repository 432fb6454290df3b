"""Examples to learn from and to be evaluated on, apart by source file: no video is on both sides."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from vidlabel.data import stable_id
from vidlabel.errors import InputError
from vidlabel.train.examples import Example

logger = logging.getLogger(__name__)

Split = tuple[list[Example], list[Example]]


def split_off(examples: Sequence[Example], share: float) -> Split:
    """So large a share of the sources, at least one, for evaluation: always the same ones, whatever their order."""
    sources = sorted({example.source for example in examples}, key=lambda source: stable_id("evaluation", source))
    if len(sources) < 2:
        raise InputError(f"--eval-share {share}: there is one video only; give --eval-data, or more --data")
    held = set(sources[: min(len(sources) - 1, max(1, round(share * len(sources))))])
    learnt = [example for example in examples if example.source not in held]
    return learnt, [example for example in examples if example.source in held]


def apart(examples: Sequence[Example], evaluation: Sequence[Example]) -> list[Example]:
    """The examples whose source is not among those of the evaluation."""
    held = {example.source for example in evaluation}
    kept = [example for example in examples if example.source not in held]
    if len(kept) < len(examples):
        logger.warning("%d examples are left out: their videos are in --eval-data", len(examples) - len(kept))
    if not kept:
        raise InputError("--eval-data: holds all the videos of --data; nothing is left to learn from")
    return kept
