from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from vidlabel.data import Failure
from vidlabel.errors import InputError
from vidlabel.failures import FailureLog, should_retry

FAILURE = Failure(
    id="v1",
    video_id="v1",
    path="a.mp4",
    stage="open",
    reason="no video stream",
    file_size=10,
    file_mtime=1.5,
)


def retry(failure: Failure, *, size: int | None = 10, mtime: float | None = 1.5, retry_failed: bool = False) -> bool:
    return should_retry(failure, file_size=size, file_mtime=mtime, max_attempts=3, retry_failed=retry_failed)


@pytest.mark.parametrize(
    ("attempts", "permanent", "expected"), [(1, False, True), (2, False, True), (3, False, False), (1, True, False)]
)
def test_what_may_pass_is_tried_again_up_to_a_limit(attempts: int, permanent: bool, expected: bool) -> None:
    assert retry(replace(FAILURE, attempts=attempts, permanent=permanent)) is expected


def test_a_changed_file_is_always_tried_again() -> None:
    hopeless = replace(FAILURE, attempts=9, permanent=True)
    assert not retry(hopeless)
    assert retry(hopeless, size=11)
    assert retry(hopeless, mtime=2.5)


def test_a_missing_file_is_tried_when_it_comes() -> None:
    missing = replace(FAILURE, file_size=None, file_mtime=None, permanent=True)
    assert not retry(missing, size=None, mtime=None)
    assert retry(missing)


def test_retry_failed_forces_it() -> None:
    assert retry(replace(FAILURE, attempts=9, permanent=True), retry_failed=True)


def test_attempts_are_counted_over_runs_and_anew_for_a_changed_file(tmp_path: Path) -> None:
    path = tmp_path / "labels.failures.jsonl"
    for attempt in (1, 2, 3):
        with FailureLog(path) as log:
            assert log.add(FAILURE).attempts == attempt
    with FailureLog(path) as log:
        assert log.add(replace(FAILURE, file_size=11)).attempts == 1


def test_a_success_takes_the_line_away_and_the_last_one_the_file(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    with FailureLog(path) as log:
        log.add(FAILURE)
        log.add(replace(FAILURE, id="v2"))
    with FailureLog(path) as log:
        log.remove("v2")
        log.remove("never failed")
    assert [json.loads(line)["id"] for line in path.read_text().splitlines()] == ["v1"]
    with FailureLog(path) as log:
        log.remove("v1")
    assert not path.exists()


def test_lines_hold_everything_and_any_text_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    odd = replace(FAILURE, id="c\udcff", video_id="v\u2028", path="x\udcfe\\x41.mp4", reason="bad\nbytes \x85 é")
    with FailureLog(path) as log:
        log.add(odd)
    text = path.read_bytes().decode()
    assert text.splitlines() == [text[:-1]]
    assert json.loads(text) | {"id": "", "video_id": "", "path": ""} == {
        "id": "",
        "video_id": "",
        "path": "",
        "stage": "open",
        "reason": "bad\nbytes \x85 é",
        "attempts": 1,
        "permanent": False,
        "file_size": 10,
        "file_mtime": 1.5,
    }
    assert list(FailureLog(path)) == [odd]


def test_failures_of_a_video_are_found_with_those_of_its_clips(tmp_path: Path) -> None:
    with FailureLog(tmp_path / "f.jsonl") as log:
        clip = log.add(replace(FAILURE, id="v1-0-10"))
        log.add(replace(FAILURE, id="v2", video_id="v2"))
    again = FailureLog(tmp_path / "f.jsonl")
    assert again.of_video("v1") == [clip]
    again.remove(clip.id)
    assert again.of_video("v1") == again.of_video("v3") == []
    assert len(again) == 1


def test_the_file_is_written_while_the_run_lasts_but_not_for_every_line(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    log = FailureLog(path, flush_seconds=3600)
    log.add(FAILURE)
    assert not path.exists()
    FailureLog(path, flush_seconds=0).add(FAILURE)
    assert path.exists()


def test_a_run_without_failures_writes_nothing(tmp_path: Path) -> None:
    with FailureLog(tmp_path / "f.jsonl"):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("line", ["{broken", '{"id": "x"}', "[]", '"text"', "\udcff"])
def test_a_line_that_is_not_ours_is_named_and_nothing_is_overwritten(tmp_path: Path, line: str) -> None:
    path = tmp_path / "f.jsonl"
    with FailureLog(path) as log:
        log.add(FAILURE)
    with path.open("a", errors="surrogateescape") as file:
        file.write("\n" + line + "\n")
    with pytest.raises(InputError, match="line 3"):
        FailureLog(path)


def test_fields_of_a_later_version_are_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    with FailureLog(path) as log:
        log.add(FAILURE)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"colour": "red"}))
    assert list(FailureLog(path)) == [FAILURE]
