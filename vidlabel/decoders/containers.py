"""Opening a video file with PyAV, safely, and its first real video stream."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, cast

from vidlabel.decoders import safety
from vidlabel.decoders.memory import memory_error
from vidlabel.errors import VideoError

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

# Formats whose clock starts anywhere; players show such files from 0, and so do we.
FREE_CLOCKS = ("mpegts", "mpeg")

_CLOCK_TIME = re.compile(r"(\d+):(\d+):(\d+(?:\.\d+)?)")


@dataclass(slots=True)
class OpenVideo:
    """An open file, its first real video stream, and how its timestamps become seconds."""

    container: InputContainer
    stream: VideoStream
    first_dts: int | None = None  # of the first packet read after the last seek

    @property
    def tick(self) -> Fraction:
        """Seconds of one unit of the file's timestamps."""
        return self.stream.time_base or Fraction(1, 90_000)

    @property
    def step_seconds(self) -> float:
        """The usual time from one frame to the next."""
        rate = self.stream.average_rate or self.stream.guessed_rate
        return float(1 / rate) if rate else 0.04

    @property
    def start_seconds(self) -> float | None:
        """Of the first frame; None where the file does not say."""
        start = self.stream.start_time
        return None if start is None else self.seconds(start)

    @property
    def claimed_seconds(self) -> float | None:
        """Of the video stream, where its container keeps an exact length."""
        if self.stream.duration and self.container.format.name != "mpeg":  # that one guesses
            return float(self.stream.duration * self.tick)
        return None

    @property
    def claimed_end_seconds(self) -> float | None:
        """Of the last frame; what a file that was cut short still says."""
        if self.claimed_seconds is not None and self.container.format.name not in FREE_CLOCKS:
            return (self.start_seconds or 0.0) + self.claimed_seconds
        tag = _CLOCK_TIME.fullmatch(self.stream.metadata.get("DURATION", ""))  # matroska: in truth the end
        return float(tag[1]) * 3600 + float(tag[2]) * 60 + float(tag[3]) if tag else None

    def seconds(self, timestamp: int) -> float:
        return float(timestamp * self.tick) - origin_seconds(self.container)

    def timestamp(self, seconds: float) -> int:
        return int((seconds + origin_seconds(self.container)) / self.tick)


def origin_seconds(container: InputContainer) -> float:
    """What is taken off a file's timestamps."""
    return (container.start_time or 0) / 1e6 if container.format.name in FREE_CLOCKS else 0.0


@contextmanager
def open_container(location: str) -> Iterator[InputContainer]:
    """The container, on a file that we opened, allowed to open nothing else."""
    import av

    with safety.open_regular(location) as file:
        try:
            container = av.open(
                file,
                "r",
                options=safety.OPTIONS,
                io_open=safety.refuse_other_files,
                buffer_size=1 << 18,
                metadata_errors="replace",
            )
        except MemoryError as error:
            raise memory_error() from error
        except (av.FFmpegError, OSError, ValueError) as error:
            if safety.is_machine_fault(error):
                raise VideoError(f"cannot be read: {error}") from error
            raise VideoError(safety.why_not_a_video(file), permanent=True) from error
        with container:
            if container.format.name == "avi":  # it has no times of presentation; PyAV asks for guesses, wrong ones
                container.flags &= ~cast(int, av.container.Flags.gen_pts.value)
            yield container


@contextmanager
def open_video(location: str) -> Iterator[OpenVideo]:
    """The file's first real video stream: cover art and thumbnails are not."""
    with open_container(location) as container:
        streams = [stream for stream in container.streams.video if not _is_still(stream)]
        if not streams:
            raise VideoError("no video stream", permanent=True)
        context = streams[0].codec_context
        if context is None:
            raise VideoError("no decoder for its video stream", permanent=True)
        safety.check_size(context.width, context.height)
        # one thread: a run has a decode worker for each core, and threads in each would only get in the way
        context.thread_type, context.thread_count = "NONE", 1
        context.options = {"max_pixels": str(safety.MAX_PIXELS)}  # the size may change within the stream
        yield OpenVideo(container, streams[0])


def _is_still(stream: VideoStream) -> bool:
    from av.stream import Disposition

    return bool(stream.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails))
