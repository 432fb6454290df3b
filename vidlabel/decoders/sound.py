"""The sound of a file, as mono samples at 16 kHz with their place in time, a short block at a time.

A damaged file gives what can be read; a file without sound gives nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from vidlabel.decoders.containers import open_container, origin_seconds
from vidlabel.decoders.memory import memory_error
from vidlabel.decoders.safety import is_machine_fault
from vidlabel.errors import VideoError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from av.audio.frame import AudioFrame
    from av.audio.resampler import AudioResampler
    from av.audio.stream import AudioStream
    from av.container import InputContainer

SAMPLE_RATE = 16_000
GAP_SECONDS = 0.1  # a block that begins this much beside the end of the one before does not follow it


@dataclass(frozen=True, slots=True, eq=False)
class SoundBlock:
    """Some samples in a row, of a few milliseconds up to a second."""

    start_seconds: float  # in the file's time, that of its pictures
    samples: npt.NDArray[np.float32]  # (N,), in [-1, 1]
    follows: bool  # on the block before; else there is a gap, or this is the first


def sound_blocks(location: str) -> Iterator[SoundBlock]:
    """All of the first or default audio stream. VideoError where the file cannot be opened or the disk fails."""
    with open_container(location) as container:
        stream = cast("AudioStream | None", container.streams.best("audio"))
        if stream is None or stream.codec_context is None:
            return
        expected: float | None = None
        for seconds, samples in _resampled(container, stream):
            follows = expected is not None and (seconds is None or abs(seconds - expected) < GAP_SECONDS)
            if follows:
                assert expected is not None
                start = expected  # counted, so that rounded timestamps of tiny frames do not add up to gaps
            else:
                start = seconds if seconds is not None else expected or 0.0
            expected = start + len(samples) / SAMPLE_RATE
            yield SoundBlock(start, samples, follows)


def _resampled(
    container: InputContainer, stream: AudioStream
) -> Iterator[tuple[float | None, npt.NDArray[np.float32]]]:
    """Start, where it is known, and samples. What the resampler holds back, a few milliseconds, comes with the next."""
    resampler = _resampler()
    origin = origin_seconds(container)
    seconds: float | None = None
    for frame in _frames(container, stream):
        seconds = None if frame.pts is None or frame.time_base is None else float(frame.pts * frame.time_base) - origin
        try:
            pieces = resampler.resample(frame)
        except ValueError:  # the rate or the number of channels changed within the stream
            resampler = _resampler()
            pieces = resampler.resample(frame)
        except MemoryError as error:
            raise memory_error() from error
        for piece in pieces:
            yield seconds, piece.to_ndarray()[0]
            seconds = None
    for piece in resampler.resample(None) if seconds is not None else []:
        yield None, piece.to_ndarray()[0]


def _frames(container: InputContainer, stream: AudioStream) -> Iterator[AudioFrame]:
    """Every frame that can be decoded, past damaged packets, up to where the file breaks off."""
    import av

    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except (av.FFmpegError, OSError) as error:
            if is_machine_fault(error):
                raise VideoError(f"cannot be read: {error}") from error
            return
        if packet is None:
            return
        try:
            yield from packet.decode()
        except MemoryError as error:
            raise memory_error() from error
        except (av.FFmpegError, ValueError):
            if not stream.codec_context.is_open:
                return  # no decoder for it: no sound that we could hear
            continue


def _resampler() -> AudioResampler:
    from av.audio.resampler import AudioResampler

    return AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)
