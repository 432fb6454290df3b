"""A pool of worker processes for calls that may hang, crash, be killed by the kernel or outgrow their memory.

Each worker has a pipe of its own and a thread here that attends to it. Nothing is shared between workers, so whatever
happens to one, at whatever moment, is over with it: no lock stays held and no half of a message stays in another's way.
Time limits go by the monotonic clock: setting the machine's clock neither kills a worker nor lets one hang.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import queue
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext

logger = logging.getLogger(__name__)

START_SECONDS = 300.0  # until a worker is ready: the first waits for the fork server's imports, from a slow disk maybe
MAX_STARTS = 4  # in a row, before a worker counts as impossible to start
EXIT_SECONDS = 10.0  # until a killed process is gone; longer only where the disk or the GPU holds it

# multiprocessing keeps a table of all children and looks after all of them whenever one is started or joined: two
# threads doing so at once would take each other's exit codes
_CHILDREN = threading.Lock()


class OutOfTimeError(Exception):
    """A call did not end within its time; its worker was killed."""


class WorkerLostError(Exception):
    """The worker ended in the middle of a call."""

    def __init__(self, exit_code: int | None) -> None:
        super().__init__(f"a worker ended with {exit_code = }")
        self.exit_code = exit_code


class CannotStartError(RuntimeError):
    """Workers end before they are ready: the machine is broken, or short of memory or processes."""


class _IdleWorkerLostError(Exception):
    """The worker ended before the call reached it, which is not the call's fault."""


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    function: Callable[..., Any]
    args: tuple[object, ...]
    seconds: float
    future: Future[Any]


class ProcessPool:
    """Runs calls in `num_workers` processes that start at once, each replaced after `calls_per_worker` calls."""

    def __init__(
        self,
        context: ForkServerContext,
        *,
        num_workers: int,
        calls_per_worker: int,
        prepare: Callable[..., None],
        prepare_args: tuple[object, ...] = (),
    ) -> None:
        self._context = context
        self._calls_per_worker = calls_per_worker
        self._prepare = (prepare, prepare_args)
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._alive: set[_Worker] = set()
        self._threads = [threading.Thread(target=self._attend, daemon=True) for _ in range(num_workers)]
        for thread in self._threads:
            thread.start()

    def submit(self, function: Callable[..., Any], *args: object, seconds: float) -> Future[Any]:
        """The future gets the value, the function's own error, or one of this module's."""
        call = _Call(function, args, seconds, Future())
        self._calls.put(call)
        return call.future

    def stop(self) -> None:
        """Kills what still runs: its results are no longer wanted."""
        self._stopping.set()
        for _ in self._threads:
            self._calls.put(None)
        for worker in list(self._alive):
            worker.kill()
        for thread in self._threads:
            thread.join()

    def _attend(self) -> None:
        """The thread of one worker."""
        worker: _Worker | None = None
        call: _Call | None = None
        try:
            while True:
                if worker is None:
                    worker = self._start()
                call = call or self._calls.get()
                if call is None or self._stopping.is_set():
                    return
                try:
                    self._run(worker, call)
                except _IdleWorkerLostError:
                    logger.warning("a decode worker ended while it was idle and is replaced")
                else:
                    call = None
                if worker.num_calls >= self._calls_per_worker or worker.is_lost:
                    self._end(worker)
                    worker = None
        except CannotStartError as error:
            if not self._stopping.is_set():
                self._refuse(call, error)
        finally:
            if worker is not None:
                self._end(worker)

    def _run(self, worker: _Worker, call: _Call) -> None:
        try:
            value = worker.call(call)
        except _IdleWorkerLostError:
            raise
        except Exception as error:  # noqa: BLE001  whatever it is, it belongs to whoever waits for this call
            call.future.set_exception(error)
        else:
            call.future.set_result(value)

    def _start(self) -> _Worker:
        for attempt in range(MAX_STARTS):
            if self._stopping.is_set():
                break
            if attempt:
                time.sleep(0.5 * attempt)  # what was short may be there again
            try:
                worker = _Worker(self._context, *self._prepare)
            except (OSError, EOFError):  # no process could be made, or the fork server just ended
                continue
            self._alive.add(worker)
            if self._stopping.is_set():  # and `stop` may have looked before this one was there
                worker.kill()
            if worker.is_ready():
                return worker
            self._end(worker)
        raise CannotStartError(f"decode workers end before they are ready, {MAX_STARTS} in a row")

    def _refuse(self, call: _Call | None, error: CannotStartError) -> None:
        call = call or self._calls.get()
        while call is not None:
            call.future.set_exception(error)
            call = self._calls.get()

    def _end(self, worker: _Worker) -> None:
        worker.end()
        self._alive.discard(worker)


class _Worker:
    """A process and our end of its pipe."""

    def __init__(self, context: ForkServerContext, prepare: Callable[..., None], args: tuple[object, ...]) -> None:
        self.num_calls = 0
        self.is_lost = False  # it ended, or was killed and is ending
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, prepare, args), daemon=True)
        try:
            with _CHILDREN:
                self._process.start()
        except BaseException:
            self._pipe.close()
            raise
        finally:
            theirs.close()  # from here on the worker alone has it: when the worker ends, so does the pipe

    def is_ready(self) -> bool:
        """Waits until it is prepared; False when it ended instead."""
        try:
            return bool(self._pipe.poll(START_SECONDS)) and self._pipe.recv() is None
        except (EOFError, OSError):
            return False

    def call(self, call: _Call) -> Any:
        try:
            self._pipe.send((call.function, call.args))
        except OSError:
            self.is_lost = True
            raise _IdleWorkerLostError from None
        self.num_calls += 1
        try:
            if not self._pipe.poll(call.seconds):
                self.kill()
                raise OutOfTimeError
            is_value, outcome = self._pipe.recv()
        except (EOFError, OSError):
            self.is_lost = True
            raise WorkerLostError(self._exit_code()) from None
        if is_value:
            return outcome
        raise outcome

    def kill(self) -> None:
        self.is_lost = True
        with suppress(OSError, ValueError):  # it is gone already
            self._process.kill()

    def end(self) -> None:
        self.kill()
        self._exit_code()
        self._pipe.close()

    def _exit_code(self) -> int | None:
        if not connection.wait([self._process.sentinel], EXIT_SECONDS):
            return None
        with _CHILDREN:
            self._process.join(0)
            return self._process.exitcode


def _work(pipe: connection.Connection[Any, Any], prepare: Callable[..., None], args: tuple[object, ...]) -> None:
    """What a worker does all its life."""
    # Ctrl-C, systemd and Slurm signal all processes of a run; it is for the run to say what becomes of what is begun
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_run, daemon=True).start()
    prepare(*args)
    with suppress(EOFError, OSError):  # the run ended
        pipe.send(None)
        while True:
            function, arguments = pipe.recv()
            _answer(pipe, function, arguments)


def _answer(pipe: connection.Connection[Any, Any], function: Callable[..., Any], args: tuple[object, ...]) -> None:
    outcome: tuple[bool, object]
    try:
        outcome = True, function(*args)
    except Exception as error:  # noqa: BLE001  it is told to the run, which judges it
        outcome = False, _sendable(error)
    try:
        pipe.send(outcome)
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001  a value that cannot be pickled; nothing of it was sent
        pipe.send((False, _sendable(error)))


def _sendable(error: Exception) -> Exception:
    """The error, if it survives the way; else its kind and words."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001  an error's own code runs here
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _end_with_the_run() -> None:
    """A worker that hangs in a broken file must not outlive a run that was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)
