"""The promises of a run: everything labelled once, nothing lost, nothing mixed, one bad file costs itself only."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests import faults
from tests import make_bad_videos as bad
from tests.make_videos import noise_scene, numbered_frames, write_video
from tests.runs import echo_settings, folder_of_videos, job, label, label_ids, rows, two_scenes
from vidlabel.config import Limits
from vidlabel.errors import InputError


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of_videos(tmp_path_factory.mktemp("videos"), 4)


def failures(out: Path) -> dict[str, dict[str, object]]:
    path = out.with_name(out.stem + ".failures.jsonl")
    lines = path.read_text().splitlines() if path.exists() else []
    return {Path(str(line["path"])).name: line for line in map(json.loads, lines)}


def test_every_clip_of_every_video_is_labelled_once(videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "labels.parquet"
    summary = label(videos, job(out))
    assert summary.exit_code == 0
    assert (summary.num_videos, summary.num_clips, summary.num_labels) == (4, 8, 8)
    made = rows(out)
    assert [row["video_path"] for row in made] == [f"video{n:03}.mp4" for n in range(4) for _ in range(2)]
    assert [(row["start_seconds"], row["end_seconds"]) for row in made] == [(0.0, 1.2), (1.2, 2.4)] * 4
    assert not (tmp_path / "labels.parquet.work").exists()
    assert not failures(out)


def test_second_run_does_nothing_and_grown_folder_gets_only_the_new(tmp_path: Path) -> None:
    folder, out = folder_of_videos(tmp_path / "videos", 2), tmp_path / "labels.parquet"
    label(folder, job(out))
    before = rows(out)
    again = label(folder, job(out))
    assert (again.num_videos, again.num_done_before, again.num_labels) == (0, 2, 0)
    assert rows(out) == before
    two_scenes(folder / "a_new_one.mp4", 77)
    grown = label(folder, job(out))
    assert (grown.num_videos, grown.num_done_before, grown.num_labels) == (1, 2, 2)
    assert rows(out)[: len(before)] == before


def test_same_labels_whatever_the_workers_the_order_and_the_batch(videos: Path, tmp_path: Path) -> None:
    def texts(name: str, limits: Limits) -> set[tuple[object, object]]:
        label(videos, job(tmp_path / name, limits=limits))
        return {(row["label_id"], row["caption"]) for row in rows(tmp_path / name)}

    one = texts("one.parquet", Limits(num_workers=1, batch_size=1))
    assert one == texts("many.parquet", Limits(num_workers=3, batch_size=8))


def test_two_videos_with_one_basename_are_two_videos(tmp_path: Path) -> None:
    for name in ("a", "b"):
        folder_of_videos(tmp_path / name, 1)
    out = tmp_path / "labels.parquet"
    assert label([tmp_path / "a", tmp_path / "b"], job(out)).num_videos == 2
    assert len({row["video_id"] for row in rows(out)}) == 2


def test_per_clip_asks_different_questions_of_one_encoding(videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "labels.parquet"
    summary = label(videos, job(out, settings=echo_settings(per_clip=3)))
    assert (summary.num_clips, summary.num_labels) == (8, 24)
    asked: dict[object, set[object]] = {}
    for row in rows(out):
        asked.setdefault(row["clip_id"], set()).add(row["instruction"])
    assert all(len(instructions) == 3 for instructions in asked.values())


def test_other_settings_are_never_mixed_in(videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "labels.parquet"
    label(videos, job(out))
    before = out.read_bytes()
    other = echo_settings(seed=5)
    with pytest.raises(InputError, match=r"answers\.seed: 5, was 0"):
        label(videos, job(out, settings=other))
    assert out.read_bytes() == before
    label(videos, job(out, settings=other, overwrite=True))
    assert {row["seed"] for row in rows(out)} == {5}


BAD_STAGES = ("never_returns", "crashes", "killed", "bomb", "surprises", "never_returns_in_frames", "crashes_in_frames")


def good_ones(folder: Path) -> set[str]:
    """Ordinary videos, and odd ones that are videos all the same."""
    folder_of_videos(folder, 2)
    write_video(folder / "one_frame.mp4", numbered_frames(1))
    write_video(folder / "tiny.mp4", numbered_frames(10, 16, 16))
    write_video(folder / "4k.mp4", noise_scene(3, (90, 120, 40), width=3840, height=2160))
    bad.truncated(folder)
    return {path.name for path in folder.iterdir()}


def bad_ones(folder: Path) -> set[str]:
    """Everything else that a folder of videos holds."""
    folder.mkdir()
    made = [make(folder) for make in bad.NOT_VIDEOS]
    made += [
        make(folder / f"{name}.mp4", str(folder.parent / "good" / "tiny.mp4")) for name, make in bad.POINTERS.items()
    ]
    made += [two_scenes(folder / f"{name}.mp4", 50) for name in BAD_STAGES]
    if os.geteuid():  # root may read anything
        made.append(bad.unreadable(folder))
    return {path.name for path in made} | {"missing.mp4"}


def test_one_bad_file_costs_itself_only(tmp_path: Path) -> None:
    good, wrong = good_ones(tmp_path / "good"), bad_ones(tmp_path / "bad")
    out, manifest, limit = tmp_path / "labels.parquet", tmp_path / "all.csv", 6
    names = sorted([f"good/{name}" for name in good] + [f"bad/{name}" for name in wrong], key=lambda name: name[-7:])
    manifest.write_text("video\n" + "".join(f"{name}\n" for name in names))
    started = time.monotonic()
    limits = Limits(num_workers=2, seconds_per_video=limit, batch_size=2)
    summary = label(manifest, job(out, limits=limits, stages=faults.STAGES))
    num_hanging = sum("never_returns" in name for name in BAD_STAGES)
    assert time.monotonic() - started < num_hanging * (limit + 5) + 60
    assert summary.exit_code == 3
    assert {Path(str(row["video_path"])).name for row in rows(out)} == good
    assert all(("damaged" in row["flags"]) == ("truncated" in str(row["video_path"])) for row in rows(out))  # type: ignore[operator]
    reasons = {name: str(line["reason"]) for name, line in failures(out).items()}
    assert set(reasons) == wrong
    for name, reason in {
        "never_returns": "time limit of 6 s",
        "never_returns_in_frames": "time limit of 6 s",
        "crashes": "SIGSEGV",
        "killed": "SIGKILL",
        "bomb": "memory limit",
        "surprises": "ZeroDivisionError",
        "hls": "an HLS playlist",
        "no-moov": "without its index",
        "audio": "no video stream",
        "missing": "no such file",
    }.items():
        assert reason in reasons[f"{name}.mp4"]


def test_missing_file_is_a_failure_and_is_labelled_when_it_appears(tmp_path: Path) -> None:
    manifest, out = tmp_path / "m.csv", tmp_path / "labels.parquet"
    manifest.write_text("video\nthere.mp4\nlater.mp4\n")
    two_scenes(tmp_path / "there.mp4", 1)
    summary = label(manifest, job(out))
    assert summary.exit_code == 3
    assert failures(out)["later.mp4"]["reason"] == "no such file"
    two_scenes(tmp_path / "later.mp4", 2)
    assert label(manifest, job(out)).exit_code == 0
    assert not failures(out)
    assert {row["video_path"] for row in rows(out)} == {"there.mp4", "later.mp4"}


def test_permanent_failure_is_left_alone_until_the_file_changes(tmp_path: Path) -> None:
    folder, out = folder_of_videos(tmp_path / "videos", 1), tmp_path / "labels.parquet"
    (folder / "bad.mp4").write_bytes(b"")
    assert label(folder, job(out)).num_failures == 1
    again = label(folder, job(out))
    assert (again.num_failures, again.num_given_up, again.exit_code) == (0, 1, 3)
    assert label(folder, job(out, retry_failed=True)).num_failures == 1
    two_scenes(folder / "bad.mp4", 3)
    assert label(folder, job(out)).exit_code == 0


def test_passing_failure_is_tried_up_to_the_limit(tmp_path: Path) -> None:
    folder, out = tmp_path / "videos", tmp_path / "labels.parquet"
    folder.mkdir()
    two_scenes(folder / "surprises.mp4", 1)
    limits = Limits(num_workers=1, max_attempts=2)
    for attempts in (1, 2):
        assert label(folder, job(out, limits=limits, stages=faults.STAGES)).num_failures == 1
        assert failures(out)["surprises.mp4"]["attempts"] == attempts
    assert label(folder, job(out, limits=limits, stages=faults.STAGES)).num_given_up == 1


@pytest.mark.parametrize("seed", range(3))
def test_no_label_is_ever_attached_to_another_clip(videos: Path, tmp_path: Path, seed: int) -> None:
    out = tmp_path / "labels.parquet"
    captioner = faults.FaultyCaptioner(seed, drop_share=0.3, hold=5)
    settings = echo_settings(per_clip=2)
    summary = label(videos, job(out, captioner=captioner, settings=settings))
    made = rows(out)
    for row in made:
        assert f"echo of clip {row['clip_id']}," in str(row["caption"])
        assert str(row["caption"]).startswith(str(row["instruction"]))
    assert summary.num_labels == len(made) < 16
    lost = failures(out)
    assert {line["reason"] for line in lost.values()} == {"the model gave no answer"}
    label(videos, job(out, settings=settings))  # the next run makes what was dropped, and only that
    assert len(label_ids(out)) == 16
    assert not failures(out)


def test_captioner_that_raises_loses_nothing_that_was_answered(videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "labels.parquet"
    with pytest.raises(RuntimeError, match="the model broke"):
        label(videos, job(out, captioner=faults.FaultyCaptioner(0, raise_after=3)))
    summary = label(videos, job(out))
    assert summary.num_labels == 5
    assert len(label_ids(out)) == 8


def test_answer_with_an_id_that_was_not_asked_stops_the_run(videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "labels.parquet"
    with pytest.raises(RuntimeError, match="not open"):
        label(videos, job(out, captioner=faults.WrongClipCaptioner()))
    assert not out.exists()


def test_limit_takes_so_many_and_the_next_run_goes_on(videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "labels.parquet"
    first = label(videos, job(out, limit=3))
    assert (first.num_videos, first.num_left, first.exit_code) == (3, 1, 0)
    second = label(videos, job(out, limit=3))
    assert (second.num_videos, second.num_done_before, second.num_left) == (1, 3, 0)
    assert len(label_ids(out)) == 8


def test_time_budget_ends_in_good_order_and_the_next_run_goes_on(videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "labels.parquet"
    none = label(videos, job(out, limits=Limits(num_workers=1, time_budget_seconds=0)))
    assert (none.num_labels, none.exit_code, none.num_left) == (0, 0, 4)
    label(videos, job(out, limits=Limits(num_workers=1, batch_size=1, time_budget_seconds=0.4)))
    label(videos, job(out))
    assert len(label_ids(out)) == 8


def test_video_that_a_budget_left_half_done_is_finished_later(tmp_path: Path) -> None:
    folder, out = folder_of_videos(tmp_path / "videos", 1), tmp_path / "labels.parquet"
    stopped = faults.FaultyCaptioner(0, raise_after=1)
    with pytest.raises(RuntimeError):
        label(folder, job(out, captioner=stopped))
    # the parts of the broken run are merged although nothing more is done: the video is there with one of two labels
    label(folder, job(out, limits=Limits(num_workers=1, time_budget_seconds=0)))
    assert len(label_ids(out)) == 1
    assert label(folder, job(out)).num_labels == 1
    assert len(label_ids(out)) == 2


def test_dry_run_changes_nothing(videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "labels.parquet"
    summary = label(videos, job(out, dry_run=True))
    assert (summary.num_left, summary.num_labels) == (4, 0)
    assert list(tmp_path.iterdir()) == []


def test_manifest_spans_and_own_columns_reach_the_labels(videos: Path, tmp_path: Path) -> None:
    manifest, out = tmp_path / "m.jsonl", tmp_path / "labels.parquet"
    lines = [
        {"video": str(videos / "video000.mp4"), "start": 0.2, "end": "0:00:01.000", "score": 0.5, "caption": "old"},
        {"video": str(videos / "video000.mp4"), "start": 1.5, "id": "mine", "score": 1},
        {"video": str(videos / "video001.mp4"), "start": 50},
    ]
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    summary = label(manifest, job(out))
    assert (summary.num_labels, summary.num_failures) == (2, 1)
    first, second = rows(out)
    assert (first["start_seconds"], first["end_seconds"], first["score"], first["manifest_caption"]) == (
        0.2, 1.0, 0.5, "old",
    )  # fmt: skip
    assert (second["clip_id"], second["start_seconds"], second["end_seconds"]) == ("mine", 1.5, 2.4)
    assert label(manifest, job(out, limits=Limits(max_attempts=1))).num_done_before == 2


def test_whole_videos_are_not_taken_for_done_because_spans_of_them_are(videos: Path, tmp_path: Path) -> None:
    manifest, out = tmp_path / "m.csv", tmp_path / "labels.parquet"
    manifest.write_text(f"video,start,end\n{videos / 'video000.mp4'},0.5,1\n")
    label(manifest, job(out))
    summary = label(videos, job(out))
    assert summary.num_labels == 8
    assert len(label_ids(out)) == 9


def test_questions_of_a_manifest_are_answered_about_their_clip(videos: Path, tmp_path: Path) -> None:
    manifest, out = tmp_path / "m.jsonl", tmp_path / "qa.parquet"
    lines = [
        {"video": str(videos / "video000.mp4"), "start": 0, "end": 1, "question": f"{what}?", "kind": what}
        for what in ("who", "where")
    ]
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    settings = echo_settings()
    settings = replace(settings, task="qa", answers=replace(settings.answers, pool="manifest"))
    made = job(out, settings=settings, pools=())
    assert (label(manifest, made).num_clips, len(rows(out))) == (1, 2)
    for row in rows(out):
        assert str(row["answer"]).startswith(str(row["question"]))
        assert row["question"] == f"{row['kind']}?"
        assert row["caption"] is None
