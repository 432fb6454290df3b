"""What is seen of a run while it lasts and when it ends."""

from __future__ import annotations

import io
import json
from collections import Counter

import pytest

from vidlabel import progress
from vidlabel.cli_options import parse_duration
from vidlabel.errors import InputError
from vidlabel.progress import Progress, clock
from vidlabel.summary import Summary


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def overdue(shown: Progress) -> Progress:
    """A progress whose last line was long ago."""
    shown._printed -= progress.LINE_SECONDS
    return shown


def test_terminal_sees_a_bar_with_speed_and_failures() -> None:
    stream = Terminal()
    with Progress(total_videos=4, stream=stream) as shown:
        shown.update(num_videos=2, num_clips=6, num_failures=1)
    assert "2/4" in stream.getvalue()
    assert "clips/s, 1 failed" in stream.getvalue()


def test_cron_sees_a_line_every_half_minute() -> None:
    stream = io.StringIO()
    with Progress(total_videos=4, stream=stream) as shown:
        shown.update(num_videos=1, num_clips=3, num_failures=0)
        assert stream.getvalue() == ""
        overdue(shown).update(num_videos=2, num_clips=6, num_failures=1)
        shown.update(num_videos=3, num_clips=9, num_failures=1)
    (line,) = stream.getvalue().splitlines()
    assert line.startswith("2 of 4 videos, 6 clips, 1 failed, ")
    assert line.endswith(" left")


def test_machine_sees_an_object() -> None:
    stream = io.StringIO()
    with Progress(total_videos=4, log_format="json", stream=stream) as shown:
        overdue(shown).update(num_videos=2, num_clips=6, num_failures=1)
    event = json.loads(stream.getvalue())
    assert (event["event"], event["videos"], event["total_videos"], event["failures"]) == ("progress", 2, 4, 1)


def test_summary_names_reasons_files_and_what_is_left() -> None:
    reasons = Counter({f"reason {number}": 20 - number for number in range(12)})
    summary = Summary(2, 15, 3, 1, 30, 60, reasons, seconds=10, waited_seconds=2.5)
    text = summary.to_text(labels="l.parquet", failures="l.failures.jsonl")
    assert "15 videos, 30 clips, 60 labels in 0:00:10 (3.00 clips/s; 25% of the time waiting for frames)" in text
    assert "20 x reason 0" in text
    assert "and 2 other reasons" in text
    assert "3 videos are left for the next run" in text
    assert summary.exit_code == 3
    assert summary.to_fields()["failures_by_reason"]["reason 0"] == 20  # type: ignore[index]


@pytest.mark.parametrize(
    ("summary", "code"),
    [
        (Summary(), 0),
        (Summary(num_left=5), 0),
        (Summary(num_given_up=1), 3),
        (Summary(reasons=Counter(["x"])), 3),
        (Summary(signal_number=2, reasons=Counter(["x"])), 130),
        (Summary(signal_number=15), 143),
    ],
)
def test_exit_code_follows_from_what_happened(summary: Summary, code: int) -> None:
    assert summary.exit_code == code


@pytest.mark.parametrize(
    ("text", "seconds"), [("2h", 7200), ("90m", 5400), ("1h30m", 5400), ("45s", 45), ("45", 45), ("0.5h", 1800)]
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert parse_duration(text, "--time-budget") == seconds


@pytest.mark.parametrize("text", ["", "soon", "0", "-5m", "5x", "h"])
def test_wrong_duration_says_how_to_write_one(text: str) -> None:
    with pytest.raises(InputError, match="2h, 90m"):
        parse_duration(text, "--time-budget")


def test_clock_reads_as_hours_minutes_seconds() -> None:
    assert clock(3725.2) == "1:02:05"
