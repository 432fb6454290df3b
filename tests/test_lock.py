from __future__ import annotations

import json
import multiprocessing
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from vidlabel.errors import InputError, LockedError
from vidlabel.lock import locked

HOLDER = """
import sys, time
from pathlib import Path
from vidlabel.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""

FORKER = """
import os, sys, time
from pathlib import Path
from vidlabel.lock import locked
with locked(Path(sys.argv[1])):
    child = os.fork()
    if child == 0:
        os.write(1, b"held\\n")
        time.sleep(60)
        os._exit(0)
    os.write(1, b"%d\\n" % child)
    time.sleep(60)
"""


def start(script: str, work: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", script, str(work)], stdout=subprocess.PIPE, text=True)


def test_a_second_run_is_told_at_once_who_holds_the_lock(tmp_path: Path) -> None:
    work = tmp_path / "labels.parquet.work"
    with start(HOLDER, work) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        expected = rf"process {holder.pid} on {socket.gethostname()}, since 20..-"
        with pytest.raises(LockedError, match=expected), locked(work):
            pass
        assert json.loads((work / "lock").read_text())["pid"] == holder.pid
        holder.kill()


def test_a_killed_run_holds_nothing(tmp_path: Path) -> None:
    with start(HOLDER, tmp_path / "w") as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        holder.kill()
    with locked(tmp_path / "w"):
        assert json.loads((tmp_path / "w" / "lock").read_text())["pid"] == os.getpid()


def test_a_worker_that_outlives_a_killed_run_does_not_keep_the_lock(tmp_path: Path) -> None:
    with start(FORKER, tmp_path / "w") as holder:
        assert holder.stdout is not None
        lines = [holder.stdout.readline().strip() for _ in range(2)]
        child = int(next(line for line in lines if line != "held"))
        try:
            with pytest.raises(LockedError), locked(tmp_path / "w"):
                pass
            holder.kill()
            holder.wait()
            os.kill(child, 0)  # still there
            with locked(tmp_path / "w"):
                pass
        finally:
            os.kill(child, 9)


def test_the_lock_is_let_go_and_an_idle_folder_removed(tmp_path: Path) -> None:
    work = tmp_path / "deep" / "labels.work"
    for _ in range(3):
        with locked(work):
            (work / "run.json").write_text("{}")
        assert not work.exists()


def test_a_folder_with_work_in_it_stays_and_can_be_locked_again(tmp_path: Path) -> None:
    for _ in range(2):
        with locked(tmp_path / "w"):
            (tmp_path / "w" / "part-1.parquet").touch()
    assert (tmp_path / "w" / "part-1.parquet").exists()


def test_a_failed_run_lets_go(tmp_path: Path) -> None:
    def fail() -> None:
        with locked(tmp_path / "w"):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with locked(tmp_path / "w"):
        pass


def test_a_work_folder_removed_by_hand_is_no_error_at_the_end(tmp_path: Path) -> None:
    with locked(tmp_path / "w"):
        (tmp_path / "w" / "lock").unlink()
        (tmp_path / "w").rmdir()


@pytest.mark.parametrize("place", ["file/w", "dangling/w"])
def test_a_place_that_cannot_be_written_is_one_clear_line(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "gone" / "far")
    with pytest.raises(InputError, match="cannot be written"), locked(tmp_path / place):
        pass


def _take_turns(work: Path, log: Path, rounds: int) -> None:
    done = 0
    while done < rounds:
        try:
            with locked(work):
                with log.open("a") as file:
                    file.write("in\n")
                with log.open("a") as file:
                    file.write("out\n")
            done += 1
        except LockedError:
            continue


def test_many_runs_that_remove_the_folder_under_each_other_are_never_in_it_together(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    arguments = (tmp_path / "w", tmp_path / "log", 150)
    runs = [context.Process(target=_take_turns, args=arguments) for _ in range(3)]
    for run in runs:
        run.start()
    for run in runs:
        run.join(60)
    assert [run.exitcode for run in runs] == [0, 0, 0]
    assert (tmp_path / "log").read_text() == "in\nout\n" * 450
