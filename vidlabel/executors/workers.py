"""Decode workers: processes that run one stage of one video at a time and are killed and replaced when they hang or
crash. Built on pebble, because a thread cannot be stopped and the standard pool does not survive a crash."""

from __future__ import annotations

import logging
import multiprocessing
import resource
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from vidlabel.errors import VideoError

if TYPE_CHECKING:
    from pebble import ProcessPool

logger = logging.getLogger(__name__)

# A worker is replaced after so many stages: decoders leak a little, and a run lasts for weeks.
STAGES_PER_WORKER = 500

# Loaded once in the fork server, so that a replaced worker starts in milliseconds instead of seconds.
PRELOADED = ["vidlabel.executors.worker_imports"]


# How often in a row the whole pool may break (a worker killed while it was idle breaks it) before the run gives up.
MAX_RESTARTS = 3

Key = TypeVar("Key")


@dataclass(frozen=True, slots=True)
class _Stage(Generic[Key]):
    """One call in flight, with all it takes to make it again."""

    key: Key
    function: Callable[..., Any]
    args: tuple[object, ...]
    seconds: float


class DecodeWorkers(Generic[Key]):
    """A pool of worker processes, to be used with `with`. Calls go in and come out, in any order, under a key."""

    def __init__(self, *, num_workers: int, memory_mb: int) -> None:
        if num_workers < 1:
            raise ValueError(f"at least one worker is needed, got {num_workers = }")
        self._num_workers = num_workers
        self._memory_mb = memory_mb
        self._pool: ProcessPool | None = None
        self._running: dict[Future[Any], _Stage[Key]] = {}
        self._num_restarts = 0

    def __enter__(self) -> DecodeWorkers[Key]:
        self._start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stop()

    def __len__(self) -> int:
        """Calls in flight, finished ones that were not taken yet among them."""
        return len(self._running)

    def in_flight(self) -> Iterator[Key]:
        return (stage.key for stage in self._running.values())

    def submit(self, key: Key, function: Callable[..., Any], *args: object, seconds: float) -> None:
        """Run `function(*args)` in a worker. After `seconds` of running the worker is killed: the call has failed."""
        self._submit(_Stage(key, function, args, seconds))

    def finished(self, wait_seconds: float) -> list[tuple[Key, Any]]:
        """What has finished, waiting at most so long for a first one: its value, or a VideoError saying why not."""
        done, _ = wait(self._running, timeout=wait_seconds, return_when=FIRST_COMPLETED)
        if any(isinstance(future.exception(), BrokenProcessPool) for future in done):
            self._restart()
            return []
        results = []
        for future in done:
            stage = self._running.pop(future)
            error = future.exception()
            results.append((stage.key, future.result() if error is None else self._explain(error, stage.seconds)))
        if results:
            self._num_restarts = 0
        return results

    def _start(self) -> None:
        from pebble import ProcessPool

        # not fork: this process may hold a CUDA context and running threads
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        self._pool = ProcessPool(
            max_workers=self._num_workers,
            max_tasks=STAGES_PER_WORKER,
            initializer=prepare_worker,
            initargs=(self._memory_mb,),
            context=context,
        )

    def _stop(self) -> None:
        assert self._pool is not None
        self._pool.stop()  # type: ignore[no-untyped-call]  # kills what still runs: its results are no longer wanted
        self._pool.join()

    def _submit(self, stage: _Stage[Key]) -> None:
        assert self._pool is not None, "use DecodeWorkers in a with statement"
        try:
            future = self._pool.schedule(stage.function, args=list(stage.args), timeout=stage.seconds)
        except RuntimeError:  # pebble's word for a pool that broke while nothing was asked of it
            self._restart()
            self._submit(stage)
        else:
            self._running[future] = stage

    def _restart(self) -> None:
        """A new pool for everything that the broken one had not finished."""
        self._num_restarts += 1
        if self._num_restarts > MAX_RESTARTS:
            raise RuntimeError(f"the decode workers broke down {self._num_restarts} times in a row")
        logger.warning("the decode workers broke down and are started again")
        self._stop()
        self._start()
        for future, stage in list(self._running.items()):
            if not future.done() or future.cancelled() or isinstance(future.exception(), BrokenProcessPool):
                del self._running[future]
                self._submit(stage)

    def _explain(self, error: BaseException, seconds: float) -> VideoError:
        if not isinstance(error, VideoError):
            logger.debug("error in a decode worker", exc_info=error)
        return explain(error, seconds=seconds, memory_mb=self._memory_mb)


def prepare_worker(memory_mb: int) -> None:
    """First thing in every worker: its memory limit, one thread each (there is a worker a core), and no core dumps."""
    from vidlabel.decoders.memory import limit_memory
    from vidlabel.executors.worker_imports import single_thread

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    single_thread()
    limit_memory(memory_mb)


def explain(error: BaseException, *, seconds: float, memory_mb: int) -> VideoError:
    """What a worker's error says about the video, as one line."""
    from pebble import ProcessExpired

    if isinstance(error, VideoError):
        return error
    if isinstance(error, TimeoutError):
        return VideoError(f"not done within the time limit of {seconds:.0f} s; the worker was killed")
    if isinstance(error, ProcessExpired):
        return VideoError(f"the decoder crashed ({_exit_name(error.exitcode)}); the worker was replaced")
    if isinstance(error, MemoryError):
        return VideoError(f"needs more than the memory limit of {memory_mb} MB")
    # anything else that a stage raises is about this one video's file: the run must survive every file
    return VideoError(f"unexpected {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}".rstrip())


def _exit_name(exitcode: int | None) -> str:
    if exitcode is None:
        return "no exit code"
    if exitcode < 0:
        try:
            return signal.Signals(-exitcode).name
        except ValueError:
            return f"signal {-exitcode}"
    return f"exit code {exitcode}"
