"""Bad files cost one clear reason each: never a hang, a crash, or another file or address opened."""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests import make_bad_videos as bad
from tests.conftest import CountingServer
from tests.make_videos import make_clip, numbered_frames, read_numbers, write_video
from vidlabel.config import FrameSettings
from vidlabel.data import Clip, Video, VideoInfo
from vidlabel.decoders import Damage, decode_span, probe, small_frames, text_track
from vidlabel.decoders.safety import check_size
from vidlabel.errors import VideoError
from vidlabel.frames import sample_frames

INFO = VideoInfo(64, 48, 25.0, 4.0, "h264")


def uses(location: str) -> dict[str, Callable[[], object]]:
    """Everything that a run does with a file."""
    clip = Clip("c", Video("v", "v", location), INFO, 0.0, 4.0)
    wanted = FrameSettings(4, 32, subtitles="none")
    with_decord = FrameSettings(4, 32, subtitles="none", decoder="decord")
    return {
        "probe": lambda: probe(location),
        "small_frames": lambda: list(small_frames(location)),
        "decode_span": lambda: list(decode_span(location, start_seconds=0, end_seconds=4)),
        "text_track": lambda: text_track(location),
        "sample_frames": lambda: sample_frames(clip, wanted),
        "sample_frames with decord": lambda: sample_frames(clip, with_decord),
    }


REASONS = {
    bad.empty: "the file is empty",
    bad.random_bytes: "not a video",
    bad.zeros: "not a video",
    bad.text_file: "not a video",
    bad.picture: "a still picture, not a video",
    bad.audio_only: "no video stream",
    bad.audio_with_cover: "no video stream",
    bad.moov_missing: "an mp4 without its index",
    bad.absurd_size: "the picture has no size, or more than 64 megapixels",
    bad.fifo: "a pipe, socket or device, not a file",
    bad.folder_named_video: "a folder, not a file",
}


