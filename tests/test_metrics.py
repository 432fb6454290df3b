"""`--metrics-file` and `--max-failures`: numbers that Prometheus reads, and a run that stops when too much fails."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import parser
from typer.testing import CliRunner

from tests import faults
from tests.cuda import needs_cuda
from tests.runs import folder_of_videos, job, label, label_ids, two_scenes
from vidlabel.captioner import EchoCaptioner
from vidlabel.cli import app
from vidlabel.config import Limits
from vidlabel.data import Answer, AskedClip
from vidlabel.errors import InputError
from vidlabel.max_failures import MIN_FINISHED, FailureWatch, parse_max_failures
from vidlabel.metrics import MAX_REASONS, Counts, Metrics, reason_counts, render

Samples = dict[tuple[str, str], float]


def samples(text: str) -> Samples:
    """By name and reason, as a reader of the format sees them; what it does not understand raises."""
    found: Samples = {}
    for family in parser.text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, sample.labels.get("reason", ""))
            assert key not in found, f"{key} is there twice"
            found[key] = sample.value
    return found


class LookingCaptioner:
    """An echo that looks at the file at every clip."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seen: list[Samples] = []

    def answer(self, clips: Iterable[AskedClip]) -> Iterator[Answer]:
        for asked in clips:
            self.seen.append(samples(self.path.read_text()))
            yield from EchoCaptioner().answer([asked])


def test_numbers_of_a_run_reach_prometheus(tmp_path: Path) -> None:
    folder, path = folder_of_videos(tmp_path / "videos", 3), tmp_path / "vidlabel.prom"
    (folder / "empty.mp4").touch()
    out = tmp_path / "labels.parquet"
    args = ["caption", str(folder), "--out", str(out), "--model", "echo", "--metrics-file", str(path)]
    result = CliRunner().invoke(app, args)
    assert result.exit_code == 3, result.stderr
    found = samples(path.read_text())
    expected = {"videos_planned": 4, "videos_total": 4, "videos_failed_total": 1, "clips_total": 6, "labels_total": 6,
                "run_active": 0, "run_exit_code": 3}  # fmt: skip
    assert {name: found[f"vidlabel_{name}", ""] for name in expected} == expected
    assert found["vidlabel_failures_total", "the file is empty"] == 1
    assert found["vidlabel_clips_per_second", ""] > 0
    assert found["vidlabel_captioner_waited_seconds_total", ""] > 0
    assert found["vidlabel_resident_memory_bytes", ""] > 50e6
    assert os.listdir(tmp_path) == [name for name in os.listdir(tmp_path) if not name.endswith(".tmp")]  # noqa: PTH208


def test_numbers_are_there_while_the_run_lasts_and_say_when_it_broke(tmp_path: Path) -> None:
    folder, path = folder_of_videos(tmp_path / "videos", 3), tmp_path / "vidlabel.prom"
    looking = LookingCaptioner(path)
    label(folder, job(tmp_path / "a.parquet", captioner=looking, metrics_file=path))
    assert [seen["vidlabel_run_active", ""] for seen in looking.seen] == [1.0] * 6
    broken = faults.FaultyCaptioner(0, raise_after=1)
    with pytest.raises(RuntimeError):
        label(folder, job(tmp_path / "b.parquet", captioner=broken, metrics_file=path))
    found = samples(path.read_text())
    assert (found["vidlabel_run_active", ""], found["vidlabel_run_exit_code", ""]) == (0, 1)


def test_file_is_written_at_most_every_few_seconds(tmp_path: Path) -> None:
    path = tmp_path / "a.prom"
    with Metrics(path, output="o", write_seconds=3600) as metrics:
        for number in range(5):
            metrics.update(Counts(num_clips=number))
        assert samples(path.read_text())["vidlabel_clips_total", ""] == 0
        metrics.finish(Counts(num_clips=5), 0)
    assert samples(path.read_text())["vidlabel_clips_total", ""] == 5


