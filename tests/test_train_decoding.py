"""Frames for training are made ahead and in order, and a file that hangs or crashes a decoder costs itself only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hostile_decoding import decode
from vidlabel.config import FrameSettings
from vidlabel.data import Video
from vidlabel.errors import VideoError
from vidlabel.executors.workers import DecodeWorkers
from vidlabel.train.decoding import Decoders, Decoding
from vidlabel.train.examples import Example

SETTINGS = FrameSettings(1, 2)


@pytest.fixture
def decoders() -> Iterator[Decoders]:
    workers: DecodeWorkers[tuple[str, str]] = DecodeWorkers(num_workers=2, memory_mb=4096)
    with workers:
        yield Decoders(workers, 2)


def test_a_decoder_that_hangs_or_crashes_costs_its_own_file_only(tmp_path: Path, decoders: Decoders) -> None:
    names = ["1", "hangs", "2", "crashes", "3", "gone", "2", "4"]
    for name in names:
        if name != "gone":
            (tmp_path / f"{name}.mp4").touch()
    rows = [
        Example(f"e{at}", Video(name, name, str(tmp_path / f"{name}.mp4")), None, "What?", "It.")
        for at, name in enumerate(names)
    ]
    decoding = Decoding("train", SETTINGS, decoders, seconds_per_video=4.0, decode=decode)
    decoding.announce(rows)
    found: list[int | str] = []
    for row in rows:
        try:
            found.append(int(decoding.frames(row).images[0, 0, 0, 0]))
        except VideoError as error:
            found.append(error.reason)
    assert [one for one in found if isinstance(one, int)] == [1, 2, 3, 2, 4]
    assert "not done within the time limit of 4 s" in str(found[1])
    assert "the decoder crashed" in str(found[3])
    assert "no such file" in str(found[5])
    assert (tmp_path / "2.seen").read_text() == "x"  # one decoding for two rows that are near


def test_a_row_that_needs_no_frames_lets_the_next_ones_in(tmp_path: Path, decoders: Decoders) -> None:
    rows = []
    for number in range(30):
        (tmp_path / f"{number}.mp4").touch()
        video = Video(str(number), str(number), str(tmp_path / f"{number}.mp4"))
        rows.append(Example(f"e{number}", video, None, "What?", "It."))
    decoding = Decoding("train", SETTINGS, decoders, decode=decode)
    decoding.announce(rows)
    for number, row in enumerate(rows):
        if 2 < number < 25:
            decoding.skip(row)
        else:
            assert decoding.frames(row).images[0, 0, 0, 0] == number
    assert not (tmp_path / "20.seen").exists()  # what is not needed is not made, but for the few that were next
    other = Decoding("samples", SETTINGS, decoders, decode=decode)
    assert other.frames(rows[7]).images[0, 0, 0, 0] == 7
