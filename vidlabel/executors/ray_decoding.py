"""Decode workers on all machines of a Ray cluster, behind the same few calls as those of one machine.

Each actor holds a pool of `DecodeWorkers` on its machine: what hangs, crashes or eats memory is killed and replaced
there, in the same way and with the same words. Ray places the actors, starts them again elsewhere when a machine goes
away, runs again what was lost with it, and holds the frames until the captioner's machine has taken them.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic

import numpy as np

from vidlabel.config import FrameSettings
from vidlabel.data import Clip, Frames
from vidlabel.errors import VideoError
from vidlabel.executors.handover import Sent
from vidlabel.executors.workers import DecodeWorkers, Key

WORKERS_PER_ACTOR = 4  # a machine with many cores holds several actors
_POLL_SECONDS = 0.003  # in an actor, while its workers are at something
_MAX_RETRIES = 3  # after the loss of a machine or of an actor's process


@dataclass(frozen=True, slots=True, eq=False)
class RemoteFrames(Frames):
    """Frames whose pixels are elsewhere: `images` has their shape and takes no memory; `ref` is Ray's name for them."""

    ref: object = None

    @classmethod
    def of(cls, sent: Sent, ref: object) -> RemoteFrames:
        return cls(
            np.broadcast_to(np.uint8(0), sent.shape),
            sent.pts_seconds,
            sent.cues,
            sent.subtitle_source,
            sent.subtitle_language,
            sent.damaged,
            sent.signals,
            ref,
        )


class DecodeActor:
    """In a process of Ray's. Its calls run at once, all in one event loop, so the pool is used from one thread."""

    def __init__(self, num_workers: int, memory_mb: int) -> None:
        # a worker process would import the main module, which is Ray's own start script here
        vars(sys.modules["__main__"]).pop("__file__", None)
        self._workers = DecodeWorkers[int](num_workers=num_workers, memory_mb=memory_mb)
        self._workers.__enter__()
        self._tickets = itertools.count()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._polling: asyncio.Task[None] | None = None

    async def is_up(self) -> bool:
        return True

    async def run(self, function: Callable[..., Any], args: tuple[object, ...], seconds: float) -> Any:
        ticket = next(self._tickets)
        self._workers.submit(ticket, function, *args, seconds=seconds)
        return await self._outcome(ticket)

    async def sample(
        self,
        sample_frames: Callable[[Clip, FrameSettings], Frames],
        clip: Clip,
        settings: FrameSettings,
        seconds: float,
    ) -> tuple[Sent | VideoError, Any]:
        """What is known of the frames, and apart from it their pixels, which stay on this machine until asked for."""
        ticket = next(self._tickets)
        self._workers.sample(ticket, sample_frames, clip, settings, seconds=seconds)
        frames = await self._outcome(ticket)
        return (frames, None) if isinstance(frames, VideoError) else (Sent.of(frames), frames.images)

    async def _outcome(self, ticket: int) -> Any:
        self._waiting[ticket] = asyncio.get_running_loop().create_future()
        if self._polling is None or self._polling.done():
            self._polling = asyncio.create_task(self._poll())
        return await self._waiting[ticket]

    async def _poll(self) -> None:
        while self._waiting:
            for ticket, outcome in self._workers.finished(0.0):
                self._waiting.pop(ticket).set_result(outcome)
            await asyncio.sleep(_POLL_SECONDS)


@dataclass(frozen=True, slots=True)
class _Call(Generic[Key]):
    key: Key
    function: Callable[..., Any]
    args: tuple[object, ...]
    seconds: float
    gives_frames: bool = False


@dataclass(frozen=True, slots=True)
class _Running(Generic[Key]):
    call: _Call[Key]
    actor: int
    images: object = None  # the reference to the frames to come


class RayDecodeWorkers(Generic[Key]):
    """`workers.StageWorkers`, to be used with `with`. Calls wait here until an actor has room."""

    def __init__(self, *, num_workers: int, memory_mb: int) -> None:
        sizes = [min(WORKERS_PER_ACTOR, num_workers - done) for done in range(0, num_workers, WORKERS_PER_ACTOR)]
        self._sizes = sizes
        self._memory_mb = memory_mb
        self._actors: list[Any] = []
        self._starting: dict[Any, int] = {}  # by the reference that tells that an actor is up
        self._room: dict[int, int] = {}  # calls that an actor can take, of those that are up
        self._queue: deque[_Call[Key]] = deque()
        self._running: dict[Any, _Running[Key]] = {}  # by the reference to the outcome

    def __enter__(self) -> RayDecodeWorkers[Key]:
        import ray

        actor_class = ray.remote(DecodeActor)
        for number, size in enumerate(self._sizes):
            # no CPUs are reserved: after the loss of a machine its actors must find room on those that are left, or
            # the videos that they were at would wait for ever
            actor = actor_class.options(
                max_restarts=-1, max_task_retries=_MAX_RETRIES, scheduling_strategy="SPREAD"
            ).remote(size, self._memory_mb)
            self._actors.append(actor)
            self._starting[actor.is_up.remote()] = number
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        import ray

        for actor in self._actors:
            ray.kill(actor)

    def __len__(self) -> int:
        return len(self._queue) + len(self._running)

    def in_flight(self) -> Iterator[Key]:
        yield from (call.key for call in self._queue)
        yield from (running.call.key for running in self._running.values())

    def submit(self, key: Key, function: Callable[..., Any], *args: object, seconds: float) -> None:
        self._queue.append(_Call(key, function, args, seconds))
        self._hand_out()

    def sample(
        self,
        key: Key,
        sample_frames: Callable[[Clip, FrameSettings], Frames],
        clip: Clip,
        settings: FrameSettings,
        *,
        seconds: float,
    ) -> None:
        self._queue.append(_Call(key, sample_frames, (clip, settings), seconds, gives_frames=True))
        self._hand_out()

    def finished(self, wait_seconds: float) -> list[tuple[Key, Any]]:
        import ray

        refs = [*self._starting, *self._running]
        done, _ = ray.wait(refs, num_returns=len(refs), timeout=0) if refs else ([], [])
        if refs and not done and wait_seconds > 0:
            done, _ = ray.wait(refs, num_returns=1, timeout=wait_seconds)
        results = []
        for ref in done:
            if ref in self._starting:
                number = self._starting.pop(ref)
                ray.get(ref)  # raises what kept the actor from starting
                self._room[number] = 2 * self._sizes[number]  # one at work and one at hand for each worker
            else:
                running = self._running.pop(ref)
                self._room[running.actor] += 1
                results.append((running.call.key, _outcome(ref, running)))
        self._hand_out()
        return results

    def _hand_out(self) -> None:
        while self._queue and (number := max(self._room, key=self._room.__getitem__, default=-1)) >= 0:
            if self._room[number] == 0:
                return
            call, actor = self._queue.popleft(), self._actors[number]
            self._room[number] -= 1
            if call.gives_frames:
                sample = actor.sample.options(num_returns=2)
                sent, images = sample.remote(call.function, *call.args, call.seconds)
                self._running[sent] = _Running(call, number, images)
            else:
                ref = actor.run.remote(call.function, call.args, call.seconds)
                self._running[ref] = _Running(call, number)


def _outcome(ref: Any, running: _Running[Any]) -> Any:
    import ray

    try:
        outcome = ray.get(ref)
    except ray.exceptions.RayActorError:
        return VideoError(f"the machine that decoded it went away, {_MAX_RETRIES + 1} times")
    return RemoteFrames.of(outcome, running.images) if isinstance(outcome, Sent) else outcome
