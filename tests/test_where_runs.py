"""`caption --where`: what it leaves out never reaches the model, is recorded, and is not looked at again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tests.runs import label_ids, rows
from tests.where_runs import (
    NOT_DARK,
    NotingEcho,
    label_where,
    no_frames,
    no_scenes,
    skipped_rows,
    spoil,
    videos_of_both,
    where_job,
)
from vidlabel.cli import app
from vidlabel.data import Video
from vidlabel.errors import InputError
from vidlabel.outputs import parse_output
from vidlabel.pipeline import default_stages
from vidlabel.selecting import select
from vidlabel.shard import parse_shard

NAMES = [f"video{number:03}.mp4" for number in range(2)]
NO_SCENES = replace(default_stages(), find_clips=no_scenes)
NO_FRAMES = replace(default_stages(), sample_frames=no_frames)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return videos_of_both(tmp_path_factory.mktemp("videos"), 2)


@pytest.fixture(scope="module")
def everything(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The labels of a run without a condition."""
    out = tmp_path_factory.mktemp("all") / "labels.parquet"
    label_where(videos, where_job(out), None)
    return out


def manifest_of(videos: Path, path: Path, text: str = "0.1 0.5 0.9") -> Path:
    lines = [f"{path},{score}" for path, score in zip(sorted(videos.iterdir()), text.split(), strict=True)]
    path.write_text("video,score\n" + "\n".join(lines) + "\n")
    return path


def said(out: Path) -> set[tuple[object, ...]]:
    return {(row["label_id"], row["clip_id"], row["instruction"], row["caption"]) for row in rows(out)}


def test_clips_that_do_not_meet_it_never_reach_the_captioner(videos: Path, tmp_path: Path, everything: Path) -> None:
    out, captioner = tmp_path / "labels.parquet", NotingEcho()
    summary = label_where(videos, where_job(out, captioner), NOT_DARK)
    made, skipped = rows(out), skipped_rows(out)
    assert summary.exit_code == 0
    assert (summary.num_videos, summary.num_clips, summary.num_labels, summary.num_skipped) == (2, 2, 2, 2)
    assert sorted(captioner.shown) == sorted(str(row["clip_id"]) for row in made)
    assert [row["start_seconds"] for row in made] == [1.2] * 2
    assert [(row["video_path"], row["start_seconds"], row["end_seconds"]) for row in skipped] == [
        (name, 0.0, 1.2) for name in NAMES
    ]
    assert {row["where"] for row in skipped} == {NOT_DARK}
    for row in skipped:
        measured = row["brightness"]
        assert row["reason"] == f"brightness > 0.4 (brightness is {measured:.4g})"
        assert isinstance(measured, float)
        assert measured < 0.4
    assert not (tmp_path / "labels.failures.jsonl").exists()
    assert not (tmp_path / "labels.parquet.work").exists()


def test_labels_that_are_kept_are_those_of_a_run_without(videos: Path, tmp_path: Path, everything: Path) -> None:
    out, measured = tmp_path / "labels.parquet", tmp_path / "measured.parquet"
    label_where(videos, where_job(out), NOT_DARK, "saturation")
    label_where(videos, where_job(measured), None, "all")
    kept = {one for one in said(everything) if one[1] in {row["clip_id"] for row in rows(out)}}
    assert said(out) == kept
    assert len(kept) == 2
    assert said(measured) == said(everything)


def test_only_what_is_named_is_measured_and_becomes_columns_behind_the_others(
    videos: Path, tmp_path: Path, everything: Path
) -> None:
    out = tmp_path / "labels.parquet"
    label_where(videos, where_job(out), NOT_DARK, "saturation")
    before, names = pq.read_schema(everything).names, pq.read_schema(out).names
    assert names == [*before, "brightness", "saturation"]
    for row in rows(out):
        assert 0.4 < float(str(row["brightness"])) <= 1
        assert 0 <= float(str(row["saturation"])) < 0.5


