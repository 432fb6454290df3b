"""The files that a folder of videos really holds besides videos: each maker writes one and returns its path.

Playlists and scripts point at `other`, a good video or an address, that must never be opened.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from tests.make_videos import numbered_frames, write_video


def empty(folder: Path) -> Path:
    path = folder / "empty.mp4"
    path.touch()
    return path


def random_bytes(folder: Path) -> Path:
    path = folder / "random.mp4"
    path.write_bytes(np.random.default_rng(1).bytes(50_000))
    return path


def zeros(folder: Path) -> Path:
    path = folder / "zeros.mkv"
    path.write_bytes(bytes(50_000))
    return path


def text_file(folder: Path) -> Path:
    path = folder / "notes.mp4"
    path.write_text("This is not a video.\n" * 50)
    return path


def picture(folder: Path) -> Path:
    path = folder / "picture.jpg"
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = 64, 48, "yuvj420p"
    encoder.time_base = Fraction(1, 25)
    image = av.VideoFrame.from_ndarray(next(numbered_frames(1)), format="rgb24").reformat(format="yuvj420p")
    path.write_bytes(b"".join(bytes(packet) for packet in [*encoder.encode(image), *encoder.encode()]))
    return path


def audio_only(folder: Path) -> Path:
    return write_video(folder / "audio.mp4", [], audio_seconds=1.0)


def audio_with_cover(folder: Path) -> Path:
    return write_video(folder / "album.mka", [], audio_seconds=1.0, cover=next(numbered_frames(1)), format="matroska")


def moov_missing(folder: Path) -> Path:
    """An mp4 whose recording was never finished: the index at its end was not written."""
    path = write_video(folder / "no-moov.mp4", numbered_frames(50, 160, 96))
    data = path.read_bytes()
    assert data.rindex(b"moov") > data.index(b"mdat")
    path.write_bytes(data[: data.rindex(b"moov") - 4])
    return path


def truncated(folder: Path, *, name: str = "truncated.mp4", share: float = 0.5, count: int = 100) -> Path:
    """A download that broke off: half the bytes of a file with its index in front."""
    path = write_video(
        folder / name, numbered_frames(count, 160, 96), container_options=_index_in_front(name), codec_options=_HEAVY
    )
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def damaged_inside(folder: Path, *, count: int = 100) -> Path:
    """An mp4 with a stretch of garbage in the middle of its pictures."""
    path = write_video(folder / "damaged.mp4", numbered_frames(count, 160, 96), codec_options=_HEAVY)
    data = bytearray(path.read_bytes())
    media = data.index(b"mdat") + 4
    length = len(data) - media
    middle = slice(media + length * 4 // 10, media + length * 5 // 10)
    data[middle] = np.random.default_rng(2).bytes(middle.stop - middle.start)
    path.write_bytes(data)
    return path


_HEAVY = {"preset": "ultrafast", "qp": "4", "g": "12", "bf": "2", "keyint_min": "12"}


def _index_in_front(name: str) -> dict[str, str]:
    return {"movflags": "faststart"} if name.endswith(".mp4") else {}


def absurd_size(folder: Path) -> Path:
    """A gif whose header claims a picture of 144 million pixels: 576 MB a frame."""
    path = write_video(folder / "absurd.gif", numbered_frames(5), codec="gif", pix_fmt="rgb8")
    data = bytearray(path.read_bytes())
    data[6:10] = struct.pack("<HH", 12000, 12000)
    path.write_bytes(data)
    return path


def hls(path: Path, other: str) -> Path:
    path.write_text(f"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:4\n#EXTINF:4.0,\n{other}\n#EXT-X-ENDLIST\n")
    return path


def concat(path: Path, other: str) -> Path:
    path.write_text(f"ffconcat version 1.0\nfile '{other}'\n")
    return path


def dash(path: Path, other: str) -> Path:
    path.write_text(
        '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'mediaPresentationDuration="PT4S" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period>'
        '<AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1000" codecs="avc1.42c00d" width="64" '
        f'height="48"><BaseURL>{other}</BaseURL></Representation></AdaptationSet></Period></MPD>\n'
    )
    return path


def sdp(path: Path, other: str) -> Path:
    del other  # it names an address and a port, not a file
    path.write_text(
        "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=video 5004 RTP/AVP 96\r\n"
    )
    return path


def smooth(path: Path, other: str) -> Path:
    path.write_text(f"<SmoothStreamingMedia><StreamIndex Url='{other}'/></SmoothStreamingMedia>\n")
    return path


def rtsp_reference(path: Path, other: str) -> Path:
    path.write_text(f"[Reference]\nRef1={other}\n")
    return path


def ram(path: Path, other: str) -> Path:
    path.write_text(f"{other}\n")
    return path


POINTERS: dict[str, Callable[[Path, str], Path]] = {
    "hls": hls,
    "concat": concat,
    "dash": dash,
    "sdp": sdp,
    "smooth": smooth,
    "reference": rtsp_reference,
    "ram": ram,
}


def external_media(folder: Path) -> tuple[Path, Path]:
    """A QuickTime file whose samples are said to lie in another file, and that other file, whose they are."""
    other = write_video(folder / "other.mov", numbered_frames(10), format="mov")
    data = bytearray(other.read_bytes())
    media = data.index(b"mdat")
    length = int.from_bytes(data[media - 4 : media], "big")
    data[media + 4 : media - 4 + length] = bytes(length - 8)  # its own copy is wiped out
    own = b"\0\0\0\x0curl \0\0\0\1"
    at = data.rindex(own, 0, data.index(b"stbl"))
    data[at : at + len(own)] = _alias(other)
    grow = len(_alias(other)) - len(own)
    for box in (b"dref", b"dinf", b"minf", b"mdia", b"trak", b"moov"):
        start = data.rindex(box, 0, at) - 4
        size = int.from_bytes(data[start : start + 4], "big") + grow
        data[start : start + 4] = size.to_bytes(4, "big")
    path = folder / "external.mov"
    path.write_bytes(data)
    return path, other


def _alias(other: Path) -> bytes:
    """A QuickTime alias record with an absolute and a relative path to `other`."""
    volume, name = b"disk", other.name.encode()
    record = bytearray(150)
    record[10] = len(volume)
    record[11 : 11 + len(volume)] = volume
    record[50] = len(name)
    record[51 : 51 + len(name)] = name
    struct.pack_into(">hh", record, 130, 1, 1)  # levels from and to
    absolute = str(other).encode()
    for kind, text in ((2, absolute), (18, absolute)):
        record += struct.pack(">hh", kind, len(text)) + text + b"\0" * (len(text) % 2)
    record += struct.pack(">hh", -1, 0)
    body = b"alis" + b"\0\0\0\0" + bytes(record)
    return struct.pack(">I", len(body) + 4) + body


def fifo(folder: Path) -> Path:
    path = folder / "pipe.mp4"
    os.mkfifo(path)
    return path


def folder_named_video(folder: Path) -> Path:
    path = folder / "folder.mp4"
    path.mkdir()
    return path


def unreadable(folder: Path) -> Path:
    path = write_video(folder / "unreadable.mp4", numbered_frames(5))
    path.chmod(0)
    return path


def missing(folder: Path) -> Path:
    return folder / "missing.mp4"


NOT_VIDEOS: tuple[Callable[[Path], Path], ...] = (
    empty,
    random_bytes,
    zeros,
    text_file,
    picture,
    audio_only,
    audio_with_cover,
    moov_missing,
    absurd_size,
    fifo,
    folder_named_video,
)
