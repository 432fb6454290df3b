"""Several runs on one output, each with its share: together they make what one run makes, whoever is killed when."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.runs import echo_settings, folder_of_videos, job, label, label_ids, rows, two_scenes
from vidlabel.cli import app
from vidlabel.data import Video
from vidlabel.errors import InputError, LockedError
from vidlabel.lock import locked
from vidlabel.outputs import parse_output
from vidlabel.run import Job
from vidlabel.shard import Shard, parse_shard

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight videos and a file that is none."""
    folder = folder_of_videos(tmp_path_factory.mktemp("videos"), 8)
    (folder / "garbage.mp4").write_bytes(b"not a video" * 100)
    return folder


@pytest.fixture(scope="module")
def by_one_run(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("one") / "labels.parquet"
    label(videos, job(out))
    return out


def shard_job(out: Path, shard: str, **changes: object) -> Job:
    return job(out, **changes, output=replace(parse_output(out), shard=parse_shard(shard)))  # type: ignore[arg-type]


def start(videos: Path, out: Path, *shard: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.resumable_run", str(videos), str(out), *shard]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def start_caption(videos: Path, out: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "vidlabel", "caption", str(videos), "--out", str(out), "--model", "echo", *options]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def without_times(out: Path) -> list[dict[str, object]]:
    """All rows in order, but for when they were made."""
    made = [{name: value for name, value in row.items() if name != "created_at"} for row in rows(out)]
    return sorted(made, key=lambda row: str(row["label_id"]))


def check_same(out: Path, by_one_run: Path) -> None:
    assert label_ids(out) == label_ids(by_one_run)
    assert without_times(out) == without_times(by_one_run)
    assert out.with_suffix(".failures.jsonl").read_text() == by_one_run.with_suffix(".failures.jsonl").read_text()
    assert not work_of(out).exists()


def work_of(out: Path) -> Path:
    return out.with_name(out.name + ".work")


def run_shards(videos: Path, out: Path, shards: Iterable[str], **changes: object) -> None:
    for shard in shards:
        label(videos, shard_job(out, shard, **changes))


def test_four_shards_at_once_make_what_one_run_makes(videos: Path, tmp_path: Path, by_one_run: Path) -> None:
    out = tmp_path / "labels.parquet"
    runs = [start(videos, out, f"{number}/4") for number in range(1, 5)]
    said = [run.communicate(timeout=120)[1] for run in runs]
    assert sorted(run.returncode for run in runs) == [0, 0, 0, 3], said  # 3: the one with the garbage
    check_same(out, by_one_run)


@pytest.mark.parametrize("name", ["labels.jsonl", "labels"])
def test_shards_one_after_the_other_into_other_kinds_of_output(
    videos: Path, tmp_path: Path, by_one_run: Path, name: str
) -> None:
    from vidlabel.readers import stored_batches

    out = tmp_path / name
    run_shards(videos, out, ["2/3", "3/3"])
    assert not out.exists()
    run_shards(videos, out, ["1/3"])
    ids = [text for batch in stored_batches(parse_output(out), ["label_id"]) for text in batch["label_id"].to_pylist()]
    assert sorted(ids) == sorted(label_ids(by_one_run))


def test_a_share_depends_on_the_video_alone_and_shares_are_about_equal() -> None:
    ids = [f"video{number}" for number in range(3000)]
    shards = [Shard(number, 3) for number in (1, 2, 3)]
    owners = [[shard.number for shard in shards if shard.takes(video_id)] for video_id in ids]
    assert all(len(owner) == 1 for owner in owners)
    sizes = [sum(owner == [number] for owner in owners) for number in (1, 2, 3)]
    assert min(sizes) > 900
    assert Shard(3, 16).takes(Video("a/b.mp4", "a/b.mp4", "/x").video_id) is Shard(3, 16).takes("a/b.mp4")


def test_a_shard_that_ended_says_who_is_still_to_come(videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "labels.parquet"
    summary = label(videos, shard_job(out, "2/3"))
    assert summary.shards_left == ("1/3", "3/3")
    assert "still to come: 1/3, 3/3" in summary.to_text(labels="labels.parquet", failures="x")
    assert not out.exists()


def test_shards_killed_at_random_moments_lose_nothing(videos: Path, tmp_path: Path, by_one_run: Path) -> None:
    out = tmp_path / "labels.parquet"
    chance = random.Random(7)
    killed = 0
    for number in range(4):
        run = start(videos, out, f"{number % 2 + 1}/2")
        moment = time.monotonic() + chance.uniform(1.0, 3.0)
        while run.poll() is None and time.monotonic() < moment:
            time.sleep(0.02)
        killed += run.poll() is None
        run.kill()
        run.communicate()
    assert killed >= 1
    run_shards(videos, out, ["1/2", "2/2"])
    if not out.exists():  # the first had ended before, so that the second was not the last
        run_shards(videos, out, ["1/2"])
    check_same(out, by_one_run)


def test_a_run_without_shard_takes_over_what_shards_have_left(videos: Path, tmp_path: Path, by_one_run: Path) -> None:
    out = tmp_path / "labels.parquet"
    run_shards(videos, out, ["1/3"])
    run_shards(videos, out, ["2/3"], limit=1)
    made = sorted(work_of(out).glob("shard-*-of-3/part-*.parquet"))
    times = {row["label_id"]: row["created_at"] for part in made for row in rows(part)}
    dry = label(videos, job(out, dry_run=True))
    assert dry.num_left + dry.num_given_up == 9
    assert sorted(work_of(out).glob("shard-*-of-3/part-*.parquet")) == made
    label(videos, job(out))
    check_same(out, by_one_run)
    assert times
    assert {row["label_id"]: row["created_at"] for row in rows(out) if row["label_id"] in times} == times


def test_a_shard_goes_on_from_a_killed_run_without_shard(videos: Path, tmp_path: Path, by_one_run: Path) -> None:
    out = tmp_path / "labels.parquet"
    run = start(videos, out)
    while not list(work_of(out).glob("part-*.parquet")):
        assert run.poll() is None
        time.sleep(0.02)
    run.kill()
    run.communicate()
    saved = {str(row["label_id"]): row["created_at"] for part in work_of(out).glob("part-*") for row in rows(part)}
    run_shards(videos, out, ["1/2", "2/2"])
    check_same(out, by_one_run)
    assert saved.items() <= {str(row["label_id"]): row["created_at"] for row in rows(out)}.items()


def test_new_videos_are_the_next_round(tmp_path: Path) -> None:
    videos, out = folder_of_videos(tmp_path / "videos", 3), tmp_path / "labels.parquet"
    run_shards(videos, out, ["1/2", "2/2"])
    before = label_ids(out)
    two_scenes(videos / "later.mp4", 77)
    run_shards(videos, out, ["1/2"])
    assert label_ids(out) == before
    run_shards(videos, out, ["2/2"])
    assert len(label_ids(out)) == len(before) + 2
    assert before < label_ids(out)


def test_overwrite_by_shards_keeps_the_old_labels_until_the_last_has_ended(tmp_path: Path) -> None:
    videos, out = folder_of_videos(tmp_path / "videos", 4), tmp_path / "labels.parquet"
    label(videos, job(out))
    old, other = label_ids(out), echo_settings(seed=5)
    run_shards(videos, out, ["1/2"], settings=other, overwrite=True)
    assert label_ids(out) == old
    run_shards(videos, out, ["2/2"], settings=other, overwrite=True)
    assert len(label_ids(out)) == len(old)
    assert not label_ids(out) & old


def test_failures_of_earlier_runs_are_counted_on_and_cleared_by_shards(tmp_path: Path) -> None:
    videos, out = folder_of_videos(tmp_path / "videos", 2), tmp_path / "labels.parquet"
    bad = [videos / f"bad{number}.mp4" for number in range(3)]
    for path in bad:
        path.write_bytes(b"garbage" * 100)
    label(videos, job(out))
    two_scenes(bad[0], 5)
    run_shards(videos, out, ["1/2", "2/2"], retry_failed=True)
    lines = out.with_suffix(".failures.jsonl").read_text().splitlines()
    assert len(lines) == 2
    assert all('"attempts": 2' in line for line in lines)


@pytest.mark.parametrize("options", [(), ("--shard", "1/2")])
def test_of_two_runs_started_in_the_same_second_one_works(
    videos: Path, tmp_path: Path, by_one_run: Path, options: tuple[str, ...]
) -> None:
    out = tmp_path / "labels.parquet"
    runs = [start_caption(videos, out, *options) for _ in range(2)]
    said = [run.communicate(timeout=120)[1] for run in runs]
    codes = sorted(run.returncode for run in runs)
    assert codes[1] == 75, said
    assert codes[0] in (0, 3)
    assert "another run" in "".join(said)
    if not options:
        assert len(label_ids(out)) == len(label_ids(by_one_run))


def test_a_run_without_shard_does_not_take_over_a_shard_that_runs(videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "labels.parquet"
    run_shards(videos, out, ["1/2"])
    with locked(work_of(out) / "shard-2-of-2"), pytest.raises(LockedError, match="shard-2-of-2"):
        label(videos, job(out))
    assert list(work_of(out).glob("shard-1-of-2/part-*.parquet"))


@pytest.mark.parametrize(
    ("shard", "changes", "said"),
    [
        ("1/3", {}, "is being made by 2 shards"),
        ("2/2", {"settings": echo_settings(seed=9)}, r"shard 1/2 of .* has other settings \(answers.seed: 9, was 0"),
        ("2/2", {"overwrite": True}, "was begun without it"),
    ],
)
def test_shards_that_do_not_belong_together_are_refused(
    videos: Path, tmp_path: Path, shard: str, changes: dict[str, object], said: str
) -> None:
    out = tmp_path / "labels.parquet"
    run_shards(videos, out, ["1/2"])
    with pytest.raises(InputError, match=said):
        run_shards(videos, out, [shard], **changes)
    assert [path.name for path in work_of(out).glob("shard-*")] == ["shard-1-of-2"]


@pytest.mark.parametrize("option", ["0/4", "5/4", "3", "a/b", "1/0", "-1/4"])
def test_a_shard_that_is_none_is_one_clear_line(tmp_path: Path, option: str) -> None:
    arguments = ["caption", "examples/videos", "--model", "echo", "--out", str(tmp_path / "x.parquet")]
    result = CliRunner().invoke(app, [*arguments, "--shard", option])
    assert result.exit_code == 2
    assert f"--shard {option}: write I/N" in result.stderr


@pytest.mark.parametrize("has_root", [False, True])
def test_shards_of_folders_without_a_root_are_warned(videos: Path, tmp_path: Path, has_root: bool) -> None:
    arguments = ["caption", str(videos), "--model", "echo", "--out", str(tmp_path / "x.parquet"), "--shard", "1/2"]
    root = ["--root", str(videos)] if has_root else []
    result = CliRunner().invoke(app, [*arguments, *root, "--dry-run"])
    assert result.exit_code == 0
    assert ("--shard without --root" in result.stderr) != has_root


def test_a_dry_run_of_a_shard_counts_its_share_and_leaves_nothing(videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "labels.parquet"
    counts = [label(videos, shard_job(out, f"{number}/2", dry_run=True)).num_left for number in (1, 2)]
    assert sum(counts) == 9
    assert list(tmp_path.iterdir()) == []
