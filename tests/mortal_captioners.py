"""Captioners that die on purpose. Module-level, because other processes load them by name."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from vidlabel.captioner import Captioner, EchoCaptioner
from vidlabel.data import Answer, AskedClip
from vidlabel.errors import InputError


@dataclass(frozen=True)
class MortalCaptioner:
    """An echo that takes `depth` clips ahead, as slots do. At a video whose name says so it dies or raises: `dies` and
    `raises` each time, `dies_once` once (it leaves a file); `drops` gets no answer."""

    notes: Path
    depth: int = 3

    def answer(self, clips: Iterable[AskedClip]) -> Iterator[Answer]:
        (self.notes / f"pid-{os.getpid()}").touch()
        held: list[AskedClip] = []
        for asked in clips:
            held.append(asked)
            if len(held) >= self.depth:
                yield from self._say(held.pop(0))
        for asked in held:
            yield from self._say(asked)

    def _say(self, asked: AskedClip) -> Iterator[Answer]:
        path, mark = asked.clip.video.path, self.notes / f"died-{asked.clip.clip_id}".replace("/", "_")
        if "raises" in path:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        if "dies" in path and not ("once" in path and mark.exists()):
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if "drops" not in path:
            yield from EchoCaptioner().answer([asked])


class SlowEcho:
    """An echo that can be killed before it is through."""

    def answer(self, clips: Iterable[AskedClip]) -> Iterator[Answer]:
        for asked in clips:
            time.sleep(0.1)
            yield from EchoCaptioner().answer([asked])


def mortal(notes: Path) -> Captioner:
    return MortalCaptioner(notes)


def refuses() -> Captioner:
    raise InputError("--model x: its weights are not here")


def breaks() -> Captioner:
    raise ZeroDivisionError("a bug in loading")
