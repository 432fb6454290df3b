"""Decode workers: processes that run one stage of one video at a time and are killed and replaced when they hang or
crash, because a thread cannot be stopped and the standard pool does not survive a crash."""

from __future__ import annotations

import logging
import multiprocessing
import resource
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Protocol, TypeVar

from vidlabel.config import FrameSettings
from vidlabel.data import Clip, Frames
from vidlabel.errors import VideoError
from vidlabel.executors.handover import FrameMemory, sample_into
from vidlabel.executors.pool import CannotStartError, OutOfTimeError, ProcessPool, WorkerLostError

logger = logging.getLogger(__name__)

# A worker is replaced after so many stages: decoders leak a little, and a run lasts for weeks.
STAGES_PER_WORKER = 500

# Loaded once in the fork server, so that a replaced worker starts in milliseconds instead of seconds.
PRELOADED = ["vidlabel.executors.worker_imports"]

Key = TypeVar("Key")  # of the caller's own


@dataclass(frozen=True, slots=True)
class _Call(Generic[Key]):
    """One call in flight."""

    key: Key
    seconds: float
    memory: FrameMemory | None = None  # for what it samples


class StageWorkers(Protocol[Key]):
    """Where the stages of a video run: processes of this machine, or of many. Calls go in and come out under a key."""

    def __len__(self) -> int: ...

    def in_flight(self) -> Iterator[Key]: ...

    def submit(self, key: Key, function: Callable[..., Any], *args: object, seconds: float) -> None: ...

    def sample(
        self,
        key: Key,
        sample_frames: Callable[[Clip, FrameSettings], Frames],
        clip: Clip,
        settings: FrameSettings,
        *,
        seconds: float,
    ) -> None: ...

    def finished(self, wait_seconds: float) -> list[tuple[Key, Any]]: ...


class DecodeWorkers(Generic[Key]):
    """A pool of worker processes, to be used with `with`. Calls go in and come out, in any order, under a key."""

    def __init__(self, *, num_workers: int, memory_mb: int) -> None:
        if num_workers < 1:
            raise ValueError(f"at least one worker is needed, got {num_workers = }")
        self._num_workers = num_workers
        self._memory_mb = memory_mb
        self._pool: ProcessPool | None = None
        self._running: dict[Future[Any], _Call[Key]] = {}

    def __enter__(self) -> DecodeWorkers[Key]:
        # not fork: this process may hold a CUDA context and running threads
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        self._pool = ProcessPool(
            context,
            num_workers=self._num_workers,
            calls_per_worker=STAGES_PER_WORKER,
            prepare=prepare_worker,
            prepare_args=(self._memory_mb,),
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        assert self._pool is not None
        self._pool.stop()
        for call in self._running.values():
            if call.memory is not None:
                call.memory.close()

    def __len__(self) -> int:
        """Calls in flight, finished ones that were not taken yet among them."""
        return len(self._running)

    def in_flight(self) -> Iterator[Key]:
        return (call.key for call in self._running.values())

    def submit(self, key: Key, function: Callable[..., Any], *args: object, seconds: float) -> None:
        """Run `function(*args)` in a worker. After `seconds` of running the worker is killed: the call has failed."""
        self._submit(_Call(key, seconds), function, args)

    def sample(
        self,
        key: Key,
        sample_frames: Callable[[Clip, FrameSettings], Frames],
        clip: Clip,
        settings: FrameSettings,
        *,
        seconds: float,
    ) -> None:
        """Likewise, for a stage that gives frames: they come through memory, not through the pipe."""
        memory = FrameMemory()
        self._submit(_Call(key, seconds, memory), sample_into, (memory.path, sample_frames, clip, settings))

    def _submit(self, call: _Call[Key], function: Callable[..., Any], args: tuple[object, ...]) -> None:
        assert self._pool is not None, "use DecodeWorkers in a with statement"
        self._running[self._pool.submit(function, *args, seconds=call.seconds)] = call

    def finished(self, wait_seconds: float) -> list[tuple[Key, Any]]:
        """What has finished, waiting at most so long for a first one: its value, or a VideoError saying why not."""
        done, _ = wait(self._running, timeout=wait_seconds, return_when=FIRST_COMPLETED)
        results = []
        for future in done:
            error = future.exception()
            if isinstance(error, CannotStartError):
                raise error
            call = self._running.pop(future)
            results.append((call.key, self._outcome(call, future)))
        return results

    def _outcome(self, call: _Call[Key], future: Future[Any]) -> Any:
        error = future.exception()
        outcome: Any = future.result() if error is None else self._explain(error, call.seconds)
        if call.memory is not None:
            if error is None:
                outcome = call.memory.receive(outcome)
            call.memory.close()
        return outcome

    def _explain(self, error: BaseException, seconds: float) -> VideoError:
        if not isinstance(error, VideoError):
            logger.debug("error in a decode worker", exc_info=error)
        return explain(error, seconds=seconds, memory_mb=self._memory_mb)


def prepare_worker(memory_mb: int) -> None:
    """First thing in every worker: its memory limit, one thread each (there is a worker a core), and no core dumps.

    Where memory runs out for the whole machine, the kernel is to take a worker, which costs a video, and not the run.
    """
    from vidlabel.decoders.memory import limit_memory
    from vidlabel.executors.worker_imports import single_thread

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):  # not Linux, or a container that forbids it
        Path("/proc/self/oom_score_adj").write_text("500")
    single_thread()
    limit_memory(memory_mb)


def explain(error: BaseException, *, seconds: float, memory_mb: int) -> VideoError:
    """What a worker's error says about the video, as one line."""
    if isinstance(error, VideoError):
        return error
    if isinstance(error, OutOfTimeError):
        return VideoError(f"not done within the time limit of {seconds:.0f} s; the worker was killed")
    if isinstance(error, WorkerLostError) and error.exit_code == -signal.SIGKILL:
        return VideoError("the worker was killed (SIGKILL), by the kernel if memory ran out; it was replaced")
    if isinstance(error, WorkerLostError):
        return VideoError(f"the decoder crashed ({_exit_name(error.exit_code)}); the worker was replaced")
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
