"""`vidlabel signals`: one row a clip, resumed like any run, never mixed, and a manifest that `caption` takes."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from tests.runs import folder_of_videos, rows, two_scenes
from vidlabel.cli import app
from vidlabel.signals.table import SIGNALS, parse_signals

PIXELS = list(parse_signals("pixels"))


def run(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args])


def measure(*args: object) -> Result:
    result = run("signals", *args, "--workers", 1)
    assert result.exit_code == 0, result.stderr
    return result


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two videos of two scenes, and a file that is no video, below a folder with their signals."""
    folder = tmp_path_factory.mktemp("measured")
    folder_of_videos(folder / "videos", 2)
    (folder / "videos" / "broken.mp4").write_bytes(b"no video" * 100)
    result = run("signals", folder / "videos", "--out", folder / "signals.parquet", "--workers", 1)
    assert result.exit_code == 3, result.stderr
    return folder


def test_every_clip_has_a_row_with_all_signals_and_what_its_file_is(measured: Path) -> None:
    table = pq.read_table(measured / "signals.parquet")
    names = table.schema.names
    assert names[-len(PIXELS) - 1 :] == [*PIXELS, "video"]
    assert not {"caption", "answer", "instruction", "model", "flags"} & set(names)
    found = table.to_pylist()
    assert [(row["video_path"], row["start_seconds"] > 0) for row in found] == [
        (name, is_second) for name in ("video000.mp4", "video001.mp4") for is_second in (False, True)
    ]
    assert all(row["codec"] == "h264" and row["num_frames"] == 16 and row["cut_inside"] is False for row in found)
    kinds = {"float": "double", "bool": "bool", "int": "int64", "string": "string"}
    filled = {
        signal.name: kinds[signal.kind] for signal in SIGNALS if signal.name in ("motion", "flash", "content_box")
    }
    assert {name: str(table.schema.field(name).type) for name in filled} == filled


def test_broken_file_is_in_the_failures_and_costs_itself_only(measured: Path) -> None:
    (failure,) = [json.loads(line) for line in (measured / "signals.failures.jsonl").read_text().splitlines()]
    assert (failure["path"], failure["stage"], failure["permanent"]) == ("broken.mp4", "scenes", True)


def test_same_command_again_measures_only_what_is_new(tmp_path: Path) -> None:
    folder, out = folder_of_videos(tmp_path / "videos", 2), tmp_path / "signals.parquet"
    measure(folder, "--out", out, "--signals", "motion")
    before = rows(out)
    two_scenes(folder / "new.mp4", 9)
    result = measure(folder, "--out", out, "--signals", "motion")
    assert "2 videos were labelled before and skipped" in result.stderr
    after = rows(out)
    assert after[: len(before)] == before
    assert {row["video_path"] for row in after[len(before) :]} == {"new.mp4"}


def test_rows_of_other_signals_are_never_mixed_in(measured: Path) -> None:
    args = ("signals", measured / "videos", "--out", measured / "signals.parquet")
    for other in (("--signals", "motion"), ("--frames", 4)):
        result = run(*args, *other)
        assert (result.exit_code, "other settings" in result.stderr) == (2, True)


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_signals_are_a_manifest_that_caption_takes_and_chooses_by(tmp_path: Path, form: str) -> None:
    folder_of_videos(tmp_path / "videos", 2)
    out = tmp_path / f"signals.{form}"
    measure(tmp_path / "videos", "--out", out, "--signals", "brightness")
    found = rows(out) if form == "parquet" else [json.loads(line) for line in out.read_text().splitlines()]
    least = sorted(row["brightness"] for row in found)[2]  # type: ignore[type-var]
    labels = tmp_path / "labels.parquet"
    result = run("caption", out, "--model", "echo", "--where", f"brightness >= {least}", "--out", labels)
    assert result.exit_code == 0, result.stderr
    spans = ["clip_id", "video_id", "start_seconds", "end_seconds", "brightness"]
    wanted = [[row[name] for name in spans] for row in found if row["brightness"] >= least]  # type: ignore[operator]
    assert sorted([row[name] for name in spans] for row in rows(labels)) == sorted(wanted)


def test_manifests_own_columns_and_subtitles_come_along(tmp_path: Path) -> None:
    (tmp_path / "films").mkdir()
    two_scenes(tmp_path / "films" / "a.mp4", 1)
    (tmp_path / "films" / "a.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nhello\n")
    manifest = tmp_path / "clips.csv"
    with manifest.open("w", newline="") as file:
        csv.writer(file).writerows(
            [["video", "id", "start", "end", "subtitle", "licence"]]
            + [["films/a.mp4", f"clip{number}", number, number + 0.5, "films/a.srt", "free"] for number in range(2)]
        )
    measure(manifest, "--out", tmp_path / "signals.parquet", "--signals", "motion,blur")
    found = rows(tmp_path / "signals.parquet")
    assert [row["clip_id"] for row in found] == ["clip0", "clip1"]
    assert {(row["video"], row["subtitle"], row["licence"]) for row in found} == {
        ("films/a.mp4", "films/a.srt", "free")
    }
    result = run("caption", tmp_path / "signals.parquet", "--model", "echo", "--out", tmp_path / "labels.parquet")
    assert result.exit_code == 0, result.stderr
    (first, _) = rows(tmp_path / "labels.parquet")
    assert (first["clip_id"], first["licence"], first["subtitle_source"]) == ("clip0", "free", "manifest")


def test_caption_keeps_signals_beside_its_labels(tmp_path: Path) -> None:
    two_scenes(tmp_path / "a.mp4", 1)
    out = tmp_path / "labels.parquet"
    result = run("caption", tmp_path / "a.mp4", "--model", "echo", "--signals", "motion,flash", "--out", out)
    assert result.exit_code == 0, result.stderr
    assert all(isinstance(row["motion"], float) and row["flash"] is False for row in rows(out))


def test_list_prints_every_signal() -> None:
    out = run("signals", "--list").stdout
    assert all(f"{signal.name} " in out and signal.meaning in out and signal.source in out for signal in SIGNALS)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--signals", "colour"], "no signal 'colour'"),
        (["--out", "folder"], ".parquet or .jsonl"),
        (["--detector", "eye"], "--detector"),
        (["--time-budget", "soon"], "--time-budget"),
        (["--shard", "3"], "--shard"),
    ],
)
def test_wrong_options_are_one_clear_line(measured: Path, tmp_path: Path, args: list[str], says: str) -> None:
    usual = [] if "--out" in args else ["--out", str(tmp_path / "new.parquet")]
    result = run("signals", measured / "videos", *usual, *args)
    assert result.exit_code == 2
    assert says in result.stderr
    assert result.stderr.count("\n") == 1


def test_dry_run_measures_nothing(measured: Path, tmp_path: Path) -> None:
    result = measure(measured / "videos", "--out", tmp_path / "new.parquet", "--dry-run")
    assert result.stdout == "3 videos to measure, 0 done, 0 given up\n"
    assert list(tmp_path.iterdir()) == []


def test_shards_make_one_file(measured: Path, tmp_path: Path) -> None:
    out = tmp_path / "signals.parquet"
    (measured / "videos" / "broken.mp4").unlink(missing_ok=True)
    for shard in ("1/2", "2/2"):
        measure(measured / "videos", "--out", out, "--signals", "blur", "--shard", shard)
    assert len(rows(out)) == 4
    assert "caption" not in pq.read_schema(out).names
