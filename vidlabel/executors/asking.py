"""Many captioners as one: clips go to the least busy, answers come back by id, and one that dies loses nothing.

What a dead captioner had is asked again of another one or of its successor: first along with other clips, then alone,
so that of the clips it died with only the one that kills it becomes a failure.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from vidlabel.data import Answer, AskedClip, Question
from vidlabel.executors.inbox import Dropped

logger = logging.getLogger(__name__)

ALONE_AFTER = 2  # deaths
MAX_DEATHS = 3  # of captioners with one clip: then it is the clip
MAX_DEATHS_IN_A_ROW = 12  # without a single answer between: then it is the machine
_BRIEFLY, _LONG = 0.01, 0.25  # seconds to wait for an answer: while a clip may come any moment, and else


@dataclass(frozen=True, slots=True)
class Died:
    """A captioner ended; another one takes its number."""

    number: int
    reason: str


Event = Answer | Dropped | Died


class Captioners(Protocol):
    """Captioners elsewhere, by number. What was sent to one that died is forgotten by it."""

    def ready(self) -> Collection[int]:
        """Those that have loaded their model."""
        ...

    def send(self, number: int, asked: AskedClip) -> None: ...

    def flush(self, number: int) -> None: ...

    def poll(self, wait_seconds: float) -> list[Event]:
        """What has happened, waiting at most so long for a first event. Raises if a model cannot be loaded."""
        ...


@dataclass(slots=True)
class _Asked:
    """A clip that is with a captioner, or waits to be asked again."""

    asked: AskedClip
    open: list[Question]
    num_deaths: int = 0


class ManyCaptioners:
    """A `Captioner` that hands on to others. `window`: clips that one of them may have, those it waits for included."""

    def __init__(self, captioners: Captioners, *, window: int) -> None:
        self._captioners = captioners
        self._window = window
        self._with: dict[int, list[_Asked]] = {}  # by captioner
        self._of: dict[tuple[str, Question], tuple[int, _Asked]] = {}  # by open question
        self._again: deque[_Asked] = deque()
        self._unflushed: set[int] = set()
        self._deaths_in_a_row = 0

    def answer(self, clips: Iterable[AskedClip]) -> Iterator[Answer]:
        source = _Source(clips)
        while True:
            waits_for_source = self._hand_out(source)
            if source.ended and not self._of and not self._again:
                return
            for event in self._captioners.poll(_BRIEFLY if waits_for_source else _LONG):
                yield from self._take(event)

    def _hand_out(self, source: _Source) -> bool:
        """Sends what can be sent. Whether there is room for more, if only there were more clips."""
        while (number := self._least_busy()) is not None:
            one = self._next_again(number) if self._again else self._next_new(source)
            if one is None:
                break
            self._send(number, one)
        everybody = source.ended or self._again  # nothing more comes until what they have is answered
        for busy in sorted(self._unflushed):
            if everybody or self._has_one_alone(busy):
                self._captioners.flush(busy)
                self._unflushed.discard(busy)
        return number is not None and not source.ended and not self._again

    def _least_busy(self) -> int | None:
        def has_room(number: int) -> bool:
            return len(self._with.get(number, [])) < self._window and not self._has_one_alone(number)

        free = [number for number in self._captioners.ready() if has_room(number)]
        return min(free, key=lambda number: (len(self._with.get(number, [])), number), default=None)

    def _has_one_alone(self, number: int) -> bool:
        return any(one.num_deaths >= ALONE_AFTER for one in self._with.get(number, []))

    def _next_again(self, number: int) -> _Asked | None:
        """One that must be alone waits, and all others with it, until a captioner has nothing else."""
        if self._again[0].num_deaths >= ALONE_AFTER and self._with.get(number):
            return None
        return self._again.popleft()

    def _next_new(self, source: _Source) -> _Asked | None:
        if self._of and source.would_wait():
            return None
        asked = source.next()
        return None if asked is None else _Asked(asked, list(asked.questions))

    def _send(self, number: int, one: _Asked) -> None:
        self._with.setdefault(number, []).append(one)
        for question in one.open:
            self._of[one.asked.clip.clip_id, question] = number, one
        self._unflushed.add(number)
        self._captioners.send(number, replace(one.asked, questions=tuple(one.open)))

    def _take(self, event: Event) -> Iterator[Answer]:
        if isinstance(event, Died):
            yield from self._bury(event)
            return
        number, one = self._of.pop((event.clip_id, event.question), (None, None))
        if one is not None and number is not None:
            one.open.remove(event.question)
            if not one.open:
                self._with[number].remove(one)
        if isinstance(event, Answer):
            self._deaths_in_a_row = 0
            yield event  # also one that nobody waits for: the ledger says what is wrong with it

    def _bury(self, died: Died) -> Iterator[Answer]:
        self._deaths_in_a_row += 1
        if self._deaths_in_a_row > MAX_DEATHS_IN_A_ROW:
            raise RuntimeError(f"captioners died {self._deaths_in_a_row} times without an answer: {died.reason}")
        lost = self._with.pop(died.number, [])
        self._unflushed.discard(died.number)
        logger.warning(
            "captioner %d died (%s) with %d clips; they are asked again", died.number, died.reason, len(lost)
        )
        for one in lost:
            clip_id = one.asked.clip.clip_id
            for question in one.open:
                del self._of[clip_id, question]
            one.num_deaths += 1
            if one.num_deaths < MAX_DEATHS:
                self._again.append(one)
                continue
            error = f"the captioner died {MAX_DEATHS} times with this clip ({died.reason})"
            for question in one.open:
                yield Answer(clip_id, question, "", error=error)
        # those that can go along with others first, and in an order that does not depend on which died
        self._again = deque(sorted(self._again, key=lambda one: one.num_deaths))


class _Source:
    """The clips to come."""

    def __init__(self, clips: Iterable[AskedClip]) -> None:
        self.ended = False
        self._would_wait: Callable[[], bool] | None = getattr(clips, "would_wait", None)
        self._clips = iter(clips)

    def would_wait(self) -> bool:
        return not self.ended and self._would_wait is not None and self._would_wait()

    def next(self) -> AskedClip | None:
        asked = None if self.ended else next(self._clips, None)
        self.ended = asked is None
        return asked
