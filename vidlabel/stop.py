"""When a run should end early: a signal, or its time budget. Asked often, never interrupts anything by itself."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any


class Stop:
    """Use with `with`: SIGINT and SIGTERM then ask for a stop instead of killing. A second one kills as usual."""

    def __init__(self, *, time_budget_seconds: float | None = None) -> None:
        self.signal_number: int | None = None
        self._deadline = None if time_budget_seconds is None else time.monotonic() + time_budget_seconds
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():  # elsewhere Python allows no handlers
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._received)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._restore()

    def requested(self) -> bool:
        return self.signal_number is not None or self.out_of_time()

    def out_of_time(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline

    def _received(self, number: int, frame: FrameType | None) -> None:
        self.signal_number = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()
