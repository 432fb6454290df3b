"""Frames of a clip on their way from a decode worker to the run: through memory that both see, not the worker's pipe.

A clip's frames are 7 to 14 MB, which are pickled, copied through the pipe and unpickled in 11 ms of the run's own time.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vidlabel.config import FrameSettings
from vidlabel.data import Clip, Cue, Frames


@dataclass(frozen=True, slots=True, eq=False)
class Sent:
    """What goes through the pipe: frames without their pixels."""

    shape: tuple[int, ...]
    pts_seconds: npt.NDArray[np.float64]
    cues: tuple[Cue, ...]
    subtitle_source: str
    damaged: bool
    subtitle_language: str | None = None
    signals: Mapping[str, float | bool | int | str | None] = field(default_factory=dict)

    @classmethod
    def of(cls, frames: Frames) -> Sent:
        shape, pts, cues, source = frames.images.shape, frames.pts_seconds, frames.cues, frames.subtitle_source
        return cls(shape, pts, cues, source, frames.damaged, frames.subtitle_language, frames.signals)

    def with_images(self, images: npt.NDArray[np.uint8]) -> Frames:
        return Frames(
            images,
            self.pts_seconds,
            self.cues,
            self.subtitle_source,
            subtitle_language=self.subtitle_language,
            damaged=self.damaged,
            signals=self.signals,
        )


class FrameMemory:
    """Memory for the frames of one clip, which a worker reaches by path. Gone with this process, however it ends."""

    def __init__(self) -> None:
        if hasattr(os, "memfd_create"):  # not /dev/shm, of which a container often has only 64 MB
            self._file = os.memfd_create("vidlabel-frames", os.MFD_CLOEXEC)
            self.path = f"/proc/{os.getpid()}/fd/{self._file}"
            self._is_named = False
        else:
            self._file, self.path = tempfile.mkstemp(prefix="vidlabel-frames-")
            self._is_named = True

    def receive(self, sent: Sent) -> Frames:
        """The frames that a worker has sampled into this memory, which they keep until they are dropped themselves."""
        return _frames_in(self._file, sent)

    def put(self, frames: Frames) -> Sent:
        """The other way: for another process to `open_frames`."""
        os.pwrite(self._file, np.ascontiguousarray(frames.images).data, 0)
        return Sent.of(frames)

    def close(self) -> None:
        """No more is to come. Frames that were received stay."""
        os.close(self._file)
        if self._is_named:
            Path(self.path).unlink()


def open_frames(path: str, sent: Sent) -> Frames:
    """In another process: the frames that were put into the memory at `path`."""
    with Path(path).open("r+b") as file:
        return _frames_in(file.fileno(), sent)


def sample_into(
    path: str, sample_frames: Callable[[Clip, FrameSettings], Frames], clip: Clip, settings: FrameSettings
) -> Sent:
    """In a worker: sample, and put the pixels where `path` says."""
    frames = sample_frames(clip, settings)
    with Path(path).open("r+b") as file:
        file.write(np.ascontiguousarray(frames.images).data)
    return Sent.of(frames)


def _frames_in(file: int, sent: Sent) -> Frames:
    pixels = mmap.mmap(file, int(np.prod(sent.shape)))
    return sent.with_images(np.frombuffer(pixels, np.uint8).reshape(sent.shape))
