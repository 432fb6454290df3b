"""While a run works on a store's output: says every half minute that it lives, and sends its parts as they are made."""

from __future__ import annotations

import errno
import logging
import threading
import time
from collections.abc import Callable
from typing import Self

from vidlabel.errors import WriteError
from vidlabel.store_lock import LockLostError, LockTimes, StoreLock

logger = logging.getLogger(__name__)


class Keeper:
    """A thread, to be used with `with`. A store that cannot be reached for a while costs nothing: what is made stays
    here and is sent later. `check` raises when that has lasted too long, or when the lock is lost."""

    def __init__(self, lock: StoreLock, send: Callable[[], None] | None, times: LockTimes) -> None:
        self._lock, self._send, self._times = lock, send, times
        self._reached_at = self._beaten_at = time.monotonic()
        self._lost: LockLostError | None = None
        self._trouble: OSError | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def check(self) -> None:
        if self._lost is not None:
            raise self._lost
        if self._trouble is not None and time.monotonic() - self._reached_at > self._times.patience_seconds:
            raise write_error(self._trouble, self._lock.url)

    def _keep(self) -> None:
        while not self._ended.wait(self._times.push_seconds):
            try:
                self._look()
            except LockLostError as error:
                self._lost = error
                return
            except OSError as error:
                if self._trouble is None:
                    logger.warning("%s; the run goes on, what it makes is kept here and sent later", reason_of(error))
                self._trouble = error

    def _look(self) -> None:
        began = time.monotonic()
        if began - self._beaten_at >= self._times.beat_seconds or self._trouble is not None:
            self._lock.beat()
            self._beaten_at = self._reached_at = began
        if self._send is not None:
            self._send()
            self._reached_at = began
        self._trouble = None


def write_error(error: OSError, url: str) -> WriteError:
    return WriteError(error.errno or errno.EIO, reason_of(error), url)


def reason_of(error: OSError) -> str:
    return " ".join(str(error.strerror or error).split()) or type(error).__name__
