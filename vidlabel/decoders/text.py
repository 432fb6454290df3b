"""The text of an embedded subtitle track."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from vidlabel.decoders.containers import open_container, origin_seconds

if TYPE_CHECKING:
    from av.packet import Packet
    from av.subtitles.stream import SubtitleStream

TEXT_CODECS = ("subrip", "srt", "mov_text", "webvtt", "ass", "ssa", "text")  # not the ones that are pictures

_OVERRIDE = re.compile(r"\{[^}]*\}")  # {\i1}, {\pos(10,20)}: styling
_TAG = re.compile(r"</?[A-Za-z0-9][^<>]*>")  # <i>, <v Bob>, <00:01.000>


def text_track(location: str) -> list[tuple[float, float, str]]:
    """(start, end, plain text) of the first text subtitle track's events, by start; [] where there is none."""
    import av

    events: list[tuple[float, float, str]] = []
    with open_container(location) as container:
        stream = next((stream for stream in container.streams.subtitles if _has_text(stream)), None)
        if stream is None:
            return []
        origin = origin_seconds(container)
        try:
            for packet in container.demux(stream):
                text = _plain_text(packet)
                if text and packet.pts is not None and packet.duration:
                    start = float(packet.pts * packet.time_base) - origin
                    events.append((start, start + float(packet.duration * packet.time_base), text))
        except (av.FFmpegError, OSError):
            pass  # a file that breaks off: the events up to there
    return sorted(events)


def _has_text(stream: SubtitleStream) -> bool:
    return stream.codec_context is not None and stream.codec_context.name in TEXT_CODECS


def _plain_text(packet: Packet[SubtitleStream]) -> str:
    r"""Without styling; line breaks (\N of ASS, which the decoder makes of all kinds) become real ones."""
    import av

    try:
        rects = packet.decode() if packet.size else []
    except (av.FFmpegError, ValueError):
        return ""  # one damaged event
    lines: list[str] = []
    for rect in rects:
        event = getattr(rect, "ass", b"").decode("utf-8", "replace")
        text = event.split(",", 8)[-1]  # ReadOrder, Layer, Style, Name, MarginL, MarginR, MarginV, Effect, Text
        text = _TAG.sub("", _OVERRIDE.sub("", text)).replace("\\N", "\n").replace("\\n", "\n").replace("\\h", " ")
        lines += [line.strip() for line in text.splitlines() if line.strip()]
    return "\n".join(lines)