def test_a_second_run_opens_nothing(videos: Path, tmp_path: Path) -> None:
    own, out = videos_of_both(tmp_path / "videos", 2), tmp_path / "labels.parquet"
    label_where(own, where_job(out), "brightness > 2")  # so that there are no labels that would tell
    before = skipped_rows(out)
    spoil(own)
    again = label_where(own, where_job(out), "brightness>2")
    assert (again.exit_code, again.num_videos, again.num_skipped, again.num_done_before) == (0, 0, 0, 2)
    assert skipped_rows(out) == before
    assert rows(out) == []


@pytest.mark.parametrize("name", ["labels.jsonl", "labels"])
def test_in_every_kind_of_output_it_is_known_what_was_left_out(tmp_path: Path, name: str) -> None:
    own, out = videos_of_both(tmp_path / "videos", 1), tmp_path / name
    label_where(own, where_job(out), "brightness > 2")
    spoil(own)
    assert label_where(own, where_job(out), "brightness > 2").exit_code == 0
    assert len(skipped_rows(out)) == 2


def test_another_condition_is_asked_of_what_was_left_out(videos: Path, tmp_path: Path, everything: Path) -> None:
    out = tmp_path / "labels.parquet"
    label_where(videos, where_job(out), NOT_DARK)
    seen = NotingEcho()
    other = label_where(videos, where_job(out, seen), "brightness < 0.4 and start_seconds < 5")
    assert (other.num_labels, other.num_skipped) == (2, 0)  # the bright ones are labelled: they stay
    assert len(seen.shown) == 2
    assert said(out) == said(everything)
    assert skipped_rows(out) == []
    assert not (tmp_path / "labels.skipped.parquet").exists()


def test_what_needs_no_look_is_decided_anew_without_one(tmp_path: Path) -> None:
    own, out = videos_of_both(tmp_path / "videos", 2), tmp_path / "labels.parquet"
    label_where(own, where_job(out), NOT_DARK)
    spoil(own)
    where = "video_path == 'video000.mp4' and brightness > 0.4"
    other = label_where(own, where_job(out, limit=1), where)  # the first is looked at again, and is no video any more
    assert (other.exit_code, other.num_skipped) == (3, 1)
    assert [(row["clip_id"], row["video_path"], row["where"]) for row in skipped_rows(out)] == [
        (None, "video001.mp4", where)
    ]
    assert len(label_ids(out)) == 2


def test_without_the_condition_what_was_left_out_is_labelled(videos: Path, tmp_path: Path, everything: Path) -> None:
    out = tmp_path / "labels.parquet"
    label_where(videos, where_job(out), "brightness > 2")
    label_where(videos, where_job(out), NOT_DARK)
    assert [row["where"] for row in skipped_rows(out)] == [NOT_DARK] * 2
    last = label_where(videos, where_job(out), None)
    assert (last.num_labels, last.num_skipped) == (2, 0)
    assert said(out) == said(everything)
    assert not (tmp_path / "labels.skipped.parquet").exists()


def test_what_was_labelled_before_stays(videos: Path, tmp_path: Path, everything: Path) -> None:
    out = tmp_path / "labels.parquet"
    label_where(videos, where_job(out), None)
    summary = label_where(videos, where_job(out), "brightness > 2")
    assert (summary.num_done_before, summary.num_skipped) == (2, 0)
    assert said(out) == said(everything)
    assert skipped_rows(out) == []


