"""Which files of a folder are videos, and in which order they come."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from vidlabel.errors import InputError
from vidlabel.folders import find_videos, has_video_magic


def make(folder: Path, *names: str, data: bytes = b"x") -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def test_videos_are_found_in_all_folders_in_sorted_order(tmp_path: Path) -> None:
    names = ["b.mp4", "a/z.MKV", "a/b/c.webm", "10.mov", "9.avi", "ü/ü.mp4", "a b.mp4"]
    make(tmp_path, *names)
    assert find_videos(str(tmp_path)) == sorted(names)
    assert find_videos(f"{tmp_path}/") == sorted(names)


def test_hidden_files_and_folders_are_left_out(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4", ".b.mp4", "._a.mp4", ".cache/c.mp4", "d/.e/f.mp4")
    assert find_videos(str(tmp_path)) == ["a.mp4"]


def test_other_files_are_left_out_even_when_they_begin_like_a_video(tmp_path: Path) -> None:
    make(tmp_path, "a.vtt", "a.m4a", "a.heic", "a.mp4.part", "a.txt", data=b"\x1a\x45\xdf\xa3" + bytes(50))
    assert find_videos(str(tmp_path)) == []


def test_files_without_a_telling_extension_are_known_by_their_content(tmp_path: Path) -> None:
    make(tmp_path, "clip", "clip.v2", "go", "x.ts", data=b"\x00\x00\x00\x20ftypisom" + bytes(20))
    make(tmp_path, "notes", "code.ts", data=b"import { x } from 'y'\n" * 100)
    make(tmp_path, "empty", data=b"")
    assert find_videos(str(tmp_path)) == ["clip", "clip.v2", "go", "x.ts"]


TS = (b"\x47" + bytes(187)) * 20


@pytest.mark.parametrize(
    ("head", "is_video"),
    [
        (b"\x00\x00\x00\x20ftypisom", True),
        (b"\x00\x00\x00\x20ftypqt  ", True),
        (b"\x00\x00\x00\x20ftypM4A ", False),
        (b"\x00\x00\x00\x20ftypheic", False),
        (b"\x00\x01\x00\x00moov", True),
        (b"\x7f\x01\x00\x00mdat", True),
        (b"the free thing", False),
        (b"be skipped", False),
        (b"\x1a\x45\xdf\xa3", True),
        (b"RIFF\x00\x00\x00\x00AVI LIST", True),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", False),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", False),
        (TS, True),
        (b"\x00\x00\x00\x00" + (b"\x47" + bytes(191)) * 20, True),
        (b"G" + b"reat words " * 300, False),
        (b"\x00\x00\x01\xba\x44", True),
        (b"\x00\x00\x01\xb3\x14", True),
        (b"FLV\x01\x05", True),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", True),
        (b"OggS" + bytes(24) + b"\x80theora", True),
        (b"OggS" + bytes(24) + b"\x01vorbis", False),
        (b"GIF89a", False),
        (b"\xff\xd8\xff\xe0", False),
        (b"\x89PNG\r\n\x1a\n", False),
        (b"ID3\x03", False),
        (b"#EXTM3U\n", False),
        (b"ffconcat version 1.0\n", False),
        (b"", False),
    ],
)
def test_first_bytes_tell_video_from_the_rest(head: bytes, is_video: bool) -> None:
    assert has_video_magic(head) is is_video


def test_link_loops_end_and_every_folder_is_taken_once_by_its_own_name(tmp_path: Path) -> None:
    make(tmp_path, "m/n/a.mp4", "top.mp4")
    (tmp_path / "m/n/up").symlink_to(tmp_path)
    (tmp_path / "a_link").symlink_to(tmp_path / "m")  # sorts before the folder itself
    (tmp_path / "self").symlink_to("self")
    assert find_videos(str(tmp_path)) == ["m/n/a.mp4", "top.mp4"]


def test_folder_outside_that_links_lead_to_is_taken_once_under_the_first_of_them(tmp_path: Path) -> None:
    make(tmp_path, "outside/deep/a.mp4")
    make(tmp_path, "in/x.mp4")
    for name in ("z", "b", "k"):
        (tmp_path / "in" / name).symlink_to(tmp_path / "outside")
    (tmp_path / "outside/deep/back").symlink_to(tmp_path / "in")
    assert find_videos(str(tmp_path / "in")) == ["b/deep/a.mp4", "x.mp4"]


def test_link_to_a_missing_video_is_kept_so_that_it_is_reported(tmp_path: Path) -> None:
    (tmp_path / "gone.mp4").symlink_to("nowhere.mp4")
    (tmp_path / "gone").symlink_to("nowhere")
    assert find_videos(str(tmp_path)) == ["gone.mp4"]


def test_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert find_videos(str(tmp_path)) == []


def test_name_that_is_no_utf8_is_found(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.mp4")).write_bytes(b"x")
    assert find_videos(str(tmp_path)) == [os.fsdecode(b"caf\xe9.mp4")]


def test_missing_folder_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent: the folder cannot be listed: No such file"):
        find_videos(str(tmp_path / "absent"))


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Below a place that every user may enter, which pytest's own folders are not."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@contextmanager
def plain_user() -> Iterator[None]:
    """Not root for a while, for root may read everything."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_folders_and_files_that_may_not_be_read_are_told_of(
    open_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make(open_folder, "a.mp4", "closed/b.mp4", "unknown")
    (open_folder / "closed").chmod(0)
    (open_folder / "unknown").chmod(0)
    with plain_user():
        found = find_videos(str(open_folder))
    (open_folder / "closed").chmod(0o755)
    assert found == ["a.mp4"]
    assert "closed: the folder cannot be listed: Permission denied; videos in it are left out" in caplog.text
    assert "unknown: cannot be read: Permission denied; left out, though it may be a video" in caplog.text


def test_given_folder_that_may_not_be_read_is_an_error(open_folder: Path) -> None:
    closed = open_folder / "closed"
    closed.mkdir(mode=0)
    with plain_user(), pytest.raises(InputError, match="closed: the folder cannot be listed: Permission denied"):
        find_videos(str(closed))
