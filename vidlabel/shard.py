"""`--shard 3/16`: the share of the videos that one of several runs on one output labels.

Which share a video is in is a hash of its id, so it does not depend on the order of the inputs or on what was added.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from vidlabel.data import stable_id
from vidlabel.errors import InputError

logger = logging.getLogger(__name__)

_OPTION = re.compile(r"(\d+)/(\d+)")
_FOLDER = re.compile(r"shard-(\d+)-of-(\d+)")


@dataclass(frozen=True, slots=True, order=True)
class Shard:
    """Number `number` of `count`, counted from 1."""

    number: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise ValueError(f"a shard is from 1 to their count, got {self.number = }, {self.count = }")

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @property
    def folder_name(self) -> str:
        return f"shard-{self.number}-of-{self.count}"

    def takes(self, video_id: str) -> bool:
        """All rows of a manifest about one video are in one share."""
        return int(stable_id("shard", video_id), 16) % self.count == self.number - 1


def parse_shard(option: str) -> Shard:
    found = _OPTION.fullmatch(option.strip())
    try:
        if found is not None:
            return Shard(int(found[1]), int(found[2]))
    except ValueError:
        pass
    raise InputError(f"--shard {option}: write I/N with I from 1 to N, for example 3/16")


def shard_of_folder(name: str) -> Shard | None:
    found = _FOLDER.fullmatch(name)
    return None if found is None else Shard(int(found[1]), int(found[2]))


def warn_of_absolute_paths(inputs: Iterable[str], root: str | None) -> None:
    """A video's share is a hash of its id, and without a root its id one of where it lies on this machine."""
    if root is None and any(Path(given).is_dir() for given in inputs):
        logger.warning(
            "--shard without --root: folders must be at the same path on all machines, or videos fall into two shares "
            "or none; with --root FOLDER paths below it are what counts"
        )
