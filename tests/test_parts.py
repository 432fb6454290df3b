from __future__ import annotations

import json
import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.make_labels import SETTINGS, label
from vidlabel.atomic import whole_file
from vidlabel.config import SceneSettings
from vidlabel.data import Clip, Span, Video, VideoInfo
from vidlabel.errors import InputError
from vidlabel.labels import Label
from vidlabel.merge import merge
from vidlabel.outputs import (
    Output,
    begin_work,
    discard_work,
    is_replacing,
    label_files,
    parse_output,
    read_info,
    remove_work,
)
from vidlabel.parts import PartSaver, part_paths, part_writer, read_part
from vidlabel.readers import read_labels
from vidlabel.resume import check_settings, read_existing
from vidlabel.scenes_cache import ScenesCache

KINDS = ["labels.parquet", "labels.jsonl", "labels"]


def write_parts(output: Output, labels: Sequence[Label], *, max_rows: int = 3) -> None:
    output.work.mkdir(parents=True, exist_ok=True)
    with part_writer(output.work, SETTINGS.to_json(), max_rows=max_rows) as parts:
        for made in labels:
            parts.add(made)


def rows_of(output: Output) -> list[dict[str, object]]:
    return [row for batch in read_labels(output.path) for row in batch.to_pylist()]


def ids(labels: Sequence[Label]) -> list[str]:
    return [made.label_id for made in labels]


@pytest.fixture(params=KINDS)
def output(request: pytest.FixtureRequest, tmp_path: Path) -> Output:
    return parse_output(tmp_path / request.param)


# ---- whole files


def test_a_file_that_fails_half_way_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail() -> None:
        with whole_file(path) as beside:
            beside.write_text("ne")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


# ---- parts


def test_parts_are_saved_by_number_and_at_the_end(tmp_path: Path) -> None:
    output = parse_output(tmp_path / "labels.parquet")
    write_parts(output, [label(n) for n in range(7)], max_rows=3)
    assert [read_part(path).num_rows for path in part_paths(output.work)] == [3, 3, 1]


