"""Clip files: exactly the clip's frames or honest about what is more; one bad video costs itself only;
an export that was killed goes on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests import trainer_readers as readers
from tests.exports import run, write_labels
from tests.make_videos import numbered_frames, read_numbers, write_video
from vidlabel.decoders import probe
from vidlabel.errors import VideoError
from vidlabel.export.cutting import Cut, cut_copy, cut_exact

END = float("inf")


def shown(path: Path) -> tuple[list[int], list[float]]:
    """The numbers of the frames of a file, and their seconds."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        return read_numbers([f.to_ndarray(format="rgb24") for f in frames]), [float(f.time) for f in frames]


@pytest.mark.parametrize(("multiple", "num_frames"), [(1, 30), (4, 29), (8, 25)])
def test_exact_cuts_are_the_frames_of_the_clip_by_the_trainers_rule(
    numbered_mp4: Path, tmp_path: Path, multiple: int, num_frames: int
) -> None:
    out = tmp_path / "c.mp4"
    cut = cut_exact(str(numbered_mp4), str(out), 0.5, 1.7, multiple)  # frames 13 to 42
    numbers, seconds = shown(out)
    assert numbers == list(range(13, 13 + num_frames))
    assert seconds == pytest.approx([n / 25 for n in range(num_frames)], abs=1e-4)
    assert cut == Cut(num_frames, 64, 48, 25.0, pytest.approx(num_frames / 25))
    info = probe(str(out))
    assert (info.fps, info.video_seconds) == pytest.approx((25.0, num_frames / 25), abs=1e-3)
    assert [path.name for path in tmp_path.iterdir()] == ["c.mp4"]


def test_decord_reads_exact_cuts_right(numbered_mp4: Path, tmp_path: Path) -> None:
    decord = pytest.importorskip("decord")
    cut_exact(str(numbered_mp4), str(tmp_path / "c.mp4"), 0.5, 1.7, 4)
    reader = decord.VideoReader(str(tmp_path / "c.mp4"))
    assert read_numbers(reader.get_batch(range(len(reader))).asnumpy()) == list(range(13, 42))


def test_a_clip_to_the_end_of_its_video_is_whole(numbered_mp4: Path, tmp_path: Path) -> None:
    assert cut_exact(str(numbered_mp4), str(tmp_path / "c.mp4"), 3.0, END, 1).num_frames == 25


def test_exact_cuts_are_upright_and_even_and_keep_uneven_times(tmp_path: Path) -> None:
    times = [0.0, 0.04, 0.2, 0.24, 0.5]
    turned = write_video(tmp_path / "turned.mp4", numbered_frames(5), rotation=90, pts=times)
    cut = cut_exact(str(turned), str(tmp_path / "a.mp4"), 0.0, END, 1)
    assert (cut.width, cut.height) == (48, 64)
    with av.open(str(tmp_path / "a.mp4")) as container:
        frames = list(container.decode(video=0))
    assert {frame.rotation for frame in frames} == {0}
    assert [float(frame.time) for frame in frames] == pytest.approx(times, abs=1e-3)
    upright = np.rot90(frames[3].to_ndarray(format="rgb24"), -1)
    assert read_numbers([upright]) == [3] or read_numbers([np.rot90(upright, 2)]) == [3]
    odd = write_video(tmp_path / "odd.mp4", numbered_frames(5, 65, 49), pix_fmt="yuv444p")
    cut = cut_exact(str(odd), str(tmp_path / "b.mp4"), 0.0, END, 1)
    assert (cut.width, cut.height) == (64, 48)
    assert shown(tmp_path / "b.mp4")[0] == list(range(5))


def test_copies_begin_at_the_keyframe_before_and_say_how_early(numbered_mp4: Path, tmp_path: Path) -> None:
    out = tmp_path / "c.mp4"
    cut = cut_copy(str(numbered_mp4), str(out), 0.8, 1.6)  # frames 20 to 39; keyframes at 12 and 24
    numbers, seconds = shown(out)
    assert numbers[0] == 12
    assert numbers == list(range(12, 12 + len(numbers)))
    assert 39 <= numbers[-1] <= 43
    assert seconds[0] == 0.0
    assert cut.num_frames == len(numbers)
    assert cut.early_seconds == pytest.approx(8 / 25)
    assert cut.late_seconds == pytest.approx((numbers[-1] + 1) / 25 - 1.6, abs=1e-3)


