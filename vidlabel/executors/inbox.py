"""The far side of a captioner in another process: a feed of the clips that are sent to it, and a loop that answers.

A captioner may hold answers back until its clips end (a batch that is not full, say). The near side therefore flushes
when it has nothing more to send: that ends the captioner's feed, and the next clip begins a new one.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from vidlabel.captioner import Captioner
from vidlabel.data import Answer, AskedClip, Question


@dataclass(frozen=True, slots=True)
class Dropped:
    """The captioner has ended its clips without an answer to this question."""

    clip_id: str
    question: Question


class Inbox:
    """A `captioner.Feed`. Filled from one thread, read from another."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._clips: deque[AskedClip | None] = deque()  # None: a flush
        self._closed = False
        self._open: set[tuple[str, Question]] = set()  # pulled by the captioner and not answered yet

    def put(self, asked: AskedClip | None) -> None:
        """A clip, or None: whatever was held back is to be answered now."""
        with self._changed:
            self._clips.append(asked)
            self._changed.notify()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()

    def would_wait(self) -> bool:
        with self._changed:
            return not self._clips and not self._closed

    def __iter__(self) -> Iterator[AskedClip]:
        while (asked := self._take()) is not None:
            self._open |= {(asked.clip.clip_id, question) for question in asked.questions}
            yield asked

    def answers(self, captioner: Captioner) -> Iterator[Answer | Dropped]:
        """Everything that is put in, answered, until it is closed."""
        while self._wait_for_clip():
            for answer in captioner.answer(self):
                self._open.discard((answer.clip_id, answer.question))
                yield answer
            for clip_id, question in self._open:
                yield Dropped(clip_id, question)
            self._open.clear()

    def _take(self) -> AskedClip | None:
        with self._changed:
            self._changed.wait_for(lambda: self._clips or self._closed)
            return self._clips.popleft() if self._clips else None

    def _wait_for_clip(self) -> bool:
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._clips or self._closed)
                if not self._clips:
                    return False
                if self._clips[0] is not None:
                    return True
                self._clips.popleft()  # a flush of nothing
