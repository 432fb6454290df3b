"""A run that is killed or stopped at any moment resumes to the same labels, none lost, none twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.runs import folder_of_videos, job, label, label_ids, rows

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of_videos(tmp_path_factory.mktemp("videos"), 12)


@pytest.fixture(scope="module")
def undisturbed(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    out = tmp_path_factory.mktemp("undisturbed") / "labels.parquet"
    label(videos, job(out))
    return label_ids(out)


def start(videos: Path, out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.resumable_run", str(videos), str(out)]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, text=True, start_new_session=True)


def kill_at_random_moments(videos: Path, out: Path, count: int) -> int:
    """Kills runs with -9, from the first second to the last; returns how many had to be killed."""
    chance = random.Random(count)
    killed = 0
    for number in range(count):
        run = start(videos, out)
        # the first ones early: the whole is then not done before the last of them
        moment = time.monotonic() + chance.uniform(0.3, 2.5 + number / 4)
        while run.poll() is None and time.monotonic() < moment:
            time.sleep(0.02)
        killed += run.poll() is None
        run.kill()
        run.communicate()
    return killed


def check(videos: Path, out: Path, undisturbed: set[str]) -> None:
    label(videos, job(out))
    assert label_ids(out) == undisturbed
    for row in rows(out):
        assert f"echo of clip {row['clip_id']}," in str(row["caption"])
    assert not out.with_name(out.name + ".work").exists()


@pytest.mark.parametrize("count", [4, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_run_resumes_to_the_same_labels(videos: Path, tmp_path: Path, undisturbed: set[str], count: int) -> None:
    out = tmp_path / "labels.parquet"
    assert kill_at_random_moments(videos, out, count) >= min(count, 3)
    check(videos, out, undisturbed)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_run_says_so_saves_and_resumes(
    videos: Path, tmp_path: Path, undisturbed: set[str], number: signal.Signals
) -> None:
    out = tmp_path / "labels.parquet"
    run = start(videos, out)
    work = out.with_name(out.name + ".work")
    while not list(work.glob("part-*.parquet")):
        assert run.poll() is None, "it ended before anything was saved"
        time.sleep(0.02)
    os.kill(run.pid, number)
    run.communicate(timeout=30)
    assert run.returncode == 128 + number
    assert not out.exists()
    assert list(work.glob("part-*.parquet"))
    check(videos, out, undisturbed)


def test_killed_run_leaves_no_process_behind(videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "labels.parquet"
    run = start(videos, out)
    while not list(out.with_name(out.name + ".work").glob("part-*.parquet")):
        assert run.poll() is None
        time.sleep(0.02)
    run.kill()
    run.wait()
    deadline = time.monotonic() + 15
    while _session_members(run.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert _session_members(run.pid) == []


def _session_members(session: int) -> list[str]:
    members = []
    for process in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = process.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended meanwhile
        if int(fields[3]) == session and fields[0] != "Z":
            members.append(process.parent.name)
    return members


def test_second_run_on_one_output_says_who_holds_it(videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "labels.parquet"
    first = start(videos, out)
    while not (out.with_name(out.name + ".work") / "run.json").exists():
        assert first.poll() is None
        time.sleep(0.02)
    command = [sys.executable, "-m", "vidlabel", "caption", str(videos), "--out", str(out), "--model", "echo"]
    second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    first.kill()
    first.communicate()
    assert second.returncode == 75
    assert f"process {first.pid} on" in second.stderr
    assert second.stderr.count("\n") == 1
