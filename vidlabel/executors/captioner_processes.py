"""Captioners on this machine, one process each: one a GPU, or several where asked for. Each loads its own model.

A process ends when its parent does, however that ends: it reads from a pipe that is then closed.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Container
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from queue import SimpleQueue
from types import TracebackType

from vidlabel.captioner import Captioner
from vidlabel.cores import available_cores
from vidlabel.data import Answer, AskedClip, Clip, Question
from vidlabel.errors import InputError
from vidlabel.executors.asking import Died, Event
from vidlabel.executors.handover import FrameMemory, Sent, open_frames
from vidlabel.executors.inbox import Dropped, Inbox
from vidlabel.executors.workers import PRELOADED

_END_SECONDS = 5.0  # for a process that is told to end; then it is killed

Load = Callable[[], Captioner]


@dataclass(frozen=True, slots=True)
class _Ask:
    """A clip on its way to a process. Its pixels are in the memory at `path`."""

    clip: Clip
    questions: tuple[Question, ...]
    seed: int
    sent: Sent
    path: str


@dataclass(frozen=True, slots=True)
class _Received:
    """The process has the frames: their memory can be closed here."""

    path: str


@dataclass(frozen=True, slots=True)
class _Ready:
    """The model is loaded."""


@dataclass(frozen=True, slots=True)
class _Broke:
    """The captioner raised, and its process ends."""

    text: str  # the traceback
    refusal: str | None = None  # an InputError's line


@dataclass(slots=True)
class _Process:
    process: ForkServerProcess
    connection: Connection
    memories: dict[str, FrameMemory]  # sent and not received yet
    ready: bool = False
    broke: _Broke | None = None


class CaptionerProcesses:
    """`asking.Captioners`, to be used with `with`. `load` is pickled, so it is a function of a module or a partial."""

    def __init__(self, load: Load, *, count: int, devices: tuple[str, ...] = ()) -> None:
        """`devices`: names of GPUs as CUDA_VISIBLE_DEVICES has them, taken in turn; empty on a machine without."""
        self._load = load
        self._count = count
        self._devices = devices
        self._processes: dict[int, _Process] = {}

    def __enter__(self) -> CaptionerProcesses:
        for number in range(self._count):
            self._start(number)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for one in self._processes.values():
            one.connection.close()  # which tells it to end
            if kind is not None:
                one.process.kill()
        for one in self._processes.values():
            one.process.join(_END_SECONDS)
            if one.process.is_alive():
                one.process.kill()
                one.process.join()
            _close_memories(one)

    def process_ids(self) -> list[int]:
        return [pid for one in self._processes.values() if (pid := one.process.pid) is not None]

    def ready(self) -> list[int]:
        return [number for number, one in self._processes.items() if one.ready]

    def send(self, number: int, asked: AskedClip) -> None:
        one, memory = self._processes[number], FrameMemory()
        one.memories[memory.path] = memory
        self._tell(one, _Ask(asked.clip, asked.questions, asked.seed, memory.put(asked.frames), memory.path))

    def flush(self, number: int) -> None:
        self._tell(self._processes[number], None)

    def poll(self, wait_seconds: float) -> list[Event]:
        readable = wait([one.connection for one in self._processes.values()], wait_seconds)
        return [event for number in list(self._processes) for event in self._read(number, readable)]

    def _start(self, number: int) -> None:
        context = multiprocessing.get_context("forkserver")  # as for decode workers: torch is imported there already
        context.set_forkserver_preload(PRELOADED)
        here, there = context.Pipe()
        device = self._devices[number % len(self._devices)] if self._devices else None
        num_threads = max(1, available_cores() // self._count)
        arguments = (there, self._load, device, num_threads)
        process = context.Process(target=serve, args=arguments, name=f"captioner-{number}", daemon=True)
        process.start()
        there.close()  # so that its end is the end of the pipe
        self._processes[number] = _Process(process, here, {})

    def _tell(self, one: _Process, message: _Ask | None) -> None:
        with suppress(OSError):  # it has died: reading from it will say so
            one.connection.send(message)

    def _read(self, number: int, readable: Container[object]) -> list[Event]:
        one = self._processes[number]
        events: list[Event] = []
        try:
            while one.connection in readable and one.connection.poll():
                message = one.connection.recv()
                if isinstance(message, Answer | Dropped):
                    events.append(message)
                elif isinstance(message, _Received):
                    one.memories.pop(message.path).close()
                elif isinstance(message, _Broke):
                    one.broke = message
                else:
                    one.ready = True
        except (EOFError, ConnectionResetError):
            events.append(self._replace(number))
        return events

    def _replace(self, number: int) -> Died:
        one = self._processes[number]
        one.connection.close()
        one.process.join(_END_SECONDS)
        if one.process.is_alive():
            one.process.kill()
            one.process.join()
        _close_memories(one)
        if one.broke is not None and one.broke.refusal is not None:
            raise InputError(one.broke.refusal)
        reason = _ended(one)
        if not one.ready:
            raise RuntimeError(
                f"captioner {number} could not load its model: {one.broke.text if one.broke else reason}"
            )
        self._start(number)
        return Died(number, reason)


def serve(connection: Connection, load: Load, device: str | None, num_threads: int) -> None:
    """In the process: load, then answer until the pipe is closed."""
    for number in (signal.SIGINT, signal.SIGTERM):  # they are the parent's to obey: it lets what is in flight finish
        signal.signal(number, signal.SIG_IGN)
    import torch

    if device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = device  # before CUDA starts here: this process sees its own GPU alone
    else:
        torch.set_num_threads(num_threads)
    # sent by a thread of its own, so that reading never waits for the parent, which may itself be sending
    outgoing: SimpleQueue[object] = SimpleQueue()
    sender = threading.Thread(target=_send, args=(connection, outgoing), daemon=True)
    sender.start()
    try:
        captioner = load()
        outgoing.put(_Ready())
        inbox = Inbox()
        threading.Thread(target=_receive, args=(connection, inbox, outgoing), daemon=True).start()
        for event in inbox.answers(captioner):
            outgoing.put(event)
    except InputError as error:
        outgoing.put(_Broke(traceback.format_exc(), refusal=str(error)))
    except Exception:  # noqa: BLE001  whatever a model raises: the parent decides what becomes of its clips
        outgoing.put(_Broke(traceback.format_exc()))
    outgoing.put(None)
    sender.join()


def _send(connection: Connection, outgoing: SimpleQueue[object]) -> None:
    with suppress(OSError):  # the parent has gone: the thread that reads ends this process
        while (message := outgoing.get()) is not None:
            connection.send(message)


def _receive(connection: Connection, inbox: Inbox, outgoing: SimpleQueue[object]) -> None:
    """In a thread, so that frames are here before they are wanted."""
    while True:
        try:
            message = connection.recv()
            if message is None:
                inbox.put(None)
                continue
            frames = open_frames(message.path, message.sent)
        except (EOFError, OSError):
            os._exit(0)  # told to end, or the parent has gone: nobody wants what is still being made
        outgoing.put(_Received(message.path))
        inbox.put(AskedClip(message.clip, frames, message.questions, message.seed))


def _ended(one: _Process) -> str:
    if one.broke is not None:
        return one.broke.text.strip().splitlines()[-1]
    code = one.process.exitcode
    return f"exit code {code}" if code is None or code >= 0 else signal.Signals(-code).name


def _close_memories(one: _Process) -> None:
    for memory in one.memories.values():
        memory.close()
    one.memories.clear()
