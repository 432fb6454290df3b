"""The engine's benchmark measures what it says, and the GPU session's script runs where there is no GPU."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.engine import main
from benchmarks.engine_baselines import Baseline
from benchmarks.engine_floor import shape_of
from benchmarks.gpu_rows import markdown, read_rows
from benchmarks.random_models import configs
from benchmarks.train_step import main as train_step_main
from benchmarks.train_step import step_flops

TINY = ["--size", "tiny", "--clips", "3", "--frames", "4", "--device", "cpu", "--dtype", "float32"]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    file = tmp_path_factory.mktemp("figures") / "engine.json"
    main([*TINY, "--k", "2", "--lengths", "mix", "--slots", "2", "--baselines", "none", "--json", str(file)])
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def test_answers_have_the_lengths_that_the_mix_says(mixed: dict[str, Any]) -> None:
    run = mixed["runs"][0]
    assert run["answers"] == [200, 40]
    assert run["tokens"] == 3 * 240
    assert run["decode"]["tokens"] == 3 * (199 + 39)


def test_only_useful_work_counts(mixed: dict[str, Any]) -> None:
    run = mixed["runs"][0]
    assert run["slots"] == 2
    assert run["vision"]["frames"] == 3 * 4
    assert run["prefill"]["tokens"] == 3 * run["prefix_tokens"]
    # two clips at once, then one: the rows of the short answers stand empty for most of it
    assert run["decode"]["steps"] == pytest.approx(2 * 199, abs=8)
    assert run["slot_occupancy"] == pytest.approx(0.75, abs=0.02)
    assert run["row_occupancy"] == pytest.approx(3 * 238 / (4 * 398), abs=0.02)
    assert 0 <= run["idle_share"] < 1
    stages = sum(run[stage]["seconds"] for stage in ("vision", "prefill", "extend", "decode"))
    assert stages == pytest.approx(run["seconds"] * (1 - run["idle_share"]))


def test_share_of_the_floor_is_the_floors_time_over_the_runs(mixed: dict[str, Any]) -> None:
    run = mixed["runs"][0]
    assert run["share_of_floor"] == pytest.approx(3 * run["floor"]["seconds_per_clip"] / run["seconds"])
    assert 0 < run["share_of_floor"] < 1


def test_baselines_and_costs_are_of_the_same_run(capsys: pytest.CaptureFixture[str]) -> None:
    found = main([*TINY, "--compare-k", "1,2", "--new-tokens", "5", "--baseline-clips", "2"])
    one, two = found["runs"]
    assert "baselines" not in one
    assert sorted(two["baselines"]) == ["a", "b", "c"]
    for baseline in two["baselines"].values():
        assert baseline["ratio"] == pytest.approx(two["clips_per_second"] / baseline["clips_per_second"])
        assert baseline["ratio_without_repeated_vision"] <= baseline["ratio"]
    assert found["cost"] == pytest.approx(two["seconds"] / one["seconds"])
    assert "K=2 costs" in capsys.readouterr().out


def test_repeated_vision_can_be_left_out_of_a_baseline() -> None:
    baseline = Baseline(num_clips=4, seconds=10.0, repeated_vision_seconds=2.0)
    assert (baseline.clips_per_second, baseline.clips_per_second_without_repeated_vision) == (0.4, 0.5)


@pytest.mark.parametrize(
    "wrong", [["--compare-k", "8"], ["--compare-k", "x,y"], ["--k", "0"], ["--baselines", "d"], ["--size", "huge"]]
)
def test_wrong_options_are_refused(wrong: list[str]) -> None:
    with pytest.raises(SystemExit):
        main([*TINY, *wrong])


def test_rows_of_a_killed_section_are_kept_but_for_half_a_line(tmp_path: Path) -> None:
    sink = tmp_path / "rows.jsonl"
    assert read_rows(sink) == []
    sink.write_text(
        '{"section": "s", "what": "w", "ms": 1.5, "gb_per_second": 3000.0, "share": 0.7}\n{"section": "s", '
    )
    rows = read_rows(sink)
    assert [row["what"] for row in rows] == ["w"]
    assert markdown("t", rows, ["s died"]).splitlines()[-3:] == [
        "| w | 1.500 ms | 3000 GB/s | 70% |  |",
        "",
        "- s died",
    ]


@pytest.mark.slow
def test_gpu_session_runs_in_small_without_a_gpu(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.gpu", "--tiny", "--device", "cpu", "--minutes", "30"]
    done = subprocess.run([*command, "--out", str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    rows = json.loads((tmp_path / "gpu.json").read_text())["rows"]
    notes = [row["note"] for row in rows]
    assert not [note for note in notes if any(word in note for word in ("FAILED", "skipped", "WRONG"))]
    sections = list(dict.fromkeys(row["section"].split()[0] for row in rows))
    assert sections == ["machine", "decode_kernel", "vision", "prefill", "decode_step", "divergence", "end_to_end"]
    assert "| llama2 K=8, 4 clips |" in (tmp_path / "gpu.md").read_text()


@pytest.mark.slow
def test_a_section_beyond_its_deadline_costs_itself_only(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.gpu", "--tiny", "--device", "cpu", "--minutes", "0.001"]
    done = subprocess.run(
        [*command, "--sections", "machine,vision", "--out", str(tmp_path)], capture_output=True, text=True, check=False
    )
    values = json.loads((tmp_path / "gpu.json").read_text())
    assert done.returncode == (1 if values["problems"] else 0)
    skipped = [row for row in values["rows"] if row["note"] == "skipped: out of time"]
    assert len(skipped) + len(values["problems"]) == 2


def test_a_training_step_is_measured_where_there_is_no_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    assert train_step_main(["--size", "tiny", "--device", "cpu", "--frames", "3", "--steps", "2"]) == 0
    told = capsys.readouterr().out
    assert "tiny llama2, 4 x 3 frames, LoRA" in told
    assert "(median of 2)" in told
    assert "tokens/s" in told
    assert "MFU" in told


def test_frozen_weights_cost_a_training_step_as_much_backwards_as_forwards() -> None:
    shape = shape_of(*configs("7b", "llama2"))
    forwards = shape.prefill_flops(3000)
    work = step_flops(shape, clips=1, frames=0, tokens=3000, answer=0)
    assert 2 * forwards < work < 2.2 * forwards  # attention, without weights, costs twice as much
