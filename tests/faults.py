"""Stages and captioners that misbehave on purpose. Module-level, because decode workers import them by name."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterable, Iterator

import numpy as np

from vidlabel import pipeline
from vidlabel.captioner import EchoCaptioner
from vidlabel.config import FrameSettings, SceneSettings
from vidlabel.data import Answer, AskedClip, Clip, Frames, Video
from vidlabel.pipeline import Stages


def _misbehave(path: str) -> None:
    """Does what the file's name says a decoder does to it."""
    if "never_returns" in path:
        while True:
            time.sleep(60)
    if "crashes" in path:
        os.kill(os.getpid(), signal.SIGSEGV)
    if "killed" in path:
        os.kill(os.getpid(), signal.SIGKILL)
    if "bomb" in path:
        np.ones(10**12, np.uint8)
    if "surprises" in path:
        raise ZeroDivisionError("a bug in a decoder")


def find_clips(video: Video, settings: SceneSettings) -> list[Clip]:
    if "in_frames" not in video.path:
        _misbehave(video.path)
    return pipeline.find_clips(video, settings)


def sample_frames(clip: Clip, settings: FrameSettings) -> Frames:
    _misbehave(clip.video.path)
    return pipeline.sample_frames(clip, settings)


STAGES = Stages(find_clips=find_clips, sample_frames=sample_frames)


class FaultyCaptioner:
    """An echo that, by a seed, drops clips and answers late and out of order; and may raise after some answers."""

    def __init__(self, seed: int, *, drop_share: float = 0.0, hold: int = 0, raise_after: int | None = None) -> None:
        self._random = random.Random(seed)
        self._drop_share = drop_share
        self._hold = hold
        self._raise_after = raise_after

    def answer(self, clips: Iterable[AskedClip]) -> Iterator[Answer]:
        held: list[Answer] = []
        given = 0
        for asked in clips:
            held += [a for a in EchoCaptioner().answer([asked]) if self._random.random() >= self._drop_share]
            self._random.shuffle(held)
            while len(held) > self._hold:
                if given == self._raise_after:
                    raise RuntimeError("the model broke")
                given += 1
                yield held.pop()
        self._random.shuffle(held)
        yield from held


class WrongClipCaptioner:
    """Gives each answer the id of the clip before it."""

    def answer(self, clips: Iterable[AskedClip]) -> Iterator[Answer]:
        previous = "nobody"
        for asked in clips:
            for question in asked.questions:
                yield Answer(previous, question, "text of another clip")
            previous = asked.clip.clip_id
