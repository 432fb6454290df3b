"""What a file says of its video, without decoding it (one frame apart)."""

from __future__ import annotations

from vidlabel.data import VideoInfo
from vidlabel.decoders import pictures
from vidlabel.decoders.containers import OpenVideo, open_video
from vidlabel.decoders.pyav import Damage, nothing_decoded, timed_frames
from vidlabel.errors import VideoError

END_SEEK_SECONDS = (0.0, 10.0, 60.0)  # before the claimed end, tried in turn until a packet is met


def probe(location: str) -> VideoInfo:
    """Size, rate, length and codec; VideoError where it is not a video."""
    return probe_start(location)[0]


def probe_start(location: str) -> tuple[VideoInfo, float]:
    """The same, and the seconds of the first frame, which is decoded: only it tells how it is turned."""
    damage = Damage()
    with open_video(location) as video:
        first = next(timed_frames(video, damage), None)
        if first is None:
            raise nothing_decoded(damage)
        first_seconds, frame = first
        width, height = pictures.shown_size(frame)
        rate = video.stream.average_rate or video.stream.guessed_rate
        codec = video.stream.codec_context.codec.canonical_name
        seconds = video.claimed_seconds
    if seconds is None:
        seconds = _read_seconds(location)
    return VideoInfo(width, height, float(rate) if rate else 0.0, seconds, codec), first_seconds


def reference_facts(location: str) -> tuple[float, float]:
    """What the reference goes by: the container's duration (0.0 unknown) and the stream's base frame rate."""
    with open_video(location) as video:
        rate = video.stream.base_rate or video.stream.average_rate
        return (video.container.duration or 0) / 1e6, float(rate) if rate else 0.0


def _read_seconds(location: str) -> float:
    """End of the last packet minus start of the first, from the packets at the end of the file, or from all."""
    import av

    for back_seconds in (*END_SEEK_SECONDS, None):
        with open_video(location) as video:
            start, total = video.start_seconds, video.container.duration
            try:
                if back_seconds is not None:
                    if start is None or not total:
                        continue
                    container_start = video.container.start_time or 0
                    video.container.seek(max(0, container_start + total - round(back_seconds * 1e6)))
                end = _last_end(video)
            except (av.FFmpegError, OSError):
                continue
            if end is not None and end > (start or 0.0):
                return end - (start or 0.0)
    raise VideoError("no frame could be found", permanent=True)


def _last_end(video: OpenVideo) -> float | None:
    """Of the packets from here to the end of the file, or to where it breaks off; None without any."""
    import av

    end, count = None, 0
    try:
        for packet in video.container.demux(video.stream):
            count += packet.size > 0
            time = packet.pts if packet.pts is not None else packet.dts
            if time is not None:
                length = float(packet.duration * video.tick) if packet.duration else video.step_seconds
                end = max(end or 0.0, video.seconds(time) + length)
    except (av.FFmpegError, OSError):
        pass  # cut short: the end is where reading ended
    return end if end is not None else count * video.step_seconds or None
