"""What a captioner pulls: questions that answers have led to come first, then new clips.

So a clip is done with before more are begun, and its frames are not kept for long.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from vidlabel.captioner import Feed
from vidlabel.data import AskedClip


class WithFollowUps:
    """Iterated once for each call of the captioner, until nothing is left: see `has_more`."""

    def __init__(self, feed: Feed, follow_ups: deque[AskedClip], stopping: Callable[[], bool]) -> None:
        self._feed = feed
        self._new = iter(feed)
        self._follow_ups = follow_ups
        self._stopping = stopping
        self._exhausted = False

    @property
    def has_more(self) -> bool:
        """Whether there may be anything to ask. Asked again when the captioner is through: its last answers count."""
        return not self._stopping() and (bool(self._follow_ups) or not self._exhausted)

    def would_wait(self) -> bool:
        return not self._follow_ups and not self._exhausted and self._feed.would_wait()

    def __iter__(self) -> Iterator[AskedClip]:
        while not self._stopping():
            if self._follow_ups:
                yield self._follow_ups.popleft()
            elif self._exhausted or (asked := next(self._new, None)) is None:
                self._exhausted = True
                return
            else:
                yield asked
