"""Decoding with PyAV: right on every kind of file that was tried, and gives what is there of a damaged one.

Frames come in order of presentation with the seconds of their own timestamps, decoded forward on one thread.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from vidlabel.decoders import pictures
from vidlabel.decoders.containers import OpenVideo, open_video
from vidlabel.decoders.memory import memory_error
from vidlabel.decoders.safety import is_machine_fault
from vidlabel.errors import VideoError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from av.video.frame import VideoFrame

logger = logging.getLogger(__name__)

SEEK_BACK_SECONDS = (0.0, 2.0, 10.0, 60.0)  # before the span, tried in turn until a frame before its start is met

EARLY_SECONDS = 1.0  # a file is cut short when its last frame is that much before the end it claims


@dataclass(slots=True)
class Damage:
    """What was wrong with a file while it was read; None when nothing was."""

    reason: str | None = None

    def note(self, reason: str) -> None:
        self.reason = self.reason or reason


@dataclass(frozen=True, slots=True)
class TimedFrame:
    """A frame of a span; its picture is converted only when asked for."""

    seconds: float
    rgb: Callable[[], npt.NDArray[np.uint8]]  # (H, W, 3), turned as a player shows it
    # cheaper than by way of `rgb`; None where the decoder has no such way. See `pictures.SmallPictures`
    small: Callable[[int, pictures.SmallForm], npt.NDArray[np.uint8]] | None = None
    glance: Callable[[], pictures.Glance] | None = None


def nothing_decoded(damage: Damage) -> VideoError:
    return VideoError(f"no frame could be decoded{f' ({damage.reason})' if damage.reason else ''}", permanent=True)


def decode_frames(video: OpenVideo, damage: Damage) -> Iterator[VideoFrame]:
    """Every frame from here on, past errors where there is a way past them."""
    import av

    context = video.stream.codec_context
    packets = video.container.demux(video.stream)
    video.first_dts = None
    last = False
    while not last:
        try:
            packet = next(packets, None)
        except (av.FFmpegError, OSError) as error:
            if is_machine_fault(error):
                raise VideoError(f"cannot be read: {_short(error)}") from error
            damage.note(f"the file breaks off: {_short(error)}")
            packet = None
        last = packet is None or not packet.size
        if packet is not None and video.first_dts is None:
            video.first_dts = packet.dts
        try:
            frames = context.decode(None if last else packet)
        except MemoryError as error:
            raise memory_error() from error
        except (av.FFmpegError, ValueError) as error:
            if not context.is_open:
                raise VideoError(f"its {context.name} stream cannot be decoded", permanent=True) from error
            damage.note(f"a damaged packet: {_short(error)}")
            continue
        yield from frames


def _short(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def timed_frames(video: OpenVideo, damage: Damage) -> Iterator[tuple[float, VideoFrame]]:
    """Frames with their seconds, always rising.

    A frame without a time of presentation follows the one before it by as much as their decoding times differ.
    """
    last: int | None = None
    last_dts: int | None = None
    for frame in decode_frames(video, damage):
        if frame.pts is not None:
            stamp = frame.pts
        elif last is None:
            stamp = video.first_dts or 0
        elif frame.dts is not None and last_dts is not None:
            stamp = last + frame.dts - last_dts
        else:
            stamp = last + max(1, round(video.step_seconds / video.tick))
        last_dts = frame.dts
        if last is not None and stamp <= last:
            continue  # a clock that jumps back: there is no time to put this frame at
        last = stamp
        yield video.seconds(stamp), frame


def small_frames(location: str, *, width: int = 256) -> Iterator[tuple[float, npt.NDArray[np.uint8]]]:
    """Every frame's seconds and its picture (h, w, 3) BGR, at most `width` wide, unturned: for scene detection.

    A damaged file gives what is there, and the damage is logged. VideoError when not one frame can be decoded.
    """
    damage = Damage()
    seconds = None
    convert = pictures.small_bgr(width)
    with open_video(location) as video:
        for seconds, frame in timed_frames(video, damage):
            yield seconds, convert(frame)
    if seconds is None:
        raise nothing_decoded(damage)
    if damage.reason:
        logger.warning("%s is damaged, read up to %.3f s: %s", location, seconds, damage.reason)


def decode_span(
    location: str, *, start_seconds: float, end_seconds: float, damage: Damage | None = None
) -> Iterator[TimedFrame]:
    """Every frame with start <= seconds < end: one seek to just before the start, then forward."""
    damage = damage if damage is not None else Damage()
    small = pictures.SmallPictures()
    for seconds, frame in span_frames(location, start_seconds=start_seconds, end_seconds=end_seconds, damage=damage):
        yield TimedFrame(
            seconds, partial(pictures.to_rgb, frame), partial(small.picture, frame), partial(small.glance, frame)
        )


def span_frames(
    location: str, *, start_seconds: float, end_seconds: float, damage: Damage
) -> Iterator[tuple[float, VideoFrame]]:
    """The same, as they were decoded."""
    for back_seconds in (*SEEK_BACK_SECONDS, None):
        damage.reason = None
        with open_video(location) as video:
            sought = back_seconds is not None and seek_before(video, start_seconds - back_seconds)
            frames = timed_frames(video, damage)
            first = next(frames, None)
            if sought and (first is None or first[0] > start_seconds):
                continue  # the seek went too far, as it may where the index is by decoding order, or absent
            last = 0.0
            for seconds, frame in itertools.chain([first] if first else [], frames):
                if seconds >= end_seconds:
                    return
                last = seconds
                if seconds >= start_seconds:
                    yield seconds, frame
            if min(end_seconds, video.claimed_end_seconds or 0.0) - last > max(EARLY_SECONDS, 3 * video.step_seconds):
                damage.note(f"the file ends at {last:.3f} s, before its time")
            return


def seek_before(video: OpenVideo, seconds: float) -> bool:
    """To the last keyframe at or before `seconds`; False where the file is to be read from its start instead."""
    import av

    if video.start_seconds is None or seconds <= video.start_seconds:
        return False
    try:
        video.container.seek(video.timestamp(seconds), stream=video.stream)
    except (av.FFmpegError, OSError):
        return False
    return True
