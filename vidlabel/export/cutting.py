"""One clip of a video as a file of its own: frames encoded again, or packets copied. Runs in a decode worker.

Sound is left out: no trainer of video generators that reads these formats hears it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from vidlabel.atomic import whole_file
from vidlabel.decoders.containers import OpenVideo, open_video
from vidlabel.decoders.pictures import display_matrix, to_rgb
from vidlabel.decoders.pyav import SEEK_BACK_SECONDS, Damage, seek_before, span_frames
from vidlabel.errors import VideoError

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

    VideoPacket: TypeAlias = Packet[VideoStream]

LEAST_TICKS = 10_000  # a second, so that frames at any rate keep their times to a tenth of a millisecond
MOST_TICKS = 1_000_000
KEYFRAME_EVERY = 48  # frames: trainers read from the middle of a clip
# no B-frames: they need an edit list, at which decord, which many trainers read with, gives wrong frames
ENCODER = {"preset": "veryfast", "crf": "17", "bf": "0"}


@dataclass(frozen=True, slots=True)
class Cut:
    """A clip file that was made. Early and late: by how much it shows more than the clip."""

    num_frames: int
    width: int
    height: int
    fps: float
    seconds: float
    early_seconds: float = 0.0
    late_seconds: float = 0.0


def cut_exact(location: str, target: str, start_seconds: float, end_seconds: float, multiple: int) -> Cut:
    """Exactly the frames with start <= time < end, without the last few where their number is not N x multiple + 1."""
    import av

    damage = Damage()
    with open_video(location) as video:
        rate = video.stream.average_rate or video.stream.guessed_rate or Fraction(25)
    frames = _trimmed(
        span_frames(location, start_seconds=start_seconds, end_seconds=end_seconds, damage=damage), multiple
    )
    with whole_file(Path(target)) as beside:
        try:
            with _mp4(beside) as container:
                cut = _encode(container, frames, Fraction(rate))
        except av.FFmpegError as error:
            raise VideoError(f"cannot be encoded: {error.strerror}") from error
    return cut


def _trimmed(frames: Iterable[tuple[float, VideoFrame]], multiple: int) -> Iterator[tuple[float, VideoFrame]]:
    held: list[tuple[float, VideoFrame]] = []
    is_first = True
    for frame in frames:
        held.append(frame)
        if is_first or len(held) == multiple:
            yield from held
            held, is_first = [], False


def _encode(container: OutputContainer, frames: Iterator[tuple[float, VideoFrame]], rate: Fraction) -> Cut:
    tick = _tick(rate)
    stream: VideoStream | None = None
    first = last = 0.0
    num_frames = 0
    for seconds, frame in frames:
        picture = _picture(frame, None if stream is None else (stream.width, stream.height))
        if stream is None:
            first = seconds
            stream = _stream(container, picture, rate, tick)
        last = seconds
        num_frames += 1
        picture.pts, picture.time_base = round((seconds - first) / tick), tick
        picture.pict_type = 0  # the source's own keyframes mean nothing here
        container.mux(stream.encode(picture))
    if stream is None:
        raise VideoError("no frame lies in the clip")
    container.mux(stream.encode())
    step = (last - first) / (num_frames - 1) if num_frames > 1 else float(1 / rate)
    return Cut(num_frames, stream.width, stream.height, round(1 / step, 6), last - first + step)


def _stream(container: OutputContainer, picture: VideoFrame, rate: Fraction, tick: Fraction) -> VideoStream:
    stream: VideoStream = container.add_stream("libx264", rate=rate, options=ENCODER)
    stream.width, stream.height = picture.width, picture.height
    stream.pix_fmt = picture.format.name
    context = stream.codec_context
    context.time_base = tick
    context.thread_count = 1  # there is a worker a core
    context.gop_size = KEYFRAME_EVERY
    for name in ("colorspace", "color_range", "color_primaries", "color_trc"):
        if (value := getattr(picture, name, None)) is not None:
            setattr(context, name, value)
    return stream


def _picture(frame: VideoFrame, size: tuple[int, int] | None) -> VideoFrame:
    """As a player shows it, with even sides, in the pixels that every decoder reads."""
    import av
    import numpy as np

    if display_matrix(frame) != (1, 0, 0, 1):
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(to_rgb(frame)), format="rgb24")
    width, height = size or (max(2, frame.width & ~1), max(2, frame.height & ~1))
    form = frame.format.name if frame.format.name in ("yuv420p", "yuvj420p") else "yuv420p"
    if (frame.width, frame.height, frame.format.name) == (width, height, form):
        return frame
    return frame.reformat(width=width, height=height, format=form)


def _tick(rate: Fraction) -> Fraction:
    ticks = rate.numerator
    while ticks < LEAST_TICKS:
        ticks *= 2
    return Fraction(1, min(ticks, MOST_TICKS))


def cut_copy(location: str, target: str, start_seconds: float, end_seconds: float) -> Cut:
    """The packets from the last keyframe at or before the start, as they are: no loss, but it begins early."""
    for back_seconds in (*SEEK_BACK_SECONDS, None):
        with open_video(location) as video:
            is_sought = back_seconds is not None and seek_before(video, start_seconds - back_seconds)
            packets = _packets(video, start_seconds, end_seconds)
            first = next(packets, None)
            if is_sought and (first is None or video.seconds(first.pts or 0) > start_seconds):
                continue  # the seek went too far, as it may where the file has no index
            if first is None:
                break
            return _copied(video, itertools.chain([first], packets), Path(target), start_seconds, end_seconds)
    raise VideoError("no keyframe lies in the clip, or before it; use --cut exact")


def _copied(
    video: OpenVideo, packets: Iterator[VideoPacket], target: Path, start_seconds: float, end_seconds: float
) -> Cut:
    import av

    try:
        with whole_file(target) as beside, _mp4(beside) as container:
            return _copy(video, container, packets, start_seconds, end_seconds)
    except (av.FFmpegError, ValueError) as error:
        codec = video.stream.codec_context.name
        raise VideoError(f"its {codec} packets cannot be copied into mp4 ({error}); use --cut exact") from error


def _copy(
    video: OpenVideo,
    container: OutputContainer,
    packets: Iterator[VideoPacket],
    start_seconds: float,
    end_seconds: float,
) -> Cut:
    source = video.stream
    stream = container.add_stream_from_template(source)
    first: int | None = None
    last = num_frames = 0
    for packet in packets:
        assert packet.pts is not None
        if first is None:
            first = packet.pts
        if packet.pts < first:
            continue  # it leans on frames before the keyframe
        last = max(last, packet.pts + (packet.duration or round(video.step_seconds / video.tick)))
        packet.pts -= first
        packet.dts = None if packet.dts is None else packet.dts - first
        packet.stream = stream
        container.mux(packet)
        num_frames += 1
    assert first is not None, "there is a first packet"
    seconds = float((last - first) * video.tick)
    context = source.codec_context
    return Cut(
        num_frames,
        context.width,
        context.height,
        round(num_frames / seconds, 6) if seconds else 0.0,
        seconds,
        early_seconds=start_seconds - video.seconds(first),
        late_seconds=max(0.0, video.seconds(last) - end_seconds) if end_seconds < float("inf") else 0.0,
    )


def _packets(video: OpenVideo, start_seconds: float, end_seconds: float) -> Iterator[VideoPacket]:
    """From the keyframe on: all that is shown before the end, what that leans on, and what lies between."""
    held: list[VideoPacket] = []  # shown after the end: needed only if something that is not follows
    latest = 0.0
    for packet in _from_keyframe(video, start_seconds):
        if _decoded_seconds(video, packet) >= max(end_seconds, latest):
            break
        held.append(packet)
        if video.seconds(packet.pts or 0) < end_seconds:
            latest = max([latest, *(video.seconds(each.pts or 0) for each in held)])
            yield from held
            held = []
    yield from (packet for packet in held if video.seconds(packet.pts or 0) < latest)


def _from_keyframe(video: OpenVideo, start_seconds: float) -> Iterator[VideoPacket]:
    """From the last keyframe at or before the start, or else the first one after it."""
    lead: list[VideoPacket] = []
    has_begun = False
    for packet in video.container.demux(video.stream):
        if not packet.size:
            continue
        if packet.pts is None:
            raise VideoError("its packets have no times; use --cut exact")
        if has_begun:
            yield packet
            continue
        if packet.is_keyframe and (not lead or video.seconds(packet.pts) <= start_seconds):
            lead = []
        if lead or packet.is_keyframe:
            lead.append(packet)
        if lead and _decoded_seconds(video, packet) > start_seconds:  # no later keyframe is shown before the start
            yield from lead
            has_begun = True
    if not has_begun:
        yield from lead


def _decoded_seconds(video: OpenVideo, packet: VideoPacket) -> float:
    return video.seconds(packet.dts if packet.dts is not None else packet.pts or 0)


def _mp4(path: Path) -> OutputContainer:
    import av

    return av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"})