def test_numbers_that_cannot_be_written_do_not_cost_labels(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder, out = folder_of_videos(tmp_path / "videos", 1), tmp_path / "labels.parquet"
    gone = tmp_path / "gone" / "a.prom"
    assert label(folder, job(out, metrics_file=gone)).exit_code == 0
    assert len(label_ids(out)) == 2
    assert [record.getMessage() for record in caplog.records] == [
        f"--metrics-file {gone} cannot be written: No such file or directory"
    ]


@given(st.dictionaries(st.text(max_size=30), st.integers(1, 99), max_size=30), st.text(max_size=40))
def test_any_reason_and_path_is_valid_text(reasons: dict[str, int], output: str) -> None:
    text = render(Counts(reasons=reasons), output=output + "\udcff", seconds=1.5, began=0.0, code=None)
    found = samples(text)
    total = sum(value for (name, _), value in found.items() if name == "vidlabel_failures_total")
    assert total == sum(reasons.values())


@needs_cuda
def test_gpu_memory_is_told_of_a_gpu_that_is_in_use() -> None:
    import torch

    kept = torch.zeros(64 << 20, dtype=torch.uint8, device="cuda")
    found = samples(render(Counts(), output="o", seconds=1.0, began=0.0, code=None))
    assert len(kept) < found["vidlabel_gpu_memory_used_bytes", ""] < found["vidlabel_gpu_memory_total_bytes", ""]


def test_reasons_are_a_bounded_number_of_series() -> None:
    spread = {f"its clip starts at {second}.5 s" + "!" * (second % 40): 1 for second in range(400)}
    counted = reason_counts(spread)
    assert len(counted) == MAX_REASONS + 1
    assert counted["other"] == 200
    assert counted["its clip starts at N s"] == 10


def run_cli(*args: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["caption", *args])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stderr


@pytest.mark.parametrize("text", ["5 percent", "-1", "101%", "2.5", "", "%", "1e3", "٣%"])
def test_wrong_limit_is_one_line(tmp_path: Path, text: str) -> None:
    folder = folder_of_videos(tmp_path / "videos", 1)
    code, stderr = run_cli(
        str(folder), "--out", str(tmp_path / "l.parquet"), "--model", "echo", f"--max-failures={text}"
    )
    assert (code, stderr.count("\n")) == (2, 1)
    assert "for example 5%" in stderr


@pytest.mark.parametrize("name", ["a.txt", "nowhere/a.prom"])
def test_wrong_metrics_file_is_one_line_before_any_work(tmp_path: Path, name: str) -> None:
    folder = folder_of_videos(tmp_path / "videos", 1)
    out = tmp_path / "l.parquet"
    code, stderr = run_cli(str(folder), "--out", str(out), "--model", "echo", "--metrics-file", str(tmp_path / name))
    assert (code, stderr.count("\n")) == (2, 1)
    assert not out.exists()


@pytest.mark.parametrize(
    ("text", "num_failed", "num_finished", "expected"),
    [
        ("5%", 3, MIN_FINISHED, True),
        ("6%", 3, MIN_FINISHED, False),  # more than, not as many as
        ("5%", MIN_FINISHED - 1, MIN_FINISHED - 1, False),  # too early to tell
        ("0%", 1, 1000, True),
        ("0.1%", 1, 1000, False),
        ("100%", 1000, 1000, False),
        ("2", 2, 2, False),
        ("2", 3, 3, True),
        ("0", 1, 1, True),
    ],
)
def test_too_many_is_more_than_the_limit(text: str, num_failed: int, num_finished: int, expected: bool) -> None:
    watch = FailureWatch(parse_max_failures(text))
    assert watch.tripped(num_failed=num_failed, num_finished=num_finished) is expected


def test_verdict_stays_when_later_videos_go_well() -> None:
    watch = FailureWatch(parse_max_failures("5%"))
    assert watch.tripped(num_failed=10, num_finished=100)
    assert watch.tripped(num_failed=10, num_finished=10_000)


def test_run_in_which_too_much_fails_stops_in_good_order_and_goes_on_later(tmp_path: Path) -> None:
    folder, out = tmp_path / "videos", tmp_path / "labels.jsonl"
    folder.mkdir()
    for number in range(10):
        two_scenes(folder / f"a{number:02}.mp4", number)
        (folder / f"b{number:02}.mp4").touch()
        two_scenes(folder / f"c{number:02}.mp4", 100 + number)
    args = [str(folder), "--out", str(out), "--model", "echo", "--workers", "1"]
    code, stderr = run_cli(*args, "--max-failures", "4")
    assert code == 1
    stopped = [line for line in stderr.splitlines() if line.startswith("stopped: ")]
    assert len(stopped) == 1
    assert "more than --max-failures 4" in stopped[0]
    saved = [json.loads(line)["label_id"] for line in out.read_text().splitlines()]
    assert 0 < len(saved) < 40
    assert not (tmp_path / "labels.jsonl.work").exists()
    code, _ = run_cli(*args)
    after = [json.loads(line)["label_id"] for line in out.read_text().splitlines()]
    assert (code, len(after), len(set(after)), after[: len(saved)]) == (3, 40, 40, saved)


def test_share_counts_videos_and_not_their_clips(tmp_path: Path) -> None:
    folder, out = folder_of_videos(tmp_path / "videos", MIN_FINISHED), tmp_path / "labels.parquet"
    two_scenes(folder / "a_crashes_in_frames.mp4", 1)  # two failed clips, one failed video
    made = job(out, stages=faults.STAGES, max_failures=parse_max_failures("3%"), limits=Limits(num_workers=2))
    summary = label(folder, made)
    assert (summary.num_failures, summary.stopped_by, summary.exit_code) == (2, None, 3)


def test_nonsense_is_refused() -> None:
    with pytest.raises(InputError):
        parse_max_failures("nan%")
