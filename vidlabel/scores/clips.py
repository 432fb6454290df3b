"""Clips in, scores out: frames come from decode workers, with their limits, and go through the networks in batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from vidlabel.config import Limits
from vidlabel.data import stable_id
from vidlabel.errors import VideoError
from vidlabel.executors.workers import DecodeWorkers
from vidlabel.pipeline import time_limit
from vidlabel.plan import file_state
from vidlabel.report.sheets import Strip
from vidlabel.scores.networks import Networks, Scores
from vidlabel.scores.pictures import sample_pictures

if TYPE_CHECKING:
    from vidlabel.scores.pictures import Pictures

BATCH_CLIPS = 8
_IN_FLIGHT = 3  # clips a worker, so that frames are there when the networks are free


@dataclass(frozen=True, slots=True)
class AskedScores:
    """A clip, and its captions in the order in which their scores come."""

    clip_id: str
    video_id: str
    path: str  # as the file of labels has it
    strip: Strip
    texts: dict[str, int] = field(default_factory=dict, hash=False)

    def key(self, weights: str, num_frames: int) -> str:
        """Changes with all that its scores go by."""
        size, mtime = file_state(self.strip.location)
        span = f"{self.strip.start_seconds!r} {self.strip.end_seconds!r}"
        return stable_id(weights, str(num_frames), self.strip.location, f"{size} {mtime}", span, *self.texts)


class ScoreRun:
    """To be used with `with`: the workers live as long as it does."""

    def __init__(self, networks: Networks, num_frames: int, limits: Limits) -> None:
        self._networks = networks
        self._num_frames = num_frames
        self._limits = limits
        self._workers = DecodeWorkers[int](num_workers=limits.num_workers, memory_mb=limits.memory_mb)

    def __enter__(self) -> Self:
        self._workers.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._workers.__exit__(None, None, None)

    def scores(self, todo: Mapping[int, AskedScores]) -> Iterator[tuple[int, Scores | VideoError]]:
        """Of each clip by its number, in any order: its scores, or why there are none."""
        waiting = deque(sorted(todo, key=lambda number: (todo[number].strip.location, number)))
        ready: dict[int, list[Pictures]] = {}
        while waiting or len(self._workers) or ready:
            while waiting and len(self._workers) < _IN_FLIGHT * self._limits.num_workers:
                number = waiting.popleft()
                if (refused := self._begin(number, todo[number].strip)) is not None:
                    yield number, refused
            for number, outcome in self._workers.finished(1.0) if len(self._workers) else []:
                if isinstance(outcome, VideoError):
                    yield number, outcome
                else:
                    ready[number] = outcome
            if len(ready) >= BATCH_CLIPS or not (waiting or len(self._workers)):
                numbers = list(ready)[:BATCH_CLIPS]
                pictures = [ready.pop(number) for number in numbers]
                if numbers:
                    found = self._networks.score(pictures, [list(todo[number].texts) for number in numbers])
                    yield from zip(numbers, found, strict=True)

    def _begin(self, number: int, strip: Strip) -> VideoError | None:
        """None when it is under way."""
        try:
            seconds = time_limit(strip.location, self._limits.seconds_per_video)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            return VideoError(f"cannot be opened: {reason}")
        self._workers.submit(number, sample_pictures, strip, self._num_frames, self._networks.forms, seconds=seconds)
        return None
