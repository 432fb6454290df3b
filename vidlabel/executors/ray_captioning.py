"""Captioners as Ray actors: each loads its own model and has many clips in flight, so that its slots stay full.

An actor that ends (killed, out of memory, its machine gone) is replaced, on whatever machine Ray has for it; what it
had is asked again by `asking.ManyCaptioners`.
"""

from __future__ import annotations

import asyncio
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import numpy as np

from vidlabel.captioner import Captioner
from vidlabel.data import Answer, AskedClip, Clip, Question
from vidlabel.errors import InputError
from vidlabel.executors.asking import Died, Event
from vidlabel.executors.handover import Sent
from vidlabel.executors.inbox import Dropped, Inbox
from vidlabel.executors.ray_decoding import RemoteFrames

_POLL_SECONDS = 0.01
MAX_STARTS = 3  # in a row that end before the model is loaded

Load = Callable[[], Captioner]


class CaptionerActor:
    """In a process of Ray's: an event loop for the calls, and a thread in which the captioner answers them."""

    def __init__(self) -> None:
        self._inbox = Inbox()
        self._open: dict[tuple[str, Question], _Call] = {}
        self._num_asked = 0
        self._broke: str | None = None

    async def load(self, load: Load) -> str | None:
        """None when the model is loaded, or what is wrong with the user's input."""
        try:
            captioner = await asyncio.to_thread(load)
        except InputError as error:
            return str(error)
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._answer, args=(captioner, loop), daemon=True).start()
        return None

    async def ask(
        self, clip: Clip, questions: tuple[Question, ...], seed: int, sent: Sent, images: Any
    ) -> list[Answer | Dropped]:
        """The answers to all questions about a clip."""
        if self._broke is not None:
            raise RuntimeError(self._broke)
        call = _Call(len(questions), asyncio.get_running_loop().create_future())
        self._open |= {(clip.clip_id, question): call for question in questions}
        frames = sent.with_images(np.array(images))  # a copy, so that Ray's memory is free again
        self._inbox.put(AskedClip(clip, frames, questions, seed))
        self._num_asked += 1
        return await call.done

    async def flush(self, num_asked: int) -> None:
        """After so many calls of `ask`, which this one may overtake while their frames are on the way."""
        while self._num_asked < num_asked:
            await asyncio.sleep(_POLL_SECONDS)
        self._inbox.put(None)

    def _answer(self, captioner: Captioner, loop: asyncio.AbstractEventLoop) -> None:
        try:
            for event in self._inbox.answers(captioner):
                loop.call_soon_threadsafe(self._take, event)
        except Exception:  # noqa: BLE001  whatever a model raises: the run decides what becomes of its clips
            loop.call_soon_threadsafe(self._break, traceback.format_exc())

    def _take(self, event: Answer | Dropped) -> None:
        call = self._open.pop((event.clip_id, event.question))
        call.events.append(event)
        if len(call.events) == call.num_questions:
            call.done.set_result(call.events)

    def _break(self, text: str) -> None:
        self._broke = text
        for call in self._open.values():
            if not call.done.done():
                call.done.set_exception(RuntimeError(text))


@dataclass(slots=True)
class _Call:
    num_questions: int
    done: asyncio.Future[list[Answer | Dropped]]
    events: list[Answer | Dropped] = field(default_factory=list)


@dataclass(slots=True)
class _Actor:
    handle: Any
    loading: Any  # the reference that tells that it is up; None when it is
    num_asked: int = 0
    asked: set[Any] = field(default_factory=set)  # references to answers to come


class RayCaptioners:
    """`asking.Captioners`, to be used with `with`."""

    def __init__(self, load: Load, *, count: int, gpus_each: float) -> None:
        self._load = load
        self._count = count
        self._gpus_each = gpus_each
        self._actors: dict[int, _Actor] = {}
        self._num_starts: dict[int, int] = {}

    def __enter__(self) -> RayCaptioners:
        for number in range(self._count):
            self._start(number)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        import ray

        for one in self._actors.values():
            ray.kill(one.handle)

    def ready(self) -> list[int]:
        return [number for number, one in self._actors.items() if one.loading is None]

    def send(self, number: int, asked: AskedClip) -> None:
        one, frames = self._actors[number], asked.frames
        images = frames.ref if isinstance(frames, RemoteFrames) else frames.images
        one.num_asked += 1
        one.asked.add(one.handle.ask.remote(asked.clip, asked.questions, asked.seed, Sent.of(frames), images))

    def flush(self, number: int) -> None:
        one = self._actors[number]
        one.handle.flush.remote(one.num_asked)

    def poll(self, wait_seconds: float) -> list[Event]:
        import ray

        refs = [ref for one in self._actors.values() for ref in (*one.asked, *([one.loading] if one.loading else []))]
        done, _ = ray.wait(refs, num_returns=len(refs), timeout=0) if refs else ([], [])
        if refs and not done:
            done, _ = ray.wait(refs, num_returns=1, timeout=wait_seconds)
        ready = set(done)
        return [event for number in list(self._actors) for event in self._read(number, ready)]

    def _start(self, number: int) -> None:
        import ray

        actor_class = ray.remote(CaptionerActor)
        handle = actor_class.options(num_cpus=0, num_gpus=self._gpus_each, max_restarts=0).remote()
        self._actors[number] = _Actor(handle, handle.load.remote(self._load))
        self._num_starts[number] = self._num_starts.get(number, 0) + 1

    def _read(self, number: int, done: set[Any]) -> list[Event]:
        import ray

        one = self._actors[number]
        events: list[Event] = []
        try:
            if one.loading in done:
                if (refusal := ray.get(one.loading)) is not None:
                    raise InputError(refusal)
                one.loading, self._num_starts[number] = None, 0
            for ref in one.asked & done:
                events += ray.get(ref)
                one.asked.discard(ref)
        except ray.exceptions.RayError as error:
            if one.loading is not None and (
                isinstance(error, ray.exceptions.RayTaskError) or self._num_starts[number] >= MAX_STARTS
            ):
                raise RuntimeError(f"captioner {number} could not load its model: {error}") from error
            ray.kill(one.handle)
            self._start(number)
            events.append(Died(number, _reason(error)))
        return events


def _reason(error: Exception) -> str:
    """The last line of a traceback, or what Ray says of a process that ended."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[-1].strip() if "Traceback" in str(error) else lines[0].strip()
