"""Which frames of a clip are taken: pure functions on streams of timed frames."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from vidlabel.decoders import TimedFrame

TIE_SECONDS = 1e-6  # the arithmetic of times must not decide between two frames


def even_targets(start_seconds: float, end_seconds: float, count: int) -> list[float]:
    """The middles of `count` equal parts of the span."""
    part = (end_seconds - start_seconds) / count
    return [start_seconds + (index + 0.5) * part for index in range(count)]


def nearest(frames: Iterable[TimedFrame], targets: Iterable[float]) -> Iterator[tuple[TimedFrame, int]]:
    """Every frame, with the number of rising targets that it is nearest to; of two as near the earlier is taken."""
    waiting = deque(targets)
    before: TimedFrame | None = None
    for frame in frames:
        if before is not None:
            hits = 0
            while waiting and waiting[0] - before.seconds <= frame.seconds - waiting[0] + TIE_SECONDS:
                waiting.popleft()
                hits += 1
            yield before, hits
        before = frame
    if before is not None:
        yield before, len(waiting)


def every(frames: Iterable[TimedFrame], interval: int) -> Iterator[tuple[TimedFrame, int]]:
    """Every frame, with 1 for the first of each `interval` and 0 for the others."""
    for index, frame in enumerate(frames):
        yield frame, int(index % interval == 0)
