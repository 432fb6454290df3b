"""What goes wrong around a run: full and read-only disks, clocks that jump, kills at random moments, files that are
cut, damaged or replaced under its hands. Nothing is lost, nothing is there twice, and one line says what happened."""

from __future__ import annotations

import ast
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from tests import faults
from tests import make_bad_videos as bad
from tests.runs import folder_of_videos, job, label, label_ids, rows, two_scenes
from vidlabel.cli import app
from vidlabel.config import Limits
from vidlabel.errors import InputError, WriteError
from vidlabel.executors.local import CHANGED
from vidlabel.labels import LABEL_SCHEMA
from vidlabel.outputs import parse_output, read_info
from vidlabel.readers import read_labels

ROOT = Path(__file__).parent.parent
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None) if sys.platform == "linux" else None


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of_videos(tmp_path_factory.mktemp("videos"), 8)


@pytest.fixture(scope="module")
def undisturbed(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    out = tmp_path_factory.mktemp("undisturbed") / "labels.parquet"
    label(videos, job(out))
    return label_ids(out)


def command(videos: Path, out: Path) -> list[str]:
    return ["caption", str(videos), "--out", str(out), "--model", "echo", "--workers", "2", "--frames", "4"]


def caption(videos: Path, out: Path, **how: Any) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own."""
    args = [sys.executable, "-m", "vidlabel", *command(videos, out)]
    return subprocess.run(args, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300, **how)


@pytest.fixture(scope="module")
def captioned(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    out = tmp_path_factory.mktemp("captioned") / "labels.parquet"
    assert CliRunner().invoke(app, command(videos, out)).exit_code == 0
    return label_ids(out)


# ---- disks


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MB, for those who may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("needs the right to mount a disk")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(disk: Path, *, leave: int) -> Path:
    ballast = disk / "ballast"
    with ballast.open("wb") as file:
        file.write(bytes(max(0, shutil.disk_usage(disk).free - leave)))
    return ballast


@pytest.mark.parametrize("leave", [8 << 10, pytest.param(40 << 10, marks=pytest.mark.slow)])
def test_full_disk_stops_the_run_with_one_line_and_loses_nothing(
    videos: Path, captioned: set[str], small_disk: Path, leave: int
) -> None:
    out = small_disk / "labels.parquet"
    CliRunner().invoke(app, [*command(videos, out), "--limit", "2"])
    before = out.read_bytes()
    ballast = fill(small_disk, leave=leave)
    stopped = caption(videos, out)
    assert stopped.returncode == 1, stopped.stderr
    assert stopped.stderr.count("\n") == 1
    assert "No space left on device" in stopped.stderr
    assert str(small_disk) in stopped.stderr
    assert out.read_bytes() == before
    ballast.unlink()
    assert CliRunner().invoke(app, command(videos, out)).exit_code == 0
    assert label_ids(out) == captioned


@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
def test_disk_that_fills_while_parts_are_written_keeps_those_that_are_whole(
    videos: Path, undisturbed: set[str], small_disk: Path, suffix: str
) -> None:
    """Parts of one label each, until there is room for no more."""
    out = small_disk / f"labels.{suffix}"
    fill(small_disk, leave=200 << 10)
    with pytest.raises(WriteError, match="No space left"):
        label(videos, job(out, limits=Limits(num_workers=2, batch_size=1, flush_seconds=0.0)))
    saved = list((small_disk / f"{out.name}.work").glob("part-*.parquet"))
    assert 0 < len(saved) < len(undisturbed)
    (small_disk / "ballast").unlink()
    summary = label(videos, job(out))
    assert summary.num_labels == len(undisturbed) - len(saved)
    assert {row["label_id"] for batch in read_labels(out) for row in batch.to_pylist()} == undisturbed


def test_folder_that_turns_read_only_stops_the_run_and_it_goes_on_when_that_is_over(
    videos: Path, undisturbed: set[str], tmp_path: Path
) -> None:
    out, work = tmp_path / "labels.parquet", tmp_path / "labels.parquet.work"
    sealing = faults.FolderSealingCaptioner(work)
    (tmp_path / "trial").mkdir()
    if not faults.seal(tmp_path / "trial"):
        pytest.skip("needs the right to seal a folder")
    faults.unseal(tmp_path / "trial")
    with pytest.raises(WriteError) as caught:
        label(videos, job(out, captioner=sealing, limits=Limits(num_workers=2, batch_size=1, flush_seconds=0.0)))
    assert str(work) in caught.value.filename
    saved = list(work.glob("part-*.parquet"))
    assert 0 < len(saved) < len(undisturbed)
    again = caption(videos, out)
    faults.unseal(work)
    assert (again.returncode, again.stderr.count("\n")) == (2, 1), again.stderr
    assert label(videos, job(out)).num_labels == len(undisturbed) - len(saved)
    assert label_ids(out) == undisturbed


def test_size_limit_on_files_ends_the_run_and_it_goes_on_without(
    videos: Path, undisturbed: set[str], tmp_path: Path
) -> None:
    """As `ulimit -f` sets it: a kind of full disk that anyone can have."""
    import resource

    out = tmp_path / "labels.jsonl"
    limit = 13 << 10  # the frames of a clip are 12 KB, a label a little over 1, and there are 16
    args = [sys.executable, "-m", "tests.resumable_run", str(videos), str(out)]
    stopped = subprocess.run(
        args,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert stopped.returncode == 1
    assert "File too large" in stopped.stderr
    assert not out.exists()
    label(videos, job(out))
    assert sorted(row["label_id"] for batch in read_labels(out) for row in batch.to_pylist()) == sorted(undisturbed)


# ---- clocks

# what may look at the clock on the wall: times that are shown or stored, never times that are waited for
SHOWS_THE_TIME = {
    "progress": {"time.time"},
    "metrics": {"time.time"},
    "parts": {"time.time_ns"},  # a name that sorts
    "subtitles": {"time.time_ns"},  # against modification times, which are of the same clock
    "machine": {"time.gmtime"},
    "lock": {"datetime.now"},
    "outputs": {"datetime.now"},
    "labels": {"datetime.now"},
    "report": {"datetime.now"},
    "results": {"datetime.now"},
    "store_lock": {"datetime.now"},  # makes each writing another one; what is stale goes by the store's clock
    "reviews": {"datetime.now"},
}


def _clock_calls(path: Path) -> set[str]:
    names = {"time.time", "time.time_ns", "time.gmtime", "time.localtime", "datetime.now", "datetime.utcnow"}
    calls = (node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
    return {text for call in calls if (text := ast.unparse(call)) in names}


def test_nothing_that_waits_goes_by_the_clock_on_the_wall() -> None:
    found = {path.stem: calls for path in sorted((ROOT / "vidlabel").rglob("*.py")) if (calls := _clock_calls(path))}
    assert [(name, call) for name in found for call in found[name] - SHOWS_THE_TIME.get(name, set())] == []


@pytest.mark.skipif(FAKETIME is None, reason="needs libfaketime")
@pytest.mark.parametrize("jump", ["-3d", pytest.param("+3d", marks=pytest.mark.slow)])
def test_clock_that_jumps_changes_nothing(videos: Path, undisturbed: set[str], tmp_path: Path, jump: str) -> None:
    """For run, fork server and workers; a hanging worker is still killed in time, and the others are not."""
    folder, out, clock = tmp_path / "videos", tmp_path / "labels.parquet", tmp_path / "clock"
    shutil.copytree(videos, folder)
    two_scenes(folder / "never_returns.mp4", 1)
    clock.write_text("+0\n")
    env = os.environ | {
        "LD_PRELOAD": str(FAKETIME), "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1",
        "DONT_FAKE_MONOTONIC": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }  # fmt: skip
    run = subprocess.Popen([sys.executable, "-m", "tests.faulty_run", str(folder), str(out), "6"], cwd=ROOT, env=env)
    while not list(tmp_path.glob("labels.parquet.work/part-*")):
        assert run.poll() is None
        time.sleep(0.02)
    clock.write_text(f"{jump}\n")
    started = time.monotonic()
    assert run.wait(timeout=60) == 3
    assert time.monotonic() - started < 40
    made = label_ids(out)
    assert len(made) == len(undisturbed)
    (failure,) = [line for line in (tmp_path / "labels.failures.jsonl").read_text().splitlines() if line]
    assert "not done within the time limit" in failure


# ---- files changed by hand


def test_part_cut_in_half_by_hand_is_made_again(
    videos: Path, undisturbed: set[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "labels.parquet"
    broken = faults.FaultyCaptioner(0, raise_after=9)
    with pytest.raises(RuntimeError):
        label(videos, job(out, captioner=broken, limits=Limits(num_workers=2, batch_size=1, flush_seconds=0.0)))
    parts = sorted((tmp_path / "labels.parquet.work").glob("part-*.parquet"))
    for path in parts[::2]:
        os.truncate(path, path.stat().st_size // 2)
    label(videos, job(out))
    assert caplog.text.count("set aside") == len(parts[::2])
    assert label_ids(out) == undisturbed


def _cut(data: bytes, _: random.Random) -> bytes:
    return data[: len(data) // 2]


def _zeros(data: bytes, _: random.Random) -> bytes:
    return bytes(len(data))


def _flipped(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    changed[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _flipped_footer(data: bytes, chance: random.Random) -> bytes:
    length = int.from_bytes(data[-8:-4], "little")
    at = len(data) - 8 - chance.randrange(length)
    return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]


@pytest.mark.parametrize("harm", [_cut, _zeros])
def test_corrupted_labels_stop_the_run_with_one_line_and_stay_as_they_are(
    videos: Path, tmp_path: Path, harm: Callable[[bytes, random.Random], bytes]
) -> None:
    out = tmp_path / "labels.parquet"
    label(videos, job(out))
    harmed = harm(out.read_bytes(), random.Random(0))
    out.write_bytes(harmed)
    stopped = CliRunner().invoke(app, command(videos, out))
    assert (stopped.exit_code, stopped.stderr.count("\n")) == (2, 1), stopped.stderr
    assert str(out) in stopped.stderr
    assert "--overwrite" in stopped.stderr
    assert out.read_bytes() == harmed


@pytest.mark.parametrize("harm", [_flipped, _flipped_footer])
@pytest.mark.parametrize("seeds", [40, pytest.param(1000, marks=pytest.mark.slow)])
def test_flipped_bit_in_the_labels_is_never_a_crash_or_a_lost_row(
    videos: Path, tmp_path: Path, harm: Callable[[bytes, random.Random], bytes], seeds: int
) -> None:
    """Each is either found, and said in one line, or does no harm to the rows."""
    out = tmp_path / "labels.parquet"
    label(sorted(videos.iterdir())[:2], job(out))
    whole, expected = out.read_bytes(), rows(out)
    for seed in range(seeds):
        out.write_bytes(harm(whole, random.Random(seed)))
        with contextlib.suppress(InputError):
            read_info(parse_output(out))
            found = [row for batch in read_labels(out, LABEL_SCHEMA.names) for row in batch.to_pylist()]
            assert [row["label_id"] for row in found] == [row["label_id"] for row in expected], seed


def test_video_replaced_while_it_is_read_gets_no_label_of_the_other(tmp_path: Path) -> None:
    folder, out = folder_of_videos(tmp_path / "videos", 3), tmp_path / "labels.parquet"
    for name in ("replaced_in_scenes.mp4", "replaced_in_frames.mp4"):
        two_scenes(folder / name, 40)
    summary = label(folder, job(out, stages=faults.STAGES))
    assert summary.reasons == {CHANGED: 3}  # a video as a whole, and two clips
    assert {row["video_path"] for row in rows(out)} == {f"video{number:03}.mp4" for number in range(3)}
    again = label(folder, job(out))
    assert (again.num_labels, again.num_failures) == (4, 0)


# ---- many inputs, many faults


@pytest.mark.parametrize("count", [60, pytest.param(10_000, marks=pytest.mark.slow)])
def test_one_in_ten_inputs_is_broken_and_costs_itself_only(tmp_path: Path, count: int) -> None:
    """Every kind of broken file in turn, among copies of a good one."""
    folder, out = tmp_path / "videos", tmp_path / "labels.parquet"
    folder.mkdir()
    good = two_scenes(tmp_path / "good.mp4", 1)
    kinds = [kind for kind in bad.NOT_VIDEOS if kind not in (bad.fifo, bad.folder_named_video)]
    samples = [kind(tmp_path) for kind in kinds] + [two_scenes(tmp_path / "crashes.mp4", 2)]
    broken = set()
    for number in range(count):
        source = samples[number // 10 % len(samples)] if number % 10 == 3 else good
        name = f"{number:05}-{source.stem}.mp4" if source is not good else f"{number:05}.mp4"
        (folder / name).symlink_to(source)
        if source is not good:
            broken.add(name)
    summary = label(folder, job(out, stages=faults.STAGES, limits=Limits(num_workers=2)))
    assert (summary.exit_code, summary.num_videos) == (3, count)
    assert summary.num_clips == 2 * (count - len(broken))
    assert summary.num_failures == len(broken) == count // 10
    good_names = {path.name for path in folder.iterdir()} - broken
    assert sorted(str(row["video_path"]) for row in rows(out)) == sorted([*good_names, *good_names])


FAULTS = (
    "kill",
    "term",
    "group term",
    "kill a worker",
    "kill all workers",
    "cut a part",
    "cut the scenes",
    "half a file",
)


@pytest.mark.parametrize("count", [3, pytest.param(50, marks=pytest.mark.slow)])
def test_random_faults_lose_and_duplicate_nothing(
    videos: Path, undisturbed: set[str], tmp_path: Path, count: int
) -> None:
    out = tmp_path / "labels.parquet"
    chance = random.Random(count)
    done = []
    for number in range(count):
        if out.exists():  # all is labelled: from the start again, in the same place
            assert label_ids(out) == undisturbed
            out.unlink()
        done.append(disturb(videos, out, FAULTS[number % len(FAULTS)], chance))
    label(videos, job(out, retry_failed=True))
    assert label_ids(out) == undisturbed
    for row in rows(out):
        assert f"echo of clip {row['clip_id']}," in str(row["caption"])
    assert sum(done) >= count // 2, "too few faults met a run that still lasted"


def disturb(videos: Path, out: Path, fault: str, chance: random.Random) -> bool:
    """One run with one fault at a random moment; whether it met the run before its end."""
    command = [sys.executable, "-m", "tests.resumable_run", str(videos), str(out)]
    run = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, text=True, start_new_session=True)
    moment = time.monotonic() + chance.uniform(0.5, 4.0)
    while run.poll() is None and time.monotonic() < moment:
        time.sleep(0.02)
    met = run.poll() is None
    if fault in ("kill a worker", "kill all workers"):
        workers = [pid for pid in session_members(run.pid) if pid != run.pid]
        for pid in chance.sample(workers, min(1, len(workers))) if fault == "kill a worker" else workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        run.wait(timeout=120)
        return met
    with contextlib.suppress(ProcessLookupError):
        if fault == "group term":
            os.killpg(run.pid, signal.SIGTERM)
        else:
            os.kill(run.pid, signal.SIGTERM if fault == "term" else signal.SIGKILL)
    run.wait(timeout=120)
    harm_what_is_saved(out, fault, chance)
    return met


def harm_what_is_saved(out: Path, fault: str, chance: random.Random) -> None:
    work = out.with_name(out.name + ".work")
    if fault == "half a file":
        for name in (".part-x.parquet.tmp", f".{out.name}.tmp"):
            if work.exists():
                (work / name).write_bytes(np.random.default_rng(1).bytes(100))
    pattern = {"cut a part": "part-*.parquet", "cut the scenes": "scenes-*.parquet"}.get(fault)
    found = sorted(work.glob(pattern)) if pattern else []
    if found:
        path = chance.choice(found)
        os.truncate(path, path.stat().st_size // 2)


def session_members(session: int) -> list[int]:
    members = []
    for process in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(process.read_text().rpartition(")")[2].split()[3]) == session:
                members.append(int(process.parent.name))
    return members


def test_worker_that_hangs_does_not_outlive_a_killed_run(tmp_path: Path) -> None:
    folder, out = tmp_path / "videos", tmp_path / "labels.parquet"
    folder.mkdir()
    two_scenes(folder / "never_returns.mp4", 1)
    command = [sys.executable, "-m", "tests.faulty_run", str(folder), str(out), "600"]
    run = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
    while len(session_members(run.pid)) < 4:  # the run, the fork server, its tracker, a worker
        assert run.poll() is None
        time.sleep(0.05)
    time.sleep(1)
    run.kill()
    run.wait()
    deadline = time.monotonic() + 15
    while session_members(run.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert session_members(run.pid) == []
