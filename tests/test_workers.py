"""Decode workers: what hangs, crashes or is killed is replaced, and every call comes back under its own key."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from vidlabel.errors import VideoError
from vidlabel.executors.pool import CannotStartError, ProcessPool
from vidlabel.executors.workers import DecodeWorkers


def process_id(_: int) -> int:
    return os.getpid()


def double(value: int) -> int:
    return 2 * value


def sleep(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def ignore_termination_and_hang(_: int) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)


def refuse(_: int) -> None:
    raise VideoError("not a video", permanent=True)


def break_off_in_the_middle_of_the_result(_: int) -> None:
    """As the kernel does it: the first half of a long message is in the pipe, the rest never comes."""
    pipes = [
        file for file in Path("/proc/self/fd").iterdir() if file.is_symlink() and "socket:" in str(file.readlink())
    ]
    for pipe in pipes:
        with contextlib.suppress(OSError):
            os.write(int(pipe.name), (1 << 20).to_bytes(4, "big") + b"half of a message" * 100)
    os.kill(os.getpid(), signal.SIGKILL)


class StubbornError(Exception):
    """Cannot be unpickled: what a library's own errors are like."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def raise_what_cannot_be_sent(_: int) -> None:
    raise StubbornError(1, 2)


def return_what_cannot_be_sent(_: int) -> object:
    return lambda: None


def oom_score(_: int) -> int:
    return int(Path("/proc/self/oom_score_adj").read_text())


def end_at_once() -> None:
    os._exit(7)


def take(workers: DecodeWorkers[Any], count: int) -> dict[Any, Any]:
    results: dict[Any, Any] = {}
    deadline = time.monotonic() + 60
    while len(results) < count and time.monotonic() < deadline:
        results |= dict(workers.finished(0.2))
    return results


def test_every_call_comes_back_under_its_key() -> None:
    with DecodeWorkers[str](num_workers=2, memory_mb=4096) as workers:
        for value in range(20):
            workers.submit(f"key{value}", double, value, seconds=30)
        assert take(workers, 20) == {f"key{value}": 2 * value for value in range(20)}
        assert len(workers) == 0


def test_call_that_hangs_is_killed_and_the_others_go_on() -> None:
    with DecodeWorkers[int](num_workers=2, memory_mb=4096) as workers:
        workers.submit(0, ignore_termination_and_hang, 0, seconds=1)
        for value in range(1, 6):
            workers.submit(value, double, value, seconds=30)
        results = take(workers, 6)
    assert {value: results[value] for value in range(1, 6)} == {value: 2 * value for value in range(1, 6)}
    assert "not done within the time limit of 1 s" in results[0].reason


def test_reason_and_permanence_of_a_failure_survive_the_way_back() -> None:
    with DecodeWorkers[int](num_workers=1, memory_mb=4096) as workers:
        workers.submit(0, refuse, 0, seconds=30)
        error = take(workers, 1)[0]
    assert (error.reason, error.permanent) == ("not a video", True)


def test_worker_killed_while_idle_is_replaced() -> None:
    with DecodeWorkers[int](num_workers=1, memory_mb=4096) as workers:
        workers.submit(0, process_id, 0, seconds=30)
        process = take(workers, 1)[0]
        os.kill(process, signal.SIGKILL)
        while Path(f"/proc/{process}").exists():
            time.sleep(0.02)
        time.sleep(1)  # time for the pool to notice, which must not matter
        for value in range(3):
            workers.submit(value, double, value, seconds=30)
        assert take(workers, 3) == {0: 0, 1: 2, 2: 4}


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="finds its pipe by Linux' means")
def test_worker_killed_half_way_through_its_result_costs_that_call_only() -> None:
    with DecodeWorkers[int](num_workers=2, memory_mb=4096) as workers:
        workers.submit(0, break_off_in_the_middle_of_the_result, 0, seconds=30)
        for value in range(1, 12):
            workers.submit(value, break_off_in_the_middle_of_the_result if value == 6 else double, value, seconds=30)
        started = time.monotonic()
        results = take(workers, 12)
        assert time.monotonic() - started < 20, "something waited for the rest of a message"
    assert {value: results[value] for value in range(1, 12) if value != 6} == {v: 2 * v for v in range(1, 12) if v != 6}
    for value in (0, 6):
        assert "killed (SIGKILL)" in results[value].reason


def test_what_cannot_be_sent_back_is_told_by_its_name() -> None:
    with DecodeWorkers[int](num_workers=1, memory_mb=4096) as workers:
        workers.submit(0, raise_what_cannot_be_sent, 0, seconds=30)
        workers.submit(1, return_what_cannot_be_sent, 0, seconds=30)
        workers.submit(2, double, 2, seconds=30)
        results = take(workers, 3)
    assert "StubbornError: 1 and 2" in results[0].reason
    assert "lambda" in results[1].reason
    assert results[2] == 4


def test_termination_of_the_whole_group_leaves_the_decision_to_the_run() -> None:
    with DecodeWorkers[int](num_workers=1, memory_mb=4096) as workers:
        workers.submit(0, process_id, 0, seconds=30)
        process = take(workers, 1)[0]
        workers.submit(1, sleep, 1.0, seconds=30)
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(process, number)
        assert take(workers, 1) == {1: 1.0}


@pytest.mark.skipif(not Path("/proc/self/oom_score_adj").exists(), reason="Linux has an out-of-memory killer")
def test_the_kernel_takes_a_worker_before_the_run_when_memory_ends() -> None:
    with DecodeWorkers[int](num_workers=1, memory_mb=4096) as workers:
        workers.submit(0, oom_score, 0, seconds=30)
        assert take(workers, 1)[0] > int(Path("/proc/self/oom_score_adj").read_text())


def test_workers_that_cannot_start_end_the_run_with_a_reason(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    context = multiprocessing.get_context("forkserver")
    pool = ProcessPool(context, num_workers=2, calls_per_worker=10, prepare=end_at_once)
    with pytest.raises(CannotStartError, match="before they are ready"):
        pool.submit(double, 1, seconds=30).result(timeout=60)
    pool.stop()


def test_leaving_does_not_wait_for_what_still_runs() -> None:
    started = time.monotonic()
    with DecodeWorkers[int](num_workers=1, memory_mb=4096) as workers:
        workers.submit(0, sleep, 300.0, seconds=600)
    assert time.monotonic() - started < 60
