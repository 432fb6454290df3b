"""Makes real small video files for tests, good and bad, with PyAV; no other program is needed.

`numbered_frames` puts a number into the picture that `read_number` reads back after lossy coding and any resize.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from vidlabel.data import Clip, Video
from vidlabel.decoders import probe

Image = npt.NDArray[np.uint8]  # (H, W, 3) RGB
NUM_BITS = 12


def write_video(
    path: Path | str,
    frames: Iterable[Image],
    *,
    fps: float = 25,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    gop: int = 12,
    b_frames: int = 2,
    pts: Sequence[float] | None = None,
    start_seconds: float = 0.0,
    rotation: int = 0,
    hflip: bool = False,
    audio_seconds: float = 0.0,
    subtitles: Sequence[tuple[float, float, str]] = (),
    subtitle_codec: str | None = None,
    colorspace: str | None = None,
    full_range: bool = False,
    cover: Image | None = None,
    container_options: dict[str, str] | None = None,
    codec_options: dict[str, str] | None = None,
    format: str | None = None,  # noqa: A002  PyAV's own word
) -> Path:
    """Writes `frames` to `path`; the container follows the file's extension or `format`.

    `pts`: seconds of each frame (variable frame rate), instead of `fps`. `rotation`: degrees counterclockwise that a
    player turns the picture. `cover` puts an attached picture in front of the video (not for mp4: see `cover_mp4`).
    """
    path = Path(path)
    frames = iter(frames)
    first = next(frames, None)
    rate = Fraction(fps).limit_denominator(1001)
    with av.open(str(path), "w", format=format, container_options=container_options or {}) as container:
        if cover is not None:
            _add_cover(container, cover)
        stream = None
        if first is not None:
            stream = container.add_stream(codec, rate=rate, options=codec_options or _codec_options(codec, b_frames))
            stream.height, stream.width = first.shape[:2]
            stream.pix_fmt = pix_fmt
            stream.codec_context.thread_count = 1
            if codec != "gif":
                stream.gop_size = gop
            if pts is not None:
                stream.codec_context.time_base = Fraction(1, 12800)
            if rotation or hflip:
                stream.set_display_rotation(rotation, hflip=hflip)
        audio = container.add_stream("aac", rate=16000) if audio_seconds else None
        captions = _add_captions(container, subtitle_codec or _caption_codec(path)) if subtitles else None
        if stream is not None and first is not None:
            tick = Fraction(1, 12800) if pts is not None else 1 / rate
            for index, image in enumerate(_chain(first, frames)):
                frame = _video_frame(image, pix_fmt, colorspace, full_range)
                seconds = start_seconds + (pts[index] if pts is not None else float(index / rate))
                frame.pts, frame.time_base = round(seconds / tick), tick
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        if audio is not None:
            _write_audio(container, audio, audio_seconds)
        for start, end, text in subtitles:
            _write_caption(container, captions, start, end, text)
    return path


def _chain(first: Image, rest: Iterable[Image]) -> Iterator[Image]:
    yield first
    yield from rest


def _codec_options(codec: str, b_frames: int) -> dict[str, str]:
    if codec in ("libx264", "libx265"):
        quiet = {"x265-params": "log-level=none:pools=1"} if codec == "libx265" else {}
        return {"preset": "ultrafast", "crf": "18", "bf": str(b_frames), **quiet}
    if codec == "libsvtav1":
        return {"preset": "12", "crf": "30"}
    return {"deadline": "realtime", "cpu-used": "8", "crf": "20", "b": "2M"} if codec.startswith("libvpx") else {}


def _caption_codec(path: Path) -> str:
    return {".mp4": "mov_text", ".mov": "mov_text", ".webm": "webvtt"}.get(path.suffix, "subrip")


def _video_frame(image: Image, pix_fmt: str, colorspace: str | None, full_range: bool) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
    if pix_fmt in ("rgb24", "bgr24"):
        return frame.reformat(format=pix_fmt)
    return frame.reformat(
        format=pix_fmt,
        dst_colorspace=colorspace,
        dst_color_range="JPEG" if full_range else None,
        interpolation="ACCURATE_RND",
    )


def _write_audio(container: av.container.OutputContainer, stream: av.AudioStream, seconds: float) -> None:
    total = int(seconds * 16000)
    tone = (np.sin(np.arange(total) * 0.1) * 0.1).astype(np.float32)
    for start in range(0, total, 1024):
        frame = av.AudioFrame.from_ndarray(tone[None, start : start + 1024], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 16000, start, Fraction(1, 16000)
        container.mux(stream.encode(frame))
    container.mux(stream.encode())


def numbered_frames(count: int, width: int = 64, height: int = 48, *, first: int = 0) -> Iterator[Image]:
    """Grey-scale pictures whose number is written as 12 black or white cells, 4 across and 3 down."""
    for number in range(first, first + count):
        bits = [(number >> bit) & 1 for bit in range(NUM_BITS)]
        cells = np.array(bits, np.uint8).reshape(3, 4) * 200 + 28
        rows = (np.arange(height) * 3) // height
        columns = (np.arange(width) * 4) // width
        yield np.repeat(cells[rows][:, columns][:, :, None], 3, axis=2)


def read_number(image: Image) -> int:
    """The number in a picture of `numbered_frames`, at whatever size it is now."""
    height, width = image.shape[:2]
    number = 0
    for bit in range(NUM_BITS):
        row, column = divmod(bit, 4)
        top, left = row * height // 3, column * width // 4
        cell = image[top : top + height // 3, left : left + width // 4]
        core = cell[
            cell.shape[0] // 4 : -(cell.shape[0] // 4) or None, cell.shape[1] // 4 : -(cell.shape[1] // 4) or None
        ]
        number |= int(core.mean() > 128) << bit
    return number


def read_numbers(images: Iterable[Image]) -> list[int]:
    return [read_number(image) for image in images]


def noise_scene(count: int, colour: Sequence[int], *, width: int = 160, height: int = 96, seed: int = 0) -> list[Image]:
    """`count` pictures of soft coloured noise that moves sideways: one scene."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(-50, 50, (height // 8 + 1, width // 8 + 1))
    field = np.kron(coarse, np.ones((8, 8), int))[:height, :width]
    return [
        np.clip(np.roll(field, 2 * index, axis=1)[:, :, None] + np.asarray(colour), 0, 255).astype(np.uint8)
        for index in range(count)
    ]


