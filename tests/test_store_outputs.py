"""Outputs on an object store: the same labels as in a local file, whole or absent, whoever dies when and where."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.runs import echo_settings, folder_of_videos, job, label, two_scenes
from tests.stores import S3, cache_in, environment
from tests.test_cli import run as run_cli
from vidlabel.captioner import EchoCaptioner
from vidlabel.config import Limits
from vidlabel.data import Answer
from vidlabel.errors import InputError, LockedError, WriteError
from vidlabel.outputs import parse_output, work_place
from vidlabel.run import Job
from vidlabel.shard import Shard, parse_shard
from vidlabel.store import stored, write_if, writing_problem_at
from vidlabel.store_lock import LockLostError, LockTimes, StoreLock
from vidlabel.summary import Summary

ROOT = Path(__file__).parent.parent
QUICK = LockTimes(beat_seconds=0.3, stale_seconds=1.5, patience_seconds=1.0, push_seconds=0.05)
URL = "s3://labels/a/labels.parquet"


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of_videos(tmp_path_factory.mktemp("videos"), 3)


@pytest.fixture(scope="module")
def local_rows(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, object]]:
    out = tmp_path_factory.mktemp("local") / "labels.parquet"
    label(videos, job(out))
    return _without_times(pq.read_table(out).to_pylist())


@pytest.fixture
def bucket(s3: S3, tmp_path: Path) -> Iterator[Any]:
    with cache_in(tmp_path / "cache"), s3.bucket("labels") as files:
        yield files


def store_job(url: str = URL, shard: str | None = None, **changes: Any) -> Job:
    output = parse_output(url)
    if shard is not None:
        output = replace(output, shard=parse_shard(shard))
    made = job(Path("unused"), limits=Limits(num_workers=1, batch_size=1, flush_seconds=0.1))
    return replace(made, output=output, store_times=QUICK, **changes)


def rows_on(files: Any, url: str = URL) -> list[dict[str, object]]:
    """Of the labels there, in any form."""
    path = url.removeprefix("s3://")
    if path.endswith(".jsonl"):
        return [json.loads(line) for line in files.cat_file(path).splitlines()]
    names = [path] if path.endswith(".parquet") else files.glob(f"{path}/part-*.parquet")
    return [row for name in names for row in pq.read_table(pa.BufferReader(files.cat_file(name))).to_pylist()]


def _without_times(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    rows = [{name: value for name, value in row.items() if name != "created_at"} for row in rows]
    return sorted(rows, key=lambda row: str(row["label_id"]))


def times(rows: list[dict[str, object]]) -> dict[object, object]:
    return {row["label_id"]: row["created_at"] for row in rows}


def is_tidy(files: Any, *names: str) -> bool:
    """Nothing but the labels is left on the store, and nothing here."""
    left = work_place(URL).parent
    return files.find("labels") == [f"labels/a/{name}" for name in names] and not (
        left.exists() and any(left.iterdir())
    )


# ---- what a run leaves on the store --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("labels.parquet", ("labels.parquet",)),
        ("labels.jsonl", ("labels.jsonl", "labels.jsonl.run.json")),
        ("labels", ("labels/_vidlabel.json", "labels/part-000000.parquet")),
    ],
)
def test_labels_on_a_store_are_those_of_a_local_run(
    bucket: Any, videos: Path, local_rows: list[dict[str, object]], name: str, left: tuple[str, ...]
) -> None:
    url = f"s3://labels/a/{name}"
    label(videos, store_job(url))
    found = _without_times(rows_on(bucket, url))
    assert [{key: row.get(key) for key in local} for row, local in zip(found, local_rows, strict=True)] == local_rows
    assert is_tidy(bucket, *left)


def test_new_videos_alone_are_labelled_and_other_settings_stop_the_run(bucket: Any, tmp_path: Path) -> None:
    videos = folder_of_videos(tmp_path / "videos", 2)
    (videos / "garbage.mp4").write_bytes(b"not a video" * 100)
    label(videos, store_job())
    before = times(rows_on(bucket))
    two_scenes(videos / "later.mp4", 77)
    summary = label(videos, store_job())
    assert (summary.num_done_before, summary.num_given_up, summary.num_videos) == (2, 1, 1)
    after = times(rows_on(bucket))
    assert before.items() < after.items()
    assert b"garbage.mp4" in bucket.cat_file("labels/a/labels.failures.jsonl")
    assert is_tidy(bucket, "labels.failures.jsonl", "labels.parquet")
    with pytest.raises(InputError, match=r"^s3://labels/a/labels.parquet was made with other settings \(answers.seed"):
        label(videos, store_job(settings=echo_settings(seed=5)))
    assert label(videos, store_job(dry_run=True)).num_left == 0
    assert times(rows_on(bucket)) == after
    assert is_tidy(bucket, "labels.failures.jsonl", "labels.parquet")
    label(videos, store_job(settings=echo_settings(seed=5), overwrite=True))
    assert not times(rows_on(bucket)).keys() & after.keys()
    assert len(rows_on(bucket)) == len(after)


@pytest.mark.parametrize("name", ["labels.parquet", "labels"])
def test_what_is_kept_beside_labels_goes_with_them(bucket: Any, tmp_path: Path, name: str) -> None:
    videos, url = folder_of_videos(tmp_path / "videos", 1), f"s3://labels/a/{name}"
    arguments = [
        "--model",
        "echo",
        "--out",
        url,
        "--workers",
        "1",
        "--where",
        "start_seconds > 1",
        "--signals",
        "motion",
    ]
    for _ in range(2):
        code, _, stderr = run_cli("caption", str(videos), *arguments)
        assert code == 0, stderr
        two_scenes(videos / "later.mp4", 78)
    skipped = pq.read_table(pa.BufferReader(bucket.cat_file("labels/a/labels.skipped.parquet")))
    assert (len(skipped), len(rows_on(bucket, url))) == (2, 2)
    assert "s3://labels/a/labels.skipped.parquet" in stderr
    assert not [left for left in bucket.find("labels") if ".work" in left]


def test_a_folder_of_somebody_elses_files_is_left_alone(bucket: Any, videos: Path) -> None:
    bucket.pipe("labels/a/films/x.mp4", bytes(3_000_000))
    for overwrite in (False, True):
        with pytest.raises(InputError, match=r"s3://labels/a/films holds"):
            label(videos, store_job("s3://labels/a/films", overwrite=overwrite))
    assert is_tidy(bucket, "films/x.mp4")


# ---- runs that die -------------------------------------------------------------------------------------------------


def start(videos: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.resumable_run", str(videos), *arguments]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True)


def parts_on(files: Any) -> list[str]:
    return [name for name in files.find("labels/a/labels.parquet.work") if "/part-" in name]


def wait_for_parts(files: Any, run: subprocess.Popen[str], count: int = 1) -> None:
    while len(parts_on(files)) < count:
        assert run.poll() is None, run.communicate()[1]
        time.sleep(0.05)


@pytest.mark.parametrize("other_machine", [False, True])
def test_a_killed_run_goes_on_here_and_on_another_machine(
    bucket: Any, videos: Path, local_rows: list[dict[str, object]], tmp_path: Path, other_machine: bool
) -> None:
    run = start(videos, URL)
    wait_for_parts(bucket, run)
    run.kill()
    run.communicate()
    saved = [
        row for name in parts_on(bucket) for row in pq.read_table(pa.BufferReader(bucket.cat_file(name))).to_pylist()
    ]
    assert bucket.exists("labels/a/labels.parquet.work/lock")
    assert not bucket.exists("labels/a/labels.parquet")
    if other_machine:
        shutil.rmtree(tmp_path / "cache")
        with pytest.raises(LockedError, match=r"holds s3://labels/a/labels\.parquet\.work; wait until it ends, or"):
            label(videos, replace(store_job(), store_times=LockTimes()))
        deadline = time.monotonic() + 20
        while not wait_until_free(videos):
            assert time.monotonic() < deadline
    else:
        label(videos, store_job())
    assert _without_times(rows_on(bucket)) == local_rows
    assert times(saved).items() <= times(rows_on(bucket)).items()
    assert is_tidy(bucket, "labels.parquet")


def wait_until_free(videos: Path) -> bool:
    try:
        label(videos, store_job())
    except LockedError:
        time.sleep(0.2)
        return False
    return True


@pytest.mark.slow
def test_runs_killed_at_random_moments_lose_nothing_and_show_nothing_half(
    bucket: Any, videos: Path, local_rows: list[dict[str, object]], tmp_path: Path
) -> None:
    chance = random.Random(3)
    for number in range(8):
        run = start(videos, URL)
        moment = time.monotonic() + chance.uniform(1.0, 6.0)
        while run.poll() is None and time.monotonic() < moment:
            if bucket.exists("labels/a/labels.parquet"):
                assert _without_times(rows_on(bucket)) == local_rows
            time.sleep(0.05)
        run.kill()
        run.communicate()
        if number % 2:
            shutil.rmtree(tmp_path / "cache", ignore_errors=True)
            time.sleep(QUICK.stale_seconds + 1.1)
    label(videos, store_job())
    assert _without_times(rows_on(bucket)) == local_rows
    assert is_tidy(bucket, "labels.parquet")


def test_a_run_stopped_by_a_signal_leaves_its_parts_there_and_nothing_here(
    bucket: Any, videos: Path, local_rows: list[dict[str, object]]
) -> None:
    def stop() -> None:
        time.sleep(0.3)  # until what was answered is saved
        os.kill(os.getpid(), signal.SIGTERM)

    summary = label(videos, store_job(load_captioner=lambda: Cutting(stop)))
    assert summary.exit_code == 128 + signal.SIGTERM
    assert parts_on(bucket)
    assert not [name for name in bucket.find("labels") if name.endswith("/lock")]
    assert not list(work_place(URL).parent.iterdir())
    label(videos, store_job())
    assert _without_times(rows_on(bucket)) == local_rows
    assert is_tidy(bucket, "labels.parquet")


class Cutting:
    """An echo that does something after its first answer."""

    def __init__(self, then: Any) -> None:
        self._then = then

    def answer(self, clips: Any) -> Iterator[Answer]:
        for number, asked in enumerate(clips):
            yield from EchoCaptioner().answer([asked])
            if number == 0:
                self._then()


def test_a_network_lost_in_mid_run_stops_it_with_all_kept_here(
    s3: S3, bucket: Any, videos: Path, local_rows: list[dict[str, object]]
) -> None:
    captioner = Cutting(lambda: (time.sleep(0.5), s3.stop()))
    try:
        with pytest.raises(WriteError) as error:
            label(videos, store_job(load_captioner=lambda: captioner))
    finally:
        s3.start()
    assert "s3://labels/a/" in str(error.value.filename)
    assert "connect" in str(error.value.strerror).lower()
    here = work_place(URL) / "labels.parquet.work"
    made = [row for path in here.glob("part-*.parquet") for row in pq.read_table(path).to_pylist()]
    assert made
    assert not bucket.exists("labels/a/labels.parquet")
    label(videos, store_job())  # at once: the lock that it has left is known by this folder
    assert _without_times(rows_on(bucket)) == local_rows
    assert times(made).items() <= times(rows_on(bucket)).items()
    assert is_tidy(bucket, "labels.parquet")


def test_a_network_that_comes_back_costs_nothing(
    s3: S3, bucket: Any, videos: Path, local_rows: list[dict[str, object]]
) -> None:
    def away() -> None:
        s3.stop()
        threading.Timer(1.0, s3.start).start()
        time.sleep(1.5)

    patient = replace(QUICK, patience_seconds=20.0, stale_seconds=30.0)
    label(videos, replace(store_job(load_captioner=lambda: Cutting(away)), store_times=patient))
    assert _without_times(rows_on(bucket)) == local_rows
    assert is_tidy(bucket, "labels.parquet")


# ---- who holds it --------------------------------------------------------------------------------------------------


def test_of_many_that_want_a_lock_at_once_one_gets_it(bucket: Any) -> None:
    locks = [StoreLock("s3://labels/x.work/lock", f"folder {number}", LockTimes()) for number in range(8)]
    got: list[int] = []

    def take(number: int) -> None:
        try:
            locks[number].acquire()
            got.append(number)
        except LockedError:
            pass

    threads = [threading.Thread(target=take, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 1
    locks[got[0]].beat()
    locks[got[0]].release()
    assert locks[got[0] - 1].acquire() is False


def test_a_silent_holder_is_followed_by_one_and_finds_out(bucket: Any) -> None:
    old, *others = (StoreLock("s3://labels/x.work/lock", f"folder {number}", QUICK) for number in range(3))
    old.acquire()
    with pytest.raises(LockedError, match=r"process \d+ on .* holds s3://labels/x.work; wait"):
        others[0].acquire()
    time.sleep(QUICK.stale_seconds + 1.1)
    assert others[0].acquire() is False
    with pytest.raises(LockedError):
        others[1].acquire()
    with pytest.raises(LockLostError):
        old.beat()
    old.release()  # not the other's
    others[0].confirm()
    again = StoreLock("s3://labels/x.work/lock", "folder 1", QUICK)
    assert again.acquire() is True  # what a killed run has left in its own folder
    assert bucket.find("labels") == ["labels/x.work/lock"]


def test_conditional_writing_is_refused_by_the_store(bucket: Any) -> None:
    assert write_if("s3://labels/k", b"1", None)
    assert not write_if("s3://labels/k", b"2", None)
    found = stored("s3://labels/k")
    assert found is not None
    assert write_if("s3://labels/k", b"3", found.version)
    assert not write_if("s3://labels/k", b"4", found.version)
    assert bucket.cat_file("labels/k") == b"3"


def test_of_two_runs_started_in_the_same_second_one_works(bucket: Any, videos: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "vidlabel", "caption", str(videos), "--out", URL, "--model", "echo"]
    runs = []
    for number in range(2):  # two machines: a cache each
        with cache_in(tmp_path / f"machine{number}"):
            runs.append(subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True))
    said = [run.communicate(timeout=200)[1] for run in runs]
    assert sorted(run.returncode for run in runs) == [0, 75], said
    assert "holds s3://labels/a/labels.parquet.work" in "".join(said)
    assert len(rows_on(bucket)) == 6


# ---- shards --------------------------------------------------------------------------------------------------------


def on_machine(folder: Path, videos: Path, made: Job) -> Summary:
    with cache_in(folder):
        summary = label(videos, replace(made, output=parse_output_again(made)))
        assert not any((folder / "outputs").iterdir())
    return summary


def parse_output_again(made: Job) -> Any:
    """The local folder of an output is where the cache is now."""
    return replace(parse_output(str(made.output.url)), shard=made.output.shard)


def test_shards_on_machines_that_share_nothing_but_the_store(
    bucket: Any, videos: Path, local_rows: list[dict[str, object]], tmp_path: Path
) -> None:
    first = on_machine(tmp_path / "one", videos, store_job(shard="1/2"))
    assert first.shards_left == ("2/2",)
    assert not bucket.exists("labels/a/labels.parquet")
    with pytest.raises(InputError, match=r"s3://labels/a/labels.parquet is being made by 2 shards"):
        on_machine(tmp_path / "two", videos, store_job(shard="1/3"))
    second = on_machine(tmp_path / "two", videos, store_job(shard="2/2"))
    assert second.shards_left == ()
    assert _without_times(rows_on(bucket)) == local_rows
    assert is_tidy(bucket, "labels.parquet")


def test_a_run_without_shard_takes_over_what_a_killed_shard_has_left(
    bucket: Any, videos: Path, local_rows: list[dict[str, object]], tmp_path: Path
) -> None:
    # which videos a share has is a hash of where they lie: the other one may have none
    shard = max((Shard(1, 2), Shard(2, 2)), key=lambda one: sum(one.takes(str(row["video_id"])) for row in local_rows))
    with cache_in(tmp_path / "other"):
        run = start(videos, URL, str(shard))
        while not [name for name in bucket.find("labels") if f"{shard.folder_name}/part-" in name]:
            assert run.poll() is None, run.communicate()[1]
            time.sleep(0.05)
        run.kill()
        run.communicate()
    with pytest.raises(LockedError, match=rf"holds s3://labels/a/labels\.parquet\.work/{shard.folder_name}"):
        label(videos, replace(store_job(), store_times=LockTimes()))
    time.sleep(QUICK.stale_seconds + 1.1)
    label(videos, store_job())
    assert _without_times(rows_on(bucket)) == local_rows
    assert is_tidy(bucket, "labels.parquet")


# ---- what cannot be written ----------------------------------------------------------------------------------------


def test_a_store_that_may_not_be_written_is_one_clear_line(s3: S3, bucket: Any, videos: Path, tmp_path: Path) -> None:
    arguments = ["caption", str(videos), "--model", "echo", "--out"]
    code, _, stderr = run_cli(*arguments, "s3://nobody/labels.parquet")
    assert (code, stderr) == (2, "vidlabel: s3://nobody/labels.parquet cannot be written: no such bucket\n")
    s3.check_credentials(True)
    try:
        with environment({"AWS_SECRET_ACCESS_KEY": "sesame-open"}):
            code, _, stderr = run_cli(*arguments, URL)
    finally:
        s3.check_credentials(False)
    assert (code, len(stderr.splitlines())) == (2, 1), stderr
    assert stderr.startswith(f"vidlabel: {URL} cannot be written: ")
    assert "sesame" not in stderr


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://host/labels.parquet", "labels can be written to s3://"),
        ("s3://me:secret@bucket/labels.parquet", "credentials come from the environment"),
        ("s3://labels", "name a file or a folder in the bucket"),
        ("s3://labels/a.csv", "labels are in a .parquet file"),
    ],
)
def test_urls_that_cannot_hold_labels_are_one_clear_line(videos: Path, url: str, said: str) -> None:
    code, _, stderr = run_cli("caption", str(videos), "--model", "echo", "--out", url)
    assert (code, len(stderr.splitlines())) == (2, 1)
    assert said in stderr
    assert "secret" not in stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("export", "examples/labels.jsonl", "--to", "finetrainers", "--out", "s3://bucket/set"),
        ("report", "examples/labels.jsonl", "--out", "s3://bucket/report.html"),
        ("filter", "s3://bucket/labels.parquet", "--out", "x.parquet"),
        ("dedup", "examples/labels.jsonl", "--out", "s3://bucket/kept.parquet"),
        ("eval", "--out", "s3://bucket/results.json"),
        ("train", "align", "--out", "s3://bucket/model"),
        ("models", "convert", "mistral", "--out", "gs://bucket/model"),
    ],
)
def test_commands_for_local_files_say_so(arguments: tuple[str, ...]) -> None:
    code, _, stderr = run_cli(*arguments)
    assert (code, len(stderr.splitlines())) == (2, 1)
    assert "reads and writes local files only" in stderr


def test_no_secret_is_written_anywhere(s3: S3, bucket: Any, videos: Path, tmp_path: Path) -> None:
    label(videos, store_job(limit=1, load_captioner=lambda: Cutting(lambda: keep(bucket, tmp_path))))
    kept = (tmp_path / "kept").read_bytes()
    assert b"run.json" in kept
    assert b'"pid"' in kept
    assert s3.environment["AWS_SECRET_ACCESS_KEY"].encode() not in kept


def keep(files: Any, folder: Path) -> None:
    """All that is on the store and here, in mid-run."""
    time.sleep(0.5)
    there = b"".join(name.encode() + files.cat_file(name) for name in files.find("labels"))
    here = b"".join(path.read_bytes() for path in work_place(URL).rglob("*") if path.is_file())
    (folder / "kept").write_bytes(there + here)


def test_split_writes_its_manifest_to_a_store(bucket: Any, videos: Path) -> None:
    url = "s3://labels/a/clips.csv"
    code, _, stderr = run_cli("split", str(videos), "--out", url, "--workers", "1")
    assert code == 0, stderr
    lines = bucket.cat_file("labels/a/clips.csv").decode().splitlines()
    assert len(lines) == 7
    assert str(videos / "video000.mp4") in lines[1]
    assert is_tidy(bucket, "clips.csv")


def test_signals_are_written_to_a_store(bucket: Any, videos: Path) -> None:
    url = "s3://labels/a/signals.parquet"
    code, _, stderr = run_cli("signals", str(videos), "--out", url, "--signals", "brightness", "--workers", "1")
    assert code == 0, stderr
    rows = rows_on(bucket, url)
    assert len(rows) == 6
    assert all(0 <= float(str(row["brightness"])) <= 1 for row in rows)
    assert str(videos / "video000.mp4") in {row["video"] for row in rows}
    assert is_tidy(bucket, "signals.parquet")


def test_doctor_tries_whether_a_store_can_be_written(bucket: Any) -> None:
    _, stdout, _ = run_cli("doctor", "--json", "--out", "s3://labels/somewhere")
    found = next(it for it in json.loads(stdout)["findings"] if it["name"] == "output folder")
    assert (found["status"], found["value"]) == ("ok", "s3://labels/somewhere, can be written")
    assert writing_problem_at("s3://nobody/x") == "no such bucket"
    assert "labels can be written to s3://" in str(writing_problem_at("https://host/x"))
    assert bucket.find("labels") == []