def test_parts_are_saved_in_time_while_the_run_waits(tmp_path: Path) -> None:
    with part_writer(tmp_path, "{}", flush_seconds=0.05) as parts:
        parts.add(label())
        deadline = time.monotonic() + 10
        while not part_paths(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(part_paths(tmp_path)) == 1


def test_what_was_made_is_saved_when_the_run_fails(tmp_path: Path) -> None:
    def fail() -> None:
        with part_writer(tmp_path, "{}") as parts:
            parts.add(label())
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert len(part_paths(tmp_path)) == 1


def test_rows_wait_for_the_disk_to_come_back(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    parts = part_writer(folder, "{}", flush_seconds=1.0)
    parts.add(label())
    time.sleep(1.5)  # the clock's own try fails: there is no folder
    with pytest.raises(OSError, match="work"):
        parts.flush()
    folder.mkdir()
    parts.flush()
    assert [read_part(path).num_rows for path in part_paths(folder)] == [1]


def test_writers_in_one_folder_never_take_the_same_name(tmp_path: Path) -> None:
    writers = [part_writer(tmp_path, "{}") for _ in range(20)]
    for number, parts in enumerate(writers):
        parts.add(label(number))
        parts.flush()
    assert len(part_paths(tmp_path)) == 20


@pytest.mark.parametrize("damage", ["cut", "empty", "flip"])
def test_a_damaged_part_is_set_aside_and_its_labels_are_made_again(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    output = parse_output(tmp_path / "labels.parquet")
    write_parts(output, [label(n) for n in range(6)], max_rows=3)
    path = part_paths(output.work)[0]
    data = bytearray(path.read_bytes())
    data[20] ^= 0xFF  # in the first column's page, that of the label ids
    path.write_bytes({"cut": bytes(data[: len(data) // 2]), "empty": b"", "flip": bytes(data)}[damage])
    with caplog.at_level(logging.WARNING):
        existing = read_existing(output)
    assert set(existing.done_label_ids) == set(ids([label(n) for n in range(3, 6)]))
    assert path.name + ".broken" in caplog.text
    assert merge(output, SETTINGS) == 3


def test_a_part_damaged_during_the_run_stops_the_merge_and_loses_nothing(tmp_path: Path) -> None:
    output = parse_output(tmp_path / "labels.parquet")
    write_parts(output, [label(n) for n in range(6)], max_rows=3)
    part_paths(output.work)[1].write_bytes(b"PAR1")
    with pytest.raises(InputError, match="run the same command again"):
        merge(output, SETTINGS)
    assert not output.path.exists()
    assert set(read_existing(output).done_label_ids) == set(ids([label(n) for n in range(3)]))


# ---- merge


def test_merged_rows_are_in_order_whatever_the_order_of_work(output: Output) -> None:
    labels = [label(n) for n in range(10)]
    write_parts(output, random.Random(1).sample(labels, 10))
    assert merge(output, SETTINGS) == 10
    assert [row["label_id"] for row in rows_of(output)] == ids(labels)
    assert part_paths(output.work) == []


def test_a_later_run_adds_and_leaves_the_old_rows_as_they_were(output: Output) -> None:
    write_parts(output, [label(n) for n in (5, 6)])
    merge(output, SETTINGS)
    before = rows_of(output)
    write_parts(output, [label(6, text="made twice"), label(1), label(7)])
    assert merge(output, SETTINGS) == 2
    after = rows_of(output)
    assert after[:2] == before
    assert [row["label_id"] for row in after[2:]] == ids([label(1), label(7)])


def test_a_run_killed_after_the_labels_and_before_the_parts_are_gone_adds_nothing_twice(output: Output) -> None:
    write_parts(output, [label(n) for n in range(4)])
    saved = {path: path.read_bytes() for path in part_paths(output.work)}
    merge(output, SETTINGS)
    for path, data in saved.items():
        path.write_bytes(data)
    assert len(read_existing(output).done_label_ids) == 4
    assert merge(output, SETTINGS) == 0
    assert [row["label_id"] for row in rows_of(output)] == ids([label(n) for n in range(4)])


def test_a_run_killed_before_the_labels_and_after_their_side_file_goes_on(tmp_path: Path) -> None:
    output = parse_output(tmp_path / "labels.jsonl")
    write_parts(output, [label(0)])
    merge(output, SETTINGS)
    write_parts(output, [label(1)])
    output.path.unlink()
    assert merge(output, SETTINGS) == 1
    assert [row["label_id"] for row in rows_of(output)] == ids([label(1)])


def test_a_run_without_news_rewrites_nothing(output: Output) -> None:
    write_parts(output, [label(0)])
    merge(output, SETTINGS)
    before = {path: path.stat().st_mtime_ns for path in label_files(output)}
    assert merge(output, SETTINGS) == 0
    assert {path: path.stat().st_mtime_ns for path in label_files(output)} == before


def test_a_run_without_labels_still_leaves_a_readable_output(output: Output) -> None:
    output.work.mkdir()
    assert merge(output, SETTINGS) == 0
    if output.kind == "jsonl":
        assert output.path.read_bytes() == b""
    else:
        assert len(pd.read_parquet(output.path)) == 0
    write_parts(output, [label(0)])
    assert merge(output, SETTINGS) == 1
    assert [row["label_id"] for row in rows_of(output)] == ids([label(0)])


def test_many_rows_are_merged_in_bounded_chunks(output: Output) -> None:
    labels = [label(n) for n in range(20)]
    write_parts(output, labels[::-1])
    merge(output, SETTINGS, chunk_rows=6)
    assert sorted(str(row["label_id"]) for row in rows_of(output)) == sorted(ids(labels))


def test_a_folder_gains_files_and_keeps_the_old_ones(tmp_path: Path) -> None:
    output = parse_output(tmp_path / "labels")
    for number in range(3):
        write_parts(output, [label(number)])
        merge(output, SETTINGS)
    (output.path / "part-000000.parquet").rename(output.path / "part-own.parquet")
    first = (output.path / "part-000001.parquet").stat()
    write_parts(output, [label(3)])
    merge(output, SETTINGS)
    assert [path.name for path in label_files(output)] == [
        "part-000001.parquet",
        "part-000002.parquet",
        "part-000003.parquet",
        "part-own.parquet",
    ]
    assert (output.path / "part-000001.parquet").stat().st_mtime_ns == first.st_mtime_ns
    assert len(pd.read_parquet(output.path)) == len(ds.dataset(output.path).to_table()) == 4


def test_manifest_columns_come_widen_and_stay_over_runs(output: Output) -> None:
    runs: list[list[dict[str, object]]] = [
        [{"n": 1, "tag": "a", "none": None}, {"n": 2, "tag": "b", "none": None}],
        [{"n": 0.5, "tag": 7, "boxes": [1, 2], "none": 3}],
        [{"n": {"x": 1}, "tag": "c", "boxes": [0.5], "model": "M"}, {}],
    ]
    number = 0
    for extras in runs:
        made = [label(number + at, extra=extra) for at, extra in enumerate(extras)]
        write_parts(output, made, max_rows=1)
        assert merge(output, SETTINGS) == len(made)
        number += len(made)
    rows = rows_of(output)
    table = pa.Table.from_batches(list(read_labels(output.path)))
    assert table.schema.names[-5:] == ["n", "tag", "none", "boxes", "manifest_model"]
    assert [row["n"] for row in rows][3:] == ['{"x": 1}', None]
    assert [json.loads(str(row["n"])) for row in rows[:3]] == [1, 2, 0.5]
    assert [row["tag"] for row in rows] == ["a", "b", "7", "c", None]
    assert [row["none"] for row in rows] == [None, None, 3, None, None]
    assert [row["boxes"] for row in rows] == [None, None, [1.0, 2.0], [0.5], None]
    assert [row["manifest_model"] for row in rows] == [None, None, None, "M", None]
    if output.kind == "folder":
        assert ds.dataset(output.path).to_table()["tag"].to_pylist() == ["a", "b", "7", "c", None]


def test_columns_that_other_tools_added_stay(output: Output) -> None:
    write_parts(output, [label(0, extra={"n": 1})])
    merge(output, SETTINGS)
    if output.kind == "jsonl":
        output.path.write_text(json.dumps(json.loads(output.path.read_text()) | {"score": 0.5}) + "\n")
    else:
        path = label_files(output)[0]
        pq.write_table(pq.read_table(path).append_column("score", pa.array([0.5], pa.float32())), path)
    write_parts(output, [label(1, extra={"n": "x"})])
    merge(output, SETTINGS)
    assert [(row["n"], row["score"]) for row in rows_of(output)] == [("1", 0.5), ("x", None)]


@given(
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from("ab")), max_size=30), st.integers(1, 5), st.integers(0, 30)
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_label_is_ever_there_twice_and_the_first_one_wins(
    tmp_path_factory: pytest.TempPathFactory, made: list[tuple[int, str]], max_rows: int, cut: int
) -> None:
    output = parse_output(tmp_path_factory.mktemp("merge") / "labels.parquet")
    for portion in (made[:cut], made[cut:]):
        write_parts(output, [label(number, text=text) for number, text in portion], max_rows=max_rows)
        merge(output, SETTINGS)
    first: dict[str, str] = {}
    for number, text in made:
        first.setdefault(label(number).label_id, text)
    assert sorted((row["label_id"], row["caption"]) for row in rows_of(output)) == sorted(first.items())


UNUSUAL = "a\r\nb\u2028c\u2029d\x85e \x00 😀 \ud83d \"quoted\", 'x' \\n \t"


def test_unusual_text_comes_back(output: Output) -> None:
    path = "videos/\udcff\u2028 it's.mp4"
    made = replace(label(0, text=UNUSUAL, extra={"note": UNUSUAL, "k\u2028": 1}), video_path=path)
    write_parts(output, [made])
    merge(output, SETTINGS)
    row = rows_of(output)[0]
    assert row["caption"] == row["note"] == UNUSUAL.replace("\ud83d", "\ufffd")
    assert row["k\u2028"] == 1
    assert row["video_path"] == "videos/\\xff\u2028 it's.mp4"


# ---- resume


def test_resume_knows_labels_of_output_and_parts_and_complete_videos(output: Output) -> None:
    write_parts(output, [label(n, video=n % 2) for n in range(4)])
    merge(output, SETTINGS, incomplete_videos={"video0001"})
    write_parts(output, [label(8)])
    existing = read_existing(output)
    assert set(existing.done_label_ids) == set(ids([*(label(n, video=n % 2) for n in range(4)), label(8)]))
    assert label(8).label_id in existing.done_label_ids
    assert label(9).label_id not in existing.done_label_ids
    assert existing.is_complete("video0000", "")
    assert not existing.is_complete("video0001", "")  # a run ended in the middle of it
    assert not existing.is_complete("video0008", "")  # only in parts
    assert existing.settings_texts == (SETTINGS.to_json(),)


def test_incomplete_videos_with_any_id_are_remembered_and_forgotten(output: Output) -> None:
    write_parts(output, [label(0)])
    merge(output, SETTINGS, incomplete_videos={"a\udcff", "b\u2028"})
    assert read_existing(output).incomplete_videos == {"a\udcff", "b\u2028"}
    merge(output, SETTINGS)
    assert read_existing(output).incomplete_videos == frozenset()


def test_nothing_there_is_nothing_done(output: Output) -> None:
    existing = read_existing(output)
    assert (len(existing.done_label_ids), existing.settings_texts) == (0, ())
    assert label(0).label_id not in existing.done_label_ids


@pytest.mark.parametrize("merged", [True, False])
def test_other_settings_stop_the_run_and_are_named(output: Output, merged: bool) -> None:
    write_parts(output, [label(0)])
    if merged:
        merge(output, SETTINGS)
    existing = read_existing(output)
    check_settings(output, existing, SETTINGS)
    other = replace(SETTINGS, answers=replace(SETTINGS.answers, seed=8))
    with pytest.raises(InputError, match=r"answers.seed: 8, was 7.*--overwrite.*--out"):
        check_settings(output, existing, other)


def test_files_of_others_are_never_added_to(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "own.parquet")
    (tmp_path / "text.parquet").write_text("hello")
    (tmp_path / "own.jsonl").write_text("{}\n")
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.mp4").write_text("x")
    for name in ("own.parquet", "text.parquet", "own.jsonl", "videos"):
        with pytest.raises(InputError, match=name):
            read_existing(parse_output(tmp_path / name))


def test_an_empty_file_made_by_mktemp_is_an_output(tmp_path: Path) -> None:
    for name in ("a.parquet", "a.jsonl"):
        (tmp_path / name).touch()
        output = parse_output(tmp_path / name)
        write_parts(output, [label(0)])
        assert merge(output, SETTINGS) == 1


def test_overwrite_makes_everything_anew_and_keeps_the_old_till_then(output: Output) -> None:
    write_parts(output, [label(0)])
    merge(output, SETTINGS)
    write_parts(output, [label(1)])
    output.failures.write_text("")
    discard_work(output)
    begin_work(output, SETTINGS, replaces=True)
    assert is_replacing(output)
    existing = read_existing(output, replacing=True)
    assert (len(existing.done_label_ids), existing.settings_texts) == (0, ())
    assert not output.failures.exists()
    assert output.exists
    write_parts(output, [label(2), label(3)])
    merge(output, SETTINGS, replacing=True)
    assert set(read_existing(output).done_label_ids) == set(ids([label(2), label(3)]))


def test_overwrite_never_removes_files_of_others(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.mp4").write_text("x")
    with pytest.raises(InputError, match=r"a\.mp4.*not vidlabel's"):
        discard_work(parse_output(tmp_path / "videos"))
    assert (tmp_path / "videos" / "a.mp4").exists()


def test_work_folder_says_what_is_made_and_ends_empty(output: Output) -> None:
    write_parts(output, [label(0)])
    (output.work / ".part-1.parquet.tmp").write_text("half")
    begin_work(output, SETTINGS)
    assert not (output.work / ".part-1.parquet.tmp").exists()
    run = json.loads((output.work / "run.json").read_text())
    assert run["settings"] == json.loads(SETTINGS.to_json())
    assert set(run) == {"settings", "vidlabel_version", "started_at", "replaces", "where"}
    remove_work(output)
    assert list(output.work.iterdir()) == []


def test_settings_are_in_the_labels(output: Output) -> None:
    write_parts(output, [label(0)])
    merge(output, SETTINGS)
    info = read_info(output)
    assert info is not None
    assert info.settings_json == SETTINGS.to_json()
    if output.kind == "parquet":
        assert pq.read_schema(output.path).metadata[b"vidlabel.settings"].decode() == SETTINGS.to_json()


# ---- scenes


def video_and_clips(folder: Path, name: str = "a.mp4", span: Span | None = None) -> tuple[Video, list[Clip]]:
    path = folder / name
    path.write_bytes(b"x" * 10)
    video = Video(video_id=f"id\udcff-{name}", path=name, location=str(path), span=span)
    info = VideoInfo(width=64, height=32, fps=29.97, video_seconds=12.5, codec="vp9")
    return video, [Clip(f"c\udcff{n}", video, info, n * 0.1, n * 0.1 + 0.7) for n in range(3)]


def test_found_scenes_survive_a_restart(tmp_path: Path) -> None:
    video, clips = video_and_clips(tmp_path)
    empty, _ = video_and_clips(tmp_path, "black.mp4")
    with ScenesCache(tmp_path, SceneSettings()) as scenes:
        scenes.put(video, clips)
        scenes.put(empty, [])
        assert scenes.get(video) == clips
        scenes.flush()
        assert scenes.get(video) == clips
    again = ScenesCache(tmp_path, SceneSettings())
    assert again.get(video) == clips
    assert again.get(empty) == []


def test_scenes_are_found_again_for_another_file_span_or_setting(tmp_path: Path) -> None:
    video, clips = video_and_clips(tmp_path)
    with ScenesCache(tmp_path, SceneSettings()) as scenes:
        scenes.put(video, clips)
    scenes = ScenesCache(tmp_path, SceneSettings())
    assert scenes.get(replace(video, span=Span(1, 2))) is None
    assert ScenesCache(tmp_path, SceneSettings(split="none")).get(video) is None
    os.utime(video.location, ns=(1, 1))
    assert scenes.get(video) is None
    Path(video.location).unlink()
    assert scenes.get(video) is None


# ---- kill -9

WRITER = """
import sys
from tests.make_labels import SETTINGS, label
from vidlabel.merge import merge
from vidlabel.outputs import begin_work, parse_output
from vidlabel.parts import part_writer
from vidlabel.resume import read_existing
output = parse_output(sys.argv[1])
output.work.mkdir(exist_ok=True)
begin_work(output, SETTINGS)
done = read_existing(output).done_label_ids
print("go", flush=True)
with part_writer(output.work, SETTINGS.to_json(), max_rows=2) as parts:
    for number in range(int(sys.argv[2])):
        made = label(number, text="x" * 2000)
        if made.label_id not in done:
            parts.add(made)
merge(output, SETTINGS, chunk_rows=20)
"""


@pytest.mark.parametrize("name", KINDS)
def test_a_writer_killed_at_any_moment_resumes_to_the_same_labels(tmp_path: Path, name: str) -> None:
    output, chance = parse_output(tmp_path / name), random.Random(name)
    command = [sys.executable, "-c", WRITER, str(output.path)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    for _ in range(3):
        with subprocess.Popen([*command, "240"], stdout=subprocess.PIPE, env=environment) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(chance.uniform(0, 0.4))
            writer.send_signal(signal.SIGKILL)
        for path in part_paths(output.work):
            read_part(path)  # whole, or this raises
        rows_of(output) if output.exists else None
    subprocess.run([*command, "240"], check=True, env=environment, stdout=subprocess.DEVNULL)
    assert sorted(str(row["label_id"]) for row in rows_of(output)) == sorted(ids([label(n) for n in range(240)]))
    assert [entry.name for entry in output.work.iterdir()] == ["run.json"]


def test_a_row_saver_takes_any_rows(tmp_path: Path) -> None:
    with PartSaver[int](tmp_path, "scenes", lambda rows: pa.table({"n": rows})) as saver:
        saver.add(3)
    assert read_part(part_paths(tmp_path, "scenes")[0]).to_pylist() == [{"n": 3}]