def fade(frames: Sequence[Image], *, to_black: bool = True) -> list[Image]:
    """The same pictures going down to black, or coming up from it."""
    levels = np.linspace(1.0, 0.0, len(frames)) if to_black else np.linspace(0.0, 1.0, len(frames))
    return [(image * level).astype(np.uint8) for image, level in zip(frames, levels, strict=True)]


def dissolve(before: Sequence[Image], after: Sequence[Image]) -> list[Image]:
    """One scene melting into the other; both of the same length."""
    levels = np.linspace(0.0, 1.0, len(before))
    return [
        (old * (1 - level) + new * level).astype(np.uint8)
        for old, new, level in zip(before, after, levels, strict=True)
    ]


def _add_captions(container: av.container.OutputContainer, codec: str) -> av.stream.Stream:
    stream = container.add_mux_stream(codec)
    stream.time_base = Fraction(1, 1000)
    return stream


def _write_caption(
    container: av.container.OutputContainer, stream: av.stream.Stream, start: float, end: float, text: str
) -> None:
    data = text.encode()
    if container.streams.video and container.format.name in ("mp4", "mov"):
        data = len(data).to_bytes(2, "big") + data  # mov_text: length first
    packet = av.Packet(data)
    packet.pts = packet.dts = round(start * 1000)
    packet.duration, packet.time_base, packet.stream = round((end - start) * 1000), Fraction(1, 1000), stream
    container.mux(packet)


def _add_cover(container: av.container.OutputContainer, image: Image) -> None:
    """A still picture as the first video stream, marked as an attached picture (matroska keeps it as a file)."""
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.height, encoder.width = image.shape[:2]
    encoder.pix_fmt, encoder.time_base = "yuvj420p", Fraction(1, 25)
    frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuvj420p")
    data = b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode()])
    container.add_attachment("cover.jpg", "image/jpeg", data)


def skip_by_edit_list(path: Path, num_frames: int, *, ticks_per_frame: int = 512) -> None:
    """Makes an mp4 start at its frame `num_frames`: a player shows nothing before it."""
    data = bytearray(path.read_bytes())
    at = data.rindex(b"elst") + 12  # past the version and the count of one entry: duration, media time, rate
    duration = int.from_bytes(data[at : at + 4], "big") - num_frames * ticks_per_frame * 1000 // 12800
    data[at : at + 4] = duration.to_bytes(4, "big")
    media_time = int.from_bytes(data[at + 4 : at + 8], "big") + num_frames * ticks_per_frame
    data[at + 4 : at + 8] = media_time.to_bytes(4, "big")
    path.write_bytes(data)


def make_clip(path: Path | str, start_seconds: float = 0.0, end_seconds: float | None = None) -> Clip:
    """A clip of a file; to the end of its video stream where no end is given."""
    info = probe(str(path))
    video = Video("v", Path(path).name, str(path))
    return Clip("v-clip", video, info, start_seconds, end_seconds or start_seconds + info.video_seconds)
