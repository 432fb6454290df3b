"""Stages and captioners that misbehave on purpose. Module-level, because decode workers import them by name."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

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
            signal.pause()
    if "crashes" in path:
        os.kill(os.getpid(), signal.SIGSEGV)
    if "killed" in path:
        os.kill(os.getpid(), signal.SIGKILL)
    if "bomb" in path:
        np.ones(10**12, np.uint8)
    if "surprises" in path:
        raise ZeroDivisionError("a bug in a decoder")


def _replace(location: str) -> None:
    """Somebody puts another film in the place of this one."""
    path = Path(location)
    other = path.with_name(f".{path.name}.{os.getpid()}")
    other.write_bytes(path.read_bytes() + b"\0" * 8)
    other.replace(path)


def find_clips(video: Video, settings: SceneSettings) -> list[Clip]:
    if "in_frames" not in video.path:
        _misbehave(video.path)
    clips = pipeline.find_clips(video, settings)
    if "replaced_in_scenes" in video.path:
        _replace(video.location)
    return clips


def sample_frames(clip: Clip, settings: FrameSettings) -> Frames:
    _misbehave(clip.video.path)
    frames = pipeline.sample_frames(clip, settings)
    if "replaced_in_frames" in clip.video.path:
        _replace(clip.video.location)
    return frames


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


class FolderSealingCaptioner:
    """An echo during which somebody takes away the right to write into a folder."""

    def __init__(self, folder: Path, *, after: int = 4) -> None:
        self._folder = folder
        self._after = after

    def answer(self, clips: Iterable[AskedClip]) -> Iterator[Answer]:
        for number, asked in enumerate(clips):
            if number == self._after:
                assert seal(self._folder)
            yield from EchoCaptioner().answer([asked])


def seal(folder: Path) -> bool:
    """No more files in there, not even for root; False where that cannot be had."""
    if os.geteuid():
        folder.chmod(0o555)
        return True
    return subprocess.run(["chattr", "+i", str(folder)], capture_output=True, check=False).returncode == 0


def unseal(folder: Path) -> None:
    if os.geteuid():
        folder.chmod(0o755)
    else:
        subprocess.run(["chattr", "-i", str(folder)], check=True)


class WrongClipCaptioner:
    """Gives each answer the id of the clip before it."""

    def answer(self, clips: Iterable[AskedClip]) -> Iterator[Answer]:
        previous = "nobody"
        for asked in clips:
            for question in asked.questions:
                yield Answer(previous, question, "text of another clip")
            previous = asked.clip.clip_id
