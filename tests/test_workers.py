"""Decode workers: what hangs, crashes or is killed is replaced, and every call comes back under its own key."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from vidlabel.errors import VideoError
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


def test_worker_killed_while_idle_is_replaced(caplog: pytest.LogCaptureFixture) -> None:
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


def test_leaving_does_not_wait_for_what_still_runs() -> None:
    started = time.monotonic()
    with DecodeWorkers[int](num_workers=1, memory_mb=4096) as workers:
        workers.submit(0, sleep, 300.0, seconds=600)
    assert time.monotonic() - started < 60
