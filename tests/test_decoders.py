"""What comes out of a file is what was put into it: the right frames, at their own times, in their own colours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.make_videos import (
    noise_scene,
    numbered_frames,
    read_number,
    read_numbers,
    skip_by_edit_list,
    write_video,
)
from vidlabel.decoders import Damage, decode_span, probe, small_frames, text_track
from vidlabel.errors import VideoError

COUNT = 40

# file name, how it is written, and the codec's name
KINDS: list[tuple[str, dict[str, Any], str]] = [
    ("h264.mp4", {}, "h264"),
    ("h264.mov", {"colorspace": "ITU709"}, "h264"),
    ("h264.mkv", {}, "h264"),
    ("h264.ts", {}, "h264"),
    ("h264.flv", {}, "h264"),
    ("h264.avi", {}, "h264"),
    ("raw.h264", {}, "h264"),
    ("fragmented.mp4", {"container_options": {"movflags": "frag_keyframe+empty_moov"}}, "h264"),
    ("open-gop.mp4", {"codec": "libx265", "pix_fmt": "yuv420p10le"}, "hevc"),
    ("vp9.webm", {"codec": "libvpx-vp9"}, "vp9"),
    ("vp8.webm", {"codec": "libvpx"}, "vp8"),
    ("av1.mp4", {"codec": "libsvtav1"}, "av1"),
    ("mpeg2.mpg", {"codec": "mpeg2video"}, "mpeg2video"),
    ("mpeg4.avi", {"codec": "mpeg4"}, "mpeg4"),
    ("animated.gif", {"codec": "gif", "pix_fmt": "rgb8"}, "gif"),
    ("motion.mkv", {"codec": "mjpeg", "pix_fmt": "yuvj420p"}, "mjpeg"),
    ("grey.mkv", {"codec": "ffv1", "pix_fmt": "gray"}, "ffv1"),
    ("alpha.mkv", {"codec": "ffv1", "pix_fmt": "bgra"}, "ffv1"),
    ("deep.mkv", {"codec": "ffv1", "pix_fmt": "yuv444p16le"}, "ffv1"),
]


@pytest.mark.parametrize(("name", "how", "codec"), KINDS, ids=[kind[0] for kind in KINDS])
def test_every_kind_of_file_gives_each_frame_once_at_its_time(
    tmp_path: Path, name: str, how: dict[str, Any], codec: str
) -> None:
    path = str(write_video(tmp_path / name, numbered_frames(COUNT), **how))
    info = probe(path)
    assert (info.width, info.height, info.codec) == (64, 48, codec)
    assert info.fps == pytest.approx(25, abs=0.01)
    assert info.video_seconds == pytest.approx(COUNT / 25, abs=0.002)

    frames = list(small_frames(path))
    assert read_numbers(image for _, image in frames) == list(range(COUNT))
    times = np.array([seconds for seconds, _ in frames])
    assert times - times[0] == pytest.approx(np.arange(COUNT) / 25, abs=0.002)


@pytest.mark.parametrize(("name", "how", "codec"), KINDS, ids=[kind[0] for kind in KINDS])
def test_a_span_is_its_own_frames_wherever_it_starts(
    tmp_path: Path, name: str, how: dict[str, Any], codec: str
) -> None:
    path = str(write_video(tmp_path / name, numbered_frames(COUNT), **how))
    times = [seconds for seconds, _ in small_frames(path)]
    for first, last in ((0, 3), (1, 4), (11, 14), (12, 13), (13, 30), (35, 39), (39, 40)):
        end = times[last] if last < COUNT else 1e6
        span = list(decode_span(path, start_seconds=times[first], end_seconds=end))
        assert read_numbers(frame.rgb() for frame in span) == list(range(first, last))
        assert [frame.seconds for frame in span] == times[first:last]


def test_variable_frame_rate_keeps_every_frames_own_time(tmp_path: Path) -> None:
    times = [0.0, 0.02, 0.5, 0.52, 0.9, 2.0, 2.01, 3.7]
    for name in ("vfr.mp4", "vfr.mkv"):
        path = str(write_video(tmp_path / name, numbered_frames(8), pts=times, b_frames=0))
        assert [seconds for seconds, _ in small_frames(path)] == pytest.approx(times, abs=0.0011)
        span = list(decode_span(path, start_seconds=0.5, end_seconds=2.0))
        assert read_numbers(frame.rgb() for frame in span) == [2, 3, 4]


def test_start_time_that_is_not_zero_is_kept(tmp_path: Path) -> None:
    path = str(write_video(tmp_path / "late.mp4", numbered_frames(20), start_seconds=5, audio_seconds=7))
    assert probe(path).video_seconds == pytest.approx(0.8)
    assert next(small_frames(path))[0] == pytest.approx(5.0)
    span = list(decode_span(path, start_seconds=5.2, end_seconds=5.4))
    assert read_numbers(frame.rgb() for frame in span) == [5, 6, 7, 8, 9]
    assert list(decode_span(path, start_seconds=0.0, end_seconds=4.0)) == []


def test_transport_streams_count_from_their_start_as_players_do(tmp_path: Path) -> None:
    path = str(write_video(tmp_path / "late.ts", numbered_frames(40), start_seconds=5000))
    assert next(small_frames(path))[0] == pytest.approx(0.0, abs=0.001)
    span = list(decode_span(path, start_seconds=0.799, end_seconds=0.9))
    assert read_numbers(frame.rgb() for frame in span) == [20, 21, 22]


def test_edit_list_hides_what_it_hides_in_a_player(tmp_path: Path) -> None:
    path = write_video(tmp_path / "edited.mp4", numbered_frames(60))
    skip_by_edit_list(path, 17)
    frames = list(small_frames(str(path)))
    assert read_numbers(image for _, image in frames) == list(range(17, 60))
    assert frames[0][0] == 0.0
    assert probe(str(path)).video_seconds == pytest.approx(43 / 25)
    span = list(decode_span(str(path), start_seconds=0.4, end_seconds=0.48))
    assert read_numbers(frame.rgb() for frame in span) == [27, 28]


def test_length_is_that_of_the_video_stream_not_of_the_sound(tmp_path: Path) -> None:
    for name in ("long-sound.mp4", "long-sound.mkv", "long-sound.flv"):
        path = write_video(tmp_path / name, numbered_frames(50), audio_seconds=6)
        assert probe(str(path)).video_seconds == pytest.approx(2.0, abs=0.002)


def test_cover_art_is_not_the_video(tmp_path: Path) -> None:
    cover = np.full((90, 120, 3), 255, np.uint8)
    path = str(write_video(tmp_path / "covered.mkv", numbered_frames(10), cover=cover))
    with av.open(path) as container:
        assert len(container.streams.video) == 2
    assert (probe(path).width, probe(path).codec) == (64, "h264")
    assert len(list(small_frames(path))) == 10


CORNERS = {"top left": (0, 0), "top right": (0, -1), "bottom left": (-1, 0), "bottom right": (-1, -1)}


@pytest.mark.parametrize(
    ("rotation", "hflip", "corner", "size"),
    [
        (0, False, "top left", (64, 48)),
        (90, False, "bottom left", (48, 64)),
        (180, False, "bottom right", (64, 48)),
        (270, False, "top right", (48, 64)),
        (0, True, "top right", (64, 48)),
        (180, True, "bottom left", (64, 48)),
    ],
)
def test_frames_are_turned_as_a_player_turns_them(
    tmp_path: Path, rotation: int, hflip: bool, corner: str, size: tuple[int, int]
) -> None:
    image = np.zeros((48, 64, 3), np.uint8)
    image[:16, :16] = 255  # white in the top left corner
    path = str(write_video(tmp_path / "turned.mp4", [image] * 5, rotation=rotation, hflip=hflip))
    assert (probe(path).width, probe(path).height) == size
    shown = next(decode_span(path, start_seconds=0, end_seconds=1)).rgb()
    assert shown.shape == (size[1], size[0], 3)
    assert [name for name, place in CORNERS.items() if shown[place].mean() > 128] == [corner]


COLOURS = [(200, 30, 40), (30, 180, 60), (20, 40, 220), (230, 230, 20), (128, 128, 128), (255, 255, 255), (0, 0, 0)]


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv444p"])
@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize(
    ("kr", "kb", "tag"), [(0.299, 0.114, 6), (0.299, 0.114, 2), (0.2126, 0.0722, 1), (0.2627, 0.0593, 9)]
)
def test_colours_follow_the_files_matrix_and_range(
    tmp_path: Path, kr: float, kb: float, tag: int, full_range: bool, pix_fmt: str
) -> None:
    picture = np.repeat(np.repeat(np.array(COLOURS, np.uint8)[None], 32, axis=1), 32, axis=0)
    path = _write_yuv(tmp_path / "colours.mkv", picture, kr=kr, kb=kb, tag=tag, full_range=full_range, pix_fmt=pix_fmt)
    frame = next(decode_span(str(path), start_seconds=0, end_seconds=1))
    assert frame.small is not None
    for shown in (frame.rgb(), frame.small(112, "rgb24")):
        middles = shown[len(shown) // 2, len(shown) // 2 :: len(shown)].astype(int)
        assert np.abs(middles - np.array(COLOURS)).max() <= 2


def _write_yuv(path: Path, picture: Any, *, kr: float, kb: float, tag: int, full_range: bool, pix_fmt: str) -> Path:
    """Lossless, with luma and chroma worked out here and not by the library under test."""
    red, green, blue = (picture[..., channel] / 255 for channel in range(3))
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    chroma = [(blue - luma) / (2 - 2 * kb), (red - luma) / (2 - 2 * kr)]
    planes = [luma * 255 if full_range else luma * 219 + 16, *(c * (255 if full_range else 224) + 128 for c in chroma)]
    frame = av.VideoFrame(picture.shape[1], picture.shape[0], pix_fmt)
    for index, (plane, values) in enumerate(zip(frame.planes, planes, strict=True)):
        step = 2 if index and pix_fmt == "yuv420p" else 1
        padded = np.zeros((plane.height, plane.line_size), np.uint8)
        padded[:, : plane.width] = np.clip(np.round(values[::step, ::step]), 0, 255)
        plane.update(padded.tobytes())
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, pix_fmt
        stream.codec_context.colorspace, stream.codec_context.color_range = tag, 2 if full_range else 1
        frame.pts, frame.colorspace, frame.color_range = 0, tag, 2 if full_range else 1
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_small_frames_are_small_blue_first_and_never_enlarged(tmp_path: Path) -> None:
    red = [np.full((180, 320, 3), (250, 0, 0), np.uint8)] * 3
    path = str(write_video(tmp_path / "red.mp4", red))
    _, image = next(small_frames(path, width=160))
    assert image.shape == (90, 160, 3)
    assert image[45, 80, 2] > 200 > 50 > image[45, 80, 0]
    assert next(small_frames(path, width=1000))[1].shape == (180, 320, 3)


def test_picture_size_may_change_within_a_stream(tmp_path: Path) -> None:
    path = tmp_path / "two-sizes.ts"
    first = write_video(tmp_path / "a.ts", noise_scene(10, (90, 90, 90), width=160, height=96))
    second = write_video(tmp_path / "b.ts", noise_scene(10, (90, 90, 90), width=96, height=64), start_seconds=0.4)
    path.write_bytes(first.read_bytes() + second.read_bytes())
    shapes = [frame.rgb().shape for frame in decode_span(str(path), start_seconds=0, end_seconds=9)]
    assert set(shapes) == {(96, 160, 3), (64, 96, 3)}


def test_keyframes_far_apart_are_no_obstacle(tmp_path: Path) -> None:
    path = str(write_video(tmp_path / "one-key.mkv", numbered_frames(300), gop=1000))
    span = list(decode_span(path, start_seconds=10.0, end_seconds=10.08))
    assert read_numbers(frame.rgb() for frame in span) == [250, 251]


def test_pictures_are_converted_only_when_asked_for(numbered_mp4: Path) -> None:
    frames = list(decode_span(str(numbered_mp4), start_seconds=1.0, end_seconds=1.2))
    assert [read_number(frames[index].rgb()) for index in (4, 0)] == [29, 25]


def test_an_undamaged_file_is_not_called_damaged(numbered_mp4: Path) -> None:
    damage = Damage()
    assert len(list(decode_span(str(numbered_mp4), start_seconds=0.0, end_seconds=99.0, damage=damage))) == 100
    assert damage.reason is None


@pytest.mark.parametrize(
    ("name", "codec"),
    [("text.mkv", "subrip"), ("text.mp4", "mov_text"), ("text.webm", "webvtt"), ("text.mkv", "ass")],
)
def test_text_track_is_plain_text_with_its_times(tmp_path: Path, name: str, codec: str) -> None:
    texts = ["Hello, you there", "你好", "<i>two</i>\nlines"]
    if codec == "ass":
        texts = [f"{index},0,Default,,0,0,0,,{{\\i1}}{text}" for index, text in enumerate(texts)]
        texts[2] = texts[2].replace("\n", "\\N")
    cues = [(0.5, 1.0, texts[0]), (1.0, 1.5, texts[1]), (3.0, 3.5, texts[2])]
    codecs = {"codec": "libvpx"} if name.endswith("webm") else {}
    path = write_video(tmp_path / name, numbered_frames(100), subtitles=cues, subtitle_codec=codec, **codecs)
    assert text_track(str(path)) == [
        (0.5, 1.0, "Hello, you there"),
        (1.0, 1.5, "你好"),
        (3.0, 3.5, "two\nlines"),
    ]


def test_no_text_track_is_no_text(numbered_mp4: Path) -> None:
    assert text_track(str(numbered_mp4)) == []


def test_a_codec_without_a_decoder_is_named(tmp_path: Path) -> None:
    path = write_video(tmp_path / "unknown.mkv", numbered_frames(5), codec="ffv1", pix_fmt="gray")
    data = path.read_bytes()
    path.write_bytes(data.replace(b"V_FFV1", b"V_XYZ1"))
    with pytest.raises(VideoError) as caught:
        probe(str(path))
    assert caught.value.permanent


@pytest.mark.parametrize("tag", [0, 3, 8, 13, 14, 15])
def test_colour_matrix_that_makes_no_sense_is_taken_as_not_named(tmp_path: Path, tag: int) -> None:
    picture = np.repeat(np.repeat(np.array(COLOURS, np.uint8)[None], 32, axis=1), 32, axis=0)
    how: dict[str, Any] = {"kr": 0.299, "kb": 0.114, "tag": tag, "full_range": False, "pix_fmt": "yuv420p"}
    path = str(_write_yuv(tmp_path / "colours.mkv", picture, **how))
    shown = next(decode_span(path, start_seconds=0, end_seconds=1)).rgb()
    assert np.abs(shown[16, 16::32].astype(int) - np.array(COLOURS)).max() <= 2
    _, small = next(small_frames(path))
    assert np.abs(small[16, 16::32, ::-1].astype(int) - np.array(COLOURS)).max() <= 2