def test_copies_begin_in_time_where_a_file_has_no_index(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.ts", numbered_frames(100))
    for number in (20, 30, 99):
        cut = cut_copy(str(video), str(tmp_path / "c.mp4"), number / 25, END)
        numbers, _ = shown(tmp_path / "c.mp4")
        assert numbers == list(range(number // 12 * 12, 100))
        assert cut.early_seconds == pytest.approx(number % 12 / 25, abs=1e-3)


def test_what_mp4_cannot_hold_is_said_to_need_exact(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.avi", numbered_frames(9), codec="huffyuv", pix_fmt="yuv422p", b_frames=0)
    with pytest.raises(VideoError, match="--cut exact"):
        cut_copy(str(video), str(tmp_path / "c.mp4"), 0.0, END)
    assert cut_exact(str(video), str(tmp_path / "c.mp4"), 0.0, END, 8).num_frames == 9


def spans(path: Path, videos: list[str], num_parts: int = 2) -> Path:
    """A caption for every second of each video, and nothing said of its size."""
    rows: list[dict[str, Any]] = [
        {"video_path": name, "start_seconds": float(part), "end_seconds": part + 1.0, "caption": f"{name} {part}"}
        for name in videos
        for part in range(num_parts)
    ]
    return write_labels(path, rows)


@pytest.fixture(scope="module")
def two_videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    write_video(folder / "a.mp4", numbered_frames(50))
    write_video(folder / "b.mkv", numbered_frames(50, first=100))
    return folder


def first_frames(pairs: readers.Pairs) -> dict[str, tuple[int, int]]:
    """What is said of a clip -> its first frame and how many there are."""
    found = {}
    for video, said in pairs:
        numbers, _ = shown(video)
        found[said if isinstance(said, str) else said[0]] = (numbers[0], len(numbers))
    return found


EXPECTED = {"a.mp4 0": (0, 25), "a.mp4 1": (25, 25), "b.mkv 0": (100, 25), "b.mkv 1": (125, 25)}


@pytest.mark.parametrize("name", ["open-sora", "open-sora-plan", "fastvideo"])
def test_cut_clips_go_with_their_captions_and_sizes(name: str, two_videos: Path, tmp_path: Path) -> None:
    labels = spans(tmp_path / "l.parquet", ["a.mp4", "b.mkv"])
    args = ("--to", name, "--root", two_videos, "--out", tmp_path / "set", "--cut", "exact", "--workers", 2)
    code, _, err = run(labels, *args)
    assert code == 0, err
    assert first_frames(readers.CAPTIONS[name](tmp_path / "set")) == EXPECTED
    assert "4 clips cut" in err
    if name == "open-sora":
        times = {path: path.stat().st_mtime_ns for path in (tmp_path / "set" / "clips").iterdir()}
        code, _, err = run(labels, *args)
        assert code == 0
        assert "clips cut" not in err
        assert times == {path: path.stat().st_mtime_ns for path in (tmp_path / "set" / "clips").iterdir()}


def test_copied_clips_are_counted_and_their_drift_is_said(two_videos: Path, tmp_path: Path) -> None:
    labels = spans(tmp_path / "l.parquet", ["a.mp4", "b.mkv"])
    code, _, err = run(labels, "--to", "ltx", "--root", two_videos, "--out", tmp_path / "set", "--cut", "copy")
    assert code == 0, err
    found = first_frames(readers.ltx(tmp_path / "set"))
    assert {said: first for said, (first, _) in found.items()} == {
        "a.mp4 0": 0,
        "a.mp4 1": 24,  # 0.04 s early
        "b.mkv 0": 100,
        "b.mkv 1": 124,
    }
    assert "4 clips cut; they begin up to 0.040 s early" in err


@pytest.mark.parametrize(
    ("name", "video", "num_parts", "message"),
    [
        ("ltx", "a.mp4", 2, r"ltx reads whole files, and a.mp4 from 0 s to 1 s is a part of one: use --cut exact"),
        ("cogvideox", "b.mkv", 0, r"cogvideox opens .mp4, and some videos are .mkv: use --cut copy"),
    ],
)
def test_what_needs_cutting_says_so(
    name: str, video: str, num_parts: int, message: str, two_videos: Path, tmp_path: Path
) -> None:
    labels = spans(tmp_path / "l.parquet", [video], num_parts)
    if not num_parts:
        labels = write_labels(tmp_path / "l.parquet", [{"video_path": video, "caption": "All of it."}])
    code, _, err = run(labels, "--to", name, "--root", two_videos, "--out", tmp_path / "set")
    assert code == 2
    assert message in err
    assert not (tmp_path / "set").exists()


def test_one_bad_video_costs_itself_only_and_is_tried_again(two_videos: Path, tmp_path: Path) -> None:
    root, out = tmp_path / "v", tmp_path / "set"
    shutil.copytree(two_videos, root)
    shutil.copy(root / "a.mp4", root / "c.mp4")
    (root / "c.mp4").write_bytes(b"not a video at all")
    labels = spans(tmp_path / "l.parquet", ["a.mp4", "c.mp4", "gone.mp4", "b.mkv"])
    args = (labels, "--to", "cogvideox", "--root", root, "--out", out, "--cut", "exact")
    code, _, err = run(*args)
    assert code == 3
    assert "4 clips failed and are not in it; see " in err
    assert first_frames(readers.cogvideox(out)) == EXPECTED
    failures = [json.loads(line) for line in (tmp_path / "set.failures.jsonl").read_text().splitlines()]
    assert {(one["path"], one["stage"]) for one in failures} == {("c.mp4", "export"), ("gone.mp4", "export")}
    assert {one["reason"].split(":")[0] for one in failures} == {"not a video in a format that is read", "no such file"}
    for name in ("c.mp4", "gone.mp4"):
        write_video(root / name, numbered_frames(50, first=200))
    code, _, err = run(*args)
    assert (code, "4 clips cut" in err) == (0, True)
    assert len(readers.cogvideox(out)) == 8
    assert not (tmp_path / "set.failures.jsonl").exists()


def test_a_video_that_was_changed_is_cut_again(two_videos: Path, tmp_path: Path) -> None:
    root, out = tmp_path / "v", tmp_path / "set"
    root.mkdir()
    shutil.copy(two_videos / "a.mp4", root / "a.mp4")
    labels = spans(tmp_path / "l.parquet", ["a.mp4"])
    args = (labels, "--to", "ltx", "--root", root, "--out", out, "--cut", "exact")
    assert run(*args)[0] == 0
    write_video(root / "a.mp4", numbered_frames(50, first=300))
    assert run(*args)[0] == 0
    assert first_frames(readers.ltx(out)) == {"a.mp4 0": (300, 25), "a.mp4 1": (325, 25)}


@pytest.mark.filterwarnings("default")  # webdataset leaves files open
def test_shards_hold_cut_clips_and_are_made_once(two_videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    labels = spans(tmp_path / "l.parquet", ["a.mp4", "b.mkv", "gone.mp4"], 1)
    args = (labels, "--to", "webdataset", "--root", two_videos, "--out", out, "--cut", "exact")
    assert run(*args)[0] == 3
    assert first_frames(readers.webdataset(out)) == {"a.mp4 0": (0, 25), "b.mkv 0": (100, 25)}
    assert not (out / ".cut").exists()
    spans(tmp_path / "l.parquet", ["a.mp4", "b.mkv"], 1)
    assert run(*args)[0] == 0
    made = (out / "00000.tar").stat().st_mtime_ns
    code, _, err = run(*args)
    assert (code, "clips cut" in err) == (0, False)
    assert (out / "00000.tar").stat().st_mtime_ns == made


def _until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing came of it"
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_an_export_in_good_order(number: int, tmp_path: Path) -> None:
    root, out = tmp_path / "v", tmp_path / "set"
    root.mkdir()
    write_video(root / "a.mp4", numbered_frames(1000, 320, 240))
    labels = spans(tmp_path / "l.parquet", ["a.mp4"], 40)
    args = [str(labels), "--to", "ltx", "--root", str(root), "--out", str(out), "--cut", "exact", "--workers", "1"]
    # shells start what is in the background with Ctrl-C ignored
    ready = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from vidlabel.cli import main; main()"
    )
    command = [sys.executable, "-c", ready, "export", *args]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        _until(lambda: len(list((out / "clips").glob("[0-9a-f]*.mp4"))) >= 1)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert err.startswith(f"vidlabel: stopped by {signal.Signals(number).name}; ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["l.parquet", "set", "v"]
    assert sorted(path.name for path in out.iterdir()) == [".vidlabel", "clips"]


def test_a_killed_export_goes_on_where_it_was(tmp_path: Path) -> None:
    root, out = tmp_path / "v", tmp_path / "set"
    root.mkdir()
    write_video(root / "a.mp4", numbered_frames(1000, 320, 240))
    labels = spans(tmp_path / "l.parquet", ["a.mp4"], 40)
    args = [str(labels), "--to", "finetrainers", "--root", str(root), "--out", str(out), "--cut", "exact"]
    command = [sys.executable, "-m", "vidlabel", "export", *args, "--workers", "1"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        _until(lambda: len(list((out / "clips").glob("*.mp4"))) >= 3)
        os.killpg(process.pid, signal.SIGKILL)
    before = {path: path.stat().st_mtime_ns for path in (out / "clips").glob("[0-9a-f]*.mp4")}
    assert 3 <= len(before) < 40
    assert not (out / "metadata.jsonl").exists()
    code, _, err = run(*args)
    assert code == 0, err
    lines = [json.loads(line) for line in (out / "metadata.jsonl").read_text().splitlines()]
    assert [line["caption"] for line in lines] == [f"a.mp4 {part}" for part in range(40)]
    for number in (0, 1, 20, 39):
        assert shown(out / lines[number]["file_name"])[0] == list(range(number * 25, number * 25 + 25))
    same = [path for path, time_ns in before.items() if path.stat().st_mtime_ns == time_ns]
    assert len(same) >= len(before) - 1, "at most the clip whose note was not written is cut again"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["l.parquet", "set", "v"]
    assert list((out / "clips").glob(".*")) == []