@pytest.mark.parametrize("make", bad.NOT_VIDEOS, ids=lambda make: make.__name__)
def test_what_is_not_a_video_is_refused_for_good_with_its_reason(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    tried = uses(str(make(tmp_path)))
    if make in (bad.audio_only, bad.audio_with_cover, bad.absurd_size):
        tried.pop("text_track")  # these may have one
    for name, use in tried.items():
        with pytest.raises(VideoError) as caught:
            use()
        assert caught.value.reason.startswith(REASONS[make]), name
        assert caught.value.permanent, name


@pytest.mark.parametrize(
    ("width", "height", "said"), [(12000, 12000, "12000x12000"), (40000, 16, "40000x16"), (0, 9, "no size")]
)
def test_absurd_size_is_refused_before_memory_is_taken(width: int, height: int, said: str) -> None:
    check_size(7680, 4320)
    with pytest.raises(VideoError, match=said):
        check_size(width, height)


def test_missing_file_may_come_back(tmp_path: Path) -> None:
    for use in uses(str(bad.missing(tmp_path))).values():
        with pytest.raises(VideoError, match="no such file") as caught:
            use()
        assert not caught.value.permanent


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_permission_may_be_given_later(tmp_path: Path) -> None:
    for use in uses(str(bad.unreadable(tmp_path))).values():
        with pytest.raises(VideoError, match="permission denied") as caught:
            use()
        assert not caught.value.permanent


def test_path_through_a_file_is_a_reason_too(numbered_mp4: Path) -> None:
    with pytest.raises(VideoError, match="not a directory"):
        probe(str(numbered_mp4 / "inside.mp4"))


@pytest.mark.parametrize("suffix", [".mp4", ".m3u8", ".mpd", ".sdp", ".ffconcat", ".mkv"])
@pytest.mark.parametrize("kind", bad.POINTERS)
def test_playlists_and_scripts_are_refused_whatever_their_name(tmp_path: Path, kind: str, suffix: str) -> None:
    write_video(tmp_path / "other.mp4", numbered_frames(5))
    path = bad.POINTERS[kind](tmp_path / f"list{suffix}", "other.mp4")
    for name, use in uses(str(path)).items():
        with pytest.raises(VideoError, match="not a video") as caught:
            use()
        assert caught.value.permanent, name


@pytest.mark.parametrize("kind", bad.POINTERS)
def test_no_address_is_ever_asked(tmp_path: Path, kind: str, counting_server: CountingServer) -> None:
    path = bad.POINTERS[kind](tmp_path / "list.mp4", counting_server.url)
    for use in uses(str(path)).values():
        with pytest.raises(VideoError):
            use()
    assert counting_server.asked == []


def test_the_traps_would_spring_without_protection(tmp_path: Path, counting_server: CountingServer) -> None:
    """The tests above mean something: a plain open does follow the same files."""
    options = {"protocol_whitelist": "file,http,tcp"}
    with av.open(str(bad.hls(tmp_path / "list.m3u8", counting_server.url)), options=options) as plain:
        assert plain.format.name == "hls"
    assert counting_server.asked
    write_video(tmp_path / "other.mp4", numbered_frames(5))
    with av.open(str(bad.concat(tmp_path / "list.mp4", "other.mp4"))) as plain:
        assert sum(1 for _ in plain.decode(video=0)) == 5


def test_media_in_another_file_is_not_fetched(tmp_path: Path) -> None:
    path, other = bad.external_media(tmp_path)
    with av.open(str(path), options={"enable_drefs": "1", "use_absolute_path": "1"}) as trap:
        assert sum(1 for _ in trap.decode(video=0)) == 10  # a decoder that may, does
    assert len(list(small_frames(str(other)))) == 10
    with pytest.raises(VideoError, match="no frame could be decoded"):
        list(small_frames(str(path)))


NAMES = [
    "100%.mp4",
    "a%03d.mp4",
    "%d.jpg",
    "-i.mp4",
    "concat:a|b.mp4",
    "subfile,,start,1,end,2,,:x.mp4",
    "http:example.mp4",
    "name with\nnewline.mp4",
    "ünï-视频-🎬.mp4",
    "no extension",
    "video.m3u8",
    "video.txt",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("decoder", ["pyav", "decord"])
def test_a_name_is_only_a_name(tmp_path: Path, numbered_mp4: Path, name: str, decoder: Any) -> None:
    path = tmp_path / name
    path.write_bytes(numbered_mp4.read_bytes())
    with contextlib.chdir(tmp_path):
        for location in (str(path), name):
            clip = make_clip(location)
            frames = sample_frames(clip, FrameSettings(4, 48, subtitles="none", decoder=decoder))
            assert read_numbers(frames.images) == [12, 37, 62, 87]


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes there")
def test_name_that_is_not_utf8_is_read(tmp_path: Path, numbered_mp4: Path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9.mp4"
    with open(path, "wb") as file:  # noqa: PTH123  pathlib takes no bytes
        file.write(numbered_mp4.read_bytes())
    assert probe(os.fsdecode(path)).width == 64


@pytest.mark.parametrize("name", ["broken.mp4", "broken.mkv", "broken.ts", "broken.flv", "broken.avi", "broken.webm"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_file_that_breaks_off_gives_what_is_there(tmp_path: Path, name: str, share: float) -> None:
    how = {"codec": "libvpx"} if name.endswith("webm") else {"b_frames": 0}
    options = {"movflags": "faststart"} if name.endswith("mp4") else None
    whole = write_video(tmp_path / name, numbered_frames(100, 160, 96), container_options=options, **how)
    data = whole.read_bytes()
    whole.write_bytes(data[: int(len(data) * share)])
    frames = list(small_frames(str(whole)))
    numbers = read_numbers(image for _, image in frames)
    assert numbers[:-1] == list(range(len(numbers) - 1))  # the last may be half a picture
    assert 100 * share - 50 < len(numbers) <= 100 * share + 10


def test_damage_is_reported_and_frames_go_on_behind_it(tmp_path: Path) -> None:
    damage = Damage()
    path = str(bad.damaged_inside(tmp_path))
    span = list(decode_span(path, start_seconds=0, end_seconds=4, damage=damage))
    numbers = read_numbers(frame.rgb() for frame in span)
    assert damage.reason
    assert 50 < len(numbers) < 100
    assert (numbers[0], numbers[-1]) == (0, 99)


@pytest.mark.parametrize("name", ["fuzz.mp4", "fuzz.mkv", "fuzz.ts", "fuzz.avi", "fuzz.gif"])
def test_changed_bytes_never_raise_anything_but_a_reason(tmp_path: Path, name: str) -> None:
    how = {"codec": "gif", "pix_fmt": "rgb8"} if name.endswith("gif") else {}
    path = write_video(
        tmp_path / name, numbered_frames(20), subtitles=[(0, 0.5, "text")] * name.endswith(("mp4", "mkv")), **how
    )
    data = path.read_bytes()
    rng = np.random.default_rng(sum(name.encode()))
    for _ in range(25):
        changed = bytearray(data)
        for place in rng.integers(0, len(data), rng.integers(1, 20)):
            changed[place] = rng.integers(0, 256)
        path.write_bytes(changed)
        for label, use in uses(str(path)).items():
            if "decord" not in label:
                with contextlib.suppress(VideoError):
                    use()


def test_reasons_cross_from_a_worker_whole() -> None:
    error = pickle.loads(pickle.dumps(VideoError("no video stream", permanent=True)))
    assert (error.reason, error.permanent) == ("no video stream", True)
