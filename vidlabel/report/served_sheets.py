"""Contact sheets made when they are asked for, and held in memory only: a review writes nothing but its decisions."""

from __future__ import annotations

import queue
import threading
from collections import OrderedDict
from concurrent.futures import Future
from types import TracebackType

from vidlabel.config import Limits
from vidlabel.errors import VideoError
from vidlabel.executors.workers import DecodeWorkers
from vidlabel.report.sheets import Strip, submit

_KEPT = 2_000  # of about 15 KB each
_TICK_SECONDS = 0.1

Sheet = bytes | VideoError


class ServedSheets:
    """To be used with `with`. Any thread may ask; one thread of its own drives the decode workers."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._made: OrderedDict[Strip, Future[Sheet]] = OrderedDict()
        # the latest first: whoever scrolls past a hundred clips looks at the last of them
        self._asked: queue.LifoQueue[tuple[Strip, Future[Sheet]]] = queue.LifoQueue()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._drive, name="contact sheets", daemon=True)

    def __enter__(self) -> ServedSheets:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._closing.set()
        self._thread.join()

    def get(self, strip: Strip) -> Sheet:
        """Waits until it is made."""
        with self._lock:
            if self._closing.is_set():
                return VideoError("the review has ended, or its decode workers have")
            future = self._made.get(strip)
            if future is None:
                future = self._made[strip] = Future()
                self._asked.put((strip, future))
            self._made.move_to_end(strip)
            while len(self._made) > _KEPT:
                self._made.popitem(last=False)
        return future.result()

    def _drive(self) -> None:
        waiting: dict[int, Future[Sheet]] = {}
        try:
            # the workers start with the first question, for they take seconds to
            first = self._next(wait_seconds=None)
            if first is not None:
                with DecodeWorkers[int](
                    num_workers=self._limits.num_workers, memory_mb=self._limits.memory_mb
                ) as workers:
                    self._serve(workers, first, waiting)
        finally:
            with self._lock:  # whoever asks from now on is told, and whoever asked before is here
                self._closing.set()
                while not self._asked.empty():
                    waiting[-1 - len(waiting)] = self._asked.get()[1]
            for future in waiting.values():
                future.set_result(VideoError("the review has ended"))

    def _serve(
        self, workers: DecodeWorkers[int], first: tuple[Strip, Future[Sheet]], waiting: dict[int, Future[Sheet]]
    ) -> None:
        number = 0
        asked: tuple[Strip, Future[Sheet]] | None = first
        while not self._closing.is_set():
            if asked is not None:
                strip, future = asked
                refused = submit(workers, number, strip, self._limits)
                if refused is None:
                    waiting[number] = future
                else:
                    future.set_result(refused)
                number += 1
            for done, outcome in workers.finished(_TICK_SECONDS) if len(workers) else []:
                waiting.pop(done).set_result(outcome)
            has_room = len(workers) < self._limits.num_workers
            asked = self._next(wait_seconds=0.0 if len(workers) else _TICK_SECONDS) if has_room else None

    def _next(self, *, wait_seconds: float | None) -> tuple[Strip, Future[Sheet]] | None:
        """None: not for ever, so that the end is noticed."""
        while not self._closing.is_set():
            try:
                return self._asked.get(timeout=_TICK_SECONDS if wait_seconds is None else max(wait_seconds, 1e-3))
            except queue.Empty:
                if wait_seconds is not None:
                    return None
        return None
