"""`--max-failures`: a run in which too much fails stops in good order, instead of failing to the end.

A wrong mount, a broken codec build or a full disk fails every video; what fails is tried again in three runs only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from vidlabel.errors import InputError

MIN_FINISHED = 50  # videos, before a share of them says anything

_NUMBER = re.compile(r"(\d{1,12}(?:\.\d{1,6})?)(%?)", re.ASCII)


@dataclass(frozen=True, slots=True)
class MaxFailures:
    """A number of videos, or a share of those that are finished, that may fail in one run."""

    text: str  # as given
    num_videos: int | None = None
    share: float | None = None

    def __post_init__(self) -> None:
        if (self.num_videos is None) == (self.share is None):
            raise ValueError(f"a number or a share, got {self = }")

    def exceeded(self, *, num_failed: int, num_finished: int) -> bool:
        if self.num_videos is not None:
            return num_failed > self.num_videos
        assert self.share is not None
        return num_finished >= MIN_FINISHED and num_failed > self.share * num_finished


def parse_max_failures(text: str) -> MaxFailures:
    """'5%' or '100'."""
    found = _NUMBER.fullmatch(text.strip())
    if found is not None:
        number, percent = found.groups()
        if percent and float(number) <= 100:
            return MaxFailures(text, share=float(number) / 100)
        if not percent and "." not in number:
            return MaxFailures(text, num_videos=int(number))
    raise InputError(f"--max-failures {text}: write a share of the videos, for example 5%, or a number of them, as 100")


class FailureWatch:
    """Asked often; once there were too many failures it says so for the rest of the run."""

    def __init__(self, limit: MaxFailures | None) -> None:
        self._limit = limit
        self.verdict: str | None = None

    def tripped(self, *, num_failed: int, num_finished: int) -> bool:
        limit = self._limit
        if limit is not None and self.verdict is None:
            num_finished = max(num_finished, num_failed)  # one with a failed clip may have others to come
            if limit.exceeded(num_failed=num_failed, num_finished=num_finished):
                self.verdict = (
                    f"stopped: {num_failed} of {num_finished} videos failed, more than --max-failures {limit.text}; "
                    "what was labelled is saved, the same command goes on from here"
                )
        return self.verdict is not None