def test_overwrite_forgets_what_was_left_out(videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "labels.parquet"
    label_where(videos, where_job(out), "brightness > 2")
    summary = label_where(videos, where_job(out, overwrite=True), NOT_DARK)
    assert (summary.num_labels, summary.num_skipped) == (2, 2)
    assert len(skipped_rows(out)) == 2


# ---- as early as can be --------------------------------------------------------------------------------------------


def test_the_manifests_columns_decide_before_anything_is_opened(videos: Path, tmp_path: Path) -> None:
    own = videos_of_both(tmp_path / "videos", 3)
    manifest, out = manifest_of(own, tmp_path / "m.csv"), tmp_path / "labels.parquet"
    for name in NAMES:
        (own / name).write_bytes(b"no video")
    summary = label_where(manifest, where_job(out), "score > 0.7 and brightness > 0")
    assert (summary.exit_code, summary.num_videos, summary.num_skipped, summary.num_labels) == (0, 1, 2, 2)
    assert [(row["clip_id"], row["reason"]) for row in skipped_rows(out)] == [
        (None, "score > 0.7 (score is 0.1)"),
        (None, "score > 0.7 (score is 0.5)"),
    ]
    again = label_where(manifest, where_job(out), "score > 0.7 and brightness > 0")
    assert (again.num_videos, again.num_skipped, again.num_skipped_before, again.num_done_before) == (0, 0, 2, 1)
    assert len(skipped_rows(out)) == 2


def test_signals_that_the_manifest_has_are_not_measured(tmp_path: Path) -> None:
    own, out, manifest = videos_of_both(tmp_path / "videos", 2), tmp_path / "labels.parquet", tmp_path / "m.jsonl"
    lines = [{"video": f"videos/video00{number}.mp4", "brightness": value} for number, value in ((0, 0.9), (1, 0.2))]
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (own / "video001.mp4").write_bytes(b"no video")
    assert label_where(manifest, where_job(out), NOT_DARK).exit_code == 0
    assert [(row["start_seconds"], row["brightness"]) for row in rows(out)] == [(0.0, 0.9), (1.2, 0.9)]
    asked = tmp_path / "asked.parquet"
    label_where(own / "video000.mp4", where_job(asked), NOT_DARK)
    label_where(manifest, where_job(tmp_path / "both.parquet", limit=1), NOT_DARK, "brightness")
    (measured,) = (row["brightness"] for row in rows(asked))
    assert [(row["brightness"], row["manifest_brightness"]) for row in rows(tmp_path / "both.parquet")] == [
        (measured, 0.9)
    ]


def test_names_are_compared_as_the_labels_have_them() -> None:
    named = Video(video_id="v", path="caf\udce9.mp4", location="/v")  # a byte that is not UTF-8
    selection, _ = select("video_path == 'caf\\\\xe9.mp4'", None, [named])
    assert selection.reject_video(named) is None
    assert selection.reject_video(replace(named, path="cafe.mp4")) is not None


def test_a_manifest_that_says_something_else_is_heard(videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "labels.parquet"
    label_where(manifest_of(videos, tmp_path / "m.csv", "0.1 0.5"), where_job(out), "score > 0.7")
    label_where(manifest_of(videos, tmp_path / "m.csv", "0.1 0.8"), where_job(out), "score > 0.7")
    assert len(label_ids(out)) == 2
    assert [row["video_path"] for row in skipped_rows(out)] == [str(videos / NAMES[0])]


def test_spans_of_a_manifest_are_left_out_one_by_one(videos: Path, tmp_path: Path) -> None:
    own, out, manifest = videos_of_both(tmp_path / "videos", 1), tmp_path / "labels.parquet", tmp_path / "m.jsonl"
    spans = [(0.0, 1.0, True), (1.3, 2.3, True), (1.3, 2.0, False)]
    lines = [{"video": "videos/video000.mp4", "start": s, "end": e, "wanted": w, "width": 7} for s, e, w in spans]
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    where = f"wanted and {NOT_DARK} and manifest_width == 7"
    summary = label_where(manifest, where_job(out), where)
    assert (summary.num_labels, summary.num_skipped) == (1, 2)
    assert [(row["start_seconds"], row["end_seconds"]) for row in skipped_rows(out)] == [(0.0, 1.0), (1.3, 2.0)]
    spoil(own)
    again = label_where(manifest, where_job(out), where)
    assert (again.exit_code, again.num_skipped, again.num_done_before, again.num_skipped_before) == (0, 0, 2, 1)


def test_what_the_file_says_decides_before_scenes_are_looked_for(videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "labels.parquet"
    summary = label_where(videos, where_job(out, stages=NO_SCENES), "width >= 640 and brightness > 0")
    assert (summary.exit_code, summary.num_videos, summary.num_skipped) == (0, 2, 2)
    assert [(row["clip_id"], row["reason"]) for row in skipped_rows(out)] == [(None, "width >= 640 (width is 64)")] * 2
    assert label_where(videos, where_job(out), "width >= 640 and brightness > 0").num_videos == 0


def test_what_is_known_of_the_clip_decides_before_its_frames_are_read(videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "labels.parquet"
    summary = label_where(videos, where_job(out, stages=NO_FRAMES), "seconds > 1.5 and codec == 'h264'")
    assert (summary.exit_code, summary.num_skipped) == (0, 4)
    assert {row["reason"] for row in skipped_rows(out)} == {"seconds > 1.5 (seconds is 1.2)"}


# ---- ends of any kind ----------------------------------------------------------------------------------------------


def test_a_run_that_breaks_goes_on_where_it_was(videos: Path, tmp_path: Path, everything: Path) -> None:
    whole, out = tmp_path / "whole.parquet", tmp_path / "labels.parquet"
    label_where(videos, where_job(whole), NOT_DARK)
    with pytest.raises(BrokenPipeError):
        label_where(videos, where_job(out, NotingEcho(ends_after=1)), NOT_DARK)
    assert list((tmp_path / "labels.parquet.work").glob("skipped-*.parquet"))
    seen = NotingEcho()
    label_where(videos, where_job(out, seen), NOT_DARK)
    assert said(out) == said(whole)
    assert [row["clip_id"] for row in skipped_rows(out)] == [row["clip_id"] for row in skipped_rows(whole)]


def test_a_run_that_breaks_does_not_decide_again_what_it_has_decided(tmp_path: Path) -> None:
    own, out = videos_of_both(tmp_path / "videos", 2), tmp_path / "labels.parquet"
    where = "start_seconds > 1 and width < 640"  # the clips in front go before any frame is read
    with pytest.raises(BrokenPipeError):
        label_where(own, where_job(out, NotingEcho(ends_after=0)), where)
    parts = [pq.read_table(part) for part in (tmp_path / "labels.parquet.work").glob("skipped-*.parquet")]
    num_decided = sum(pc.count(part["reason"]).as_py() for part in parts)  # of the second video by chance
    assert num_decided >= 1
    summary = label_where(own, where_job(out), where)
    assert (summary.num_labels, summary.num_skipped) == (2, 2 - num_decided)
    assert len(skipped_rows(out)) == 2


def test_a_limit_leaves_the_rest_to_the_next_run(videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "labels.jsonl"
    for number in range(2):
        summary = label_where(videos, where_job(out, limit=1), "brightness > 2")
        assert (summary.num_videos, summary.num_left, summary.num_skipped) == (1, 1 - number, 2)
    assert len(skipped_rows(out)) == 4


def test_shards_put_together_what_they_left_out(videos: Path, tmp_path: Path) -> None:
    whole, out = tmp_path / "whole.parquet", tmp_path / "labels.parquet"
    label_where(videos, where_job(whole), NOT_DARK)
    for number in (1, 2):
        shard = replace(parse_output(out), shard=parse_shard(f"{number}/2"))
        label_where(videos, where_job(out, output=shard), NOT_DARK)
    assert said(out) == said(whole)
    assert [row["clip_id"] for row in skipped_rows(out)] == [row["clip_id"] for row in skipped_rows(whole)]
    assert not (tmp_path / "labels.parquet.work").exists()


def test_shards_of_other_conditions_are_not_mixed(videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "labels.parquet"
    first, second = (replace(parse_output(out), shard=parse_shard(f"{number}/2")) for number in (1, 2))
    label_where(videos, where_job(out, output=first), "width >= 640")
    with pytest.raises(InputError, match=r"shard 1/2 of .* was begun with --where 'width >= 640'; give"):
        label_where(videos, where_job(out, output=second), None)
    taken_over = label_where(videos, where_job(out), None)
    assert (taken_over.num_labels, skipped_rows(out)) == (4, [])


def test_a_video_that_fails_is_a_failure_and_not_left_out(tmp_path: Path) -> None:
    own, out = videos_of_both(tmp_path / "videos", 1), tmp_path / "labels.parquet"
    (own / "garbage.mp4").write_bytes(b"garbage")
    summary = label_where(own, where_job(out), NOT_DARK)
    assert (summary.exit_code, summary.num_failures, summary.num_skipped) == (3, 1, 1)
    (own / "garbage.mp4").write_bytes((own / "video000.mp4").read_bytes())  # it becomes one that is left out in part
    later = label_where(own, where_job(out), NOT_DARK)
    assert (later.exit_code, later.num_labels, later.num_skipped) == (0, 1, 1)
    assert not (tmp_path / "labels.failures.jsonl").exists()


# ---- the command line ----------------------------------------------------------------------------------------------


def command(*args: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stderr + result.stdout


def test_people_machines_and_prometheus_are_told(videos: Path, tmp_path: Path) -> None:
    out, prom = tmp_path / "labels.parquet", tmp_path / "run.prom"
    args = ("caption", videos, "--out", out, "--model", "echo", "--where", "brightness>0.4 and seconds > 1")
    code, told = command(*args, "--metrics-file", prom, "--workers", 2)
    assert code == 0
    assert f"2 skipped by --where; see {tmp_path / 'labels.skipped.parquet'}\n  2 x not brightness > 0.4\n" in told
    (sample,) = [line for line in prom.read_text().splitlines() if line.startswith("vidlabel_clips_skipped_total{")]
    assert sample.endswith('where="brightness > 0.4"} 2')
    code, told = command(*args, "--log-format", "json")
    fields = json.loads(told.splitlines()[-1])
    assert (code, fields["skipped"], fields["videos_done_before"], fields["exit_code"]) == (0, 0, 2, 0)
    code, told = command(*args[:-1], "video_path > 'w'", "--dry-run")
    assert (code, told) == (0, "0 videos to label, 0 done, 0 given up, 2 skipped unopened\n")


def test_questions_are_put_only_to_clips_that_meet_it(videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "qa.jsonl"
    where = ("--where", NOT_DARK, "--signals", "contrast")
    code, told = command("qa", videos, "--out", out, "--model", "echo", "--per-clip", 1, "--propose", 1, *where)
    made = [json.loads(line) for line in out.read_text().splitlines()]
    assert code == 0, told
    assert [(row["task"], row["start_seconds"]) for row in made] == [("qa", 1.2)] * 4
    assert all(0 <= row["contrast"] <= 1 for row in made)
    assert len(skipped_rows(out)) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--where", "brightnes > 0.1"], "--where: no column brightnes; did you mean brightness?, at "),
        (["--where", "language == 'en'"], "--where: no column language; did you mean manifest_language?, at "),
        (["--where", "score > 0.5 and"], "--where: a column, a number or a text should be here, at its end"),
        (["--where", "codec > 5"], "--where: this is a number, where a text should be, at '5'"),
        (["--where", "note > 5"], "--where: the manifest's column note of a.mp4: 'new' is not a number"),
        (["--where", "brightness == 'dark'"], "--where: this is a text, where a number should be"),
        (["--signals", "brightnes"], "--signals brightnes: no signal 'brightnes'"),
    ],
)
def test_what_is_wrong_is_one_line_before_any_work(tmp_path: Path, options: list[str], message: str) -> None:
    manifest, out = tmp_path / "m.csv", tmp_path / "labels.parquet"
    manifest.write_text("video,score,note,language\na.mp4,0.5,new,en\n")
    code, told = command("caption", manifest, "--out", out, "--model", "echo", "--root", tmp_path, *options)
    assert code == 2
    assert told.startswith(f"vidlabel: {message}")
    assert told.count("\n") == 1
    assert list(tmp_path.iterdir()) == [manifest]
