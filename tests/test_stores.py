"""Videos on Google's storage and on the hub are labelled like local ones, subtitles beside them found as locally."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.hub_server import REPO, Hub, hub_server
from tests.runs import folder_of_videos, job, label, rows
from tests.stores import S3, cache_in, environment, google_server
from tests.test_remote import WORDS, captions, label_urls, local_captions
from vidlabel.errors import LockedError
from vidlabel.outputs import parse_output
from vidlabel.remote import names_beside
from vidlabel.store import read_object, write_if
from vidlabel.store_lock import LockLostError, LockTimes, StoreLock

NAMES = ["video000.mp4", "video001.mp4"]


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = folder_of_videos(tmp_path_factory.mktemp("videos"), 2)
    (folder / "video001.de-orig.srt").write_text(WORDS)  # by no name that could be guessed
    (folder / "video001.zz.srt").write_text("1\n00:00:00,000 --> 00:00:02,000\nanother\n")
    return folder


@pytest.fixture(scope="module")
def local(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[object, ...]]:
    return local_captions(videos, tmp_path_factory.mktemp("local"))


@pytest.fixture
def google(tmp_path: Path) -> Iterator[Any]:
    with cache_in(tmp_path / "cache"), google_server("films") as files:
        yield files


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with cache_in(tmp_path / "cache"), hub_server() as server:
        yield server


def hub_environment(hub: Hub, tmp_path: Path) -> dict[str, str]:
    return {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_OFFLINE": "0",  # which other tests set
    }


def test_a_bucket_of_google_is_a_folder(
    google: Any, videos: Path, local: list[tuple[object, ...]], tmp_path: Path
) -> None:
    for path in videos.iterdir():
        google.pipe_file(f"films/raw/{path.name}", path.read_bytes())
    assert label_urls(["gs://films/raw"], tmp_path / "gs.parquet") == {}
    assert captions(tmp_path / "gs.parquet") == local
    assert [row["subtitle_source"] for row in rows(tmp_path / "gs.parquet")].count("sidecar") == 2
    assert names_beside("gs://films/raw/video001.mp4") == [
        "video001.de-orig.srt", "video001.mp4", "video001.zz.srt",
    ]  # fmt: skip


def test_labels_can_be_written_to_google(google: Any, videos: Path, tmp_path: Path) -> None:
    url = "gs://films/out/labels.jsonl"
    made = job(Path("unused"), output=parse_output(url))
    label(videos, made)
    label(videos, job(tmp_path / "local.parquet"))
    lines = (json.loads(line) for line in google.cat_file("films/out/labels.jsonl").splitlines())
    ids = {line["label_id"] for line in lines}
    assert ids == {row["label_id"] for row in rows(tmp_path / "local.parquet")}
    assert google.find("films/out") == ["films/out/labels.jsonl", "films/out/labels.jsonl.run.json"]
    assert label(videos, made).num_done_before == 2
    held = StoreLock("gs://films/x.work/lock", "one", LockTimes())
    held.acquire()
    other = StoreLock("gs://films/x.work/lock", "two", LockTimes())
    with pytest.raises(LockedError):  # though this store takes whatever is written
        other.acquire()
    google.pipe_file("films/x.work/lock", b'{"token": "of another one"}')
    with pytest.raises(LockLostError):
        held.beat()
    assert write_if("gs://films/k", b"1", "17")  # the emulator knows no conditions; that it is asked is all that shows
    assert read_object("gs://films/k") == b"1"


def test_a_repository_of_the_hub_is_a_folder(
    hub: Hub, videos: Path, local: list[tuple[object, ...]], tmp_path: Path
) -> None:
    hub.files = {f"raw/{path.name}": path.read_bytes() for path in videos.iterdir()}
    hub.files["m.csv"] = b"video,note\nraw/video001.mp4,x\n"
    hub.token = "hf_of_the_test"
    with environment(hub_environment(hub, tmp_path) | {"HF_TOKEN": hub.token}):
        assert label_urls([f"hf://datasets/{REPO}/raw"], tmp_path / "hf.parquet") == {}
        assert label_urls([f"hf://datasets/{REPO}/m.csv"], tmp_path / "m.parquet") == {}
    assert captions(tmp_path / "hf.parquet") == local
    assert {row["video_path"] for row in rows(tmp_path / "hf.parquet")} == set(NAMES)
    assert {(row["note"], row["subtitle_source"]) for row in rows(tmp_path / "m.parquet")} == {("x", "sidecar")}


def test_a_repository_without_the_right_is_one_clear_line(hub: Hub, tmp_path: Path) -> None:
    hub.token = "hf_another"
    url = f"hf://datasets/{REPO}/raw"
    with environment(hub_environment(hub, tmp_path) | {"HF_TOKEN": "hf_wrong_secret"}):
        command = [sys.executable, "-m", "vidlabel", "caption", url, "--model", "echo", "--out", str(tmp_path / "x")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert done.stderr.startswith(f"vidlabel: {url}: ")
    assert "hf_wrong_secret" not in done.stderr


def test_subtitles_in_a_bucket_are_found_by_the_local_rule(
    s3: S3, videos: Path, local: list[tuple[object, ...]], tmp_path: Path
) -> None:
    with cache_in(tmp_path / "cache"), s3.bucket("sidecars") as files:
        for path in videos.iterdir():
            files.pipe(f"sidecars/raw/{path.name}", path.read_bytes())
        files.pipe("sidecars/raw/video000.mp4.d/video000.vtt", b"WEBVTT\n")  # in a folder of its own: not beside
        assert label_urls(["s3://sidecars/raw"], tmp_path / "s3.parquet") == {}
    assert captions(tmp_path / "s3.parquet") == local
    assert [row["subtitle_source"] for row in rows(tmp_path / "s3.parquet")].count("sidecar") == 2


def caption_to_hub(hub: Hub, tmp_path: Path, videos: Path, *options: str) -> subprocess.CompletedProcess[str]:
    url = f"hf://datasets/{REPO}/out/labels.parquet"
    command = [sys.executable, "-m", "vidlabel", "caption", str(videos), "--model", "echo", "--out", url, *options]
    with environment(hub_environment(hub, tmp_path) | {"HF_TOKEN": "hf_of_the_test"}):
        return subprocess.run(command, capture_output=True, text=True, check=False)


def test_labels_can_be_committed_to_the_hub(hub: Hub, tmp_path: Path) -> None:
    videos = folder_of_videos(tmp_path / "videos", 2)
    hub.token, hub.files = "hf_of_the_test", {"README.md": b"films"}
    assert caption_to_hub(hub, tmp_path, videos).returncode == 0
    assert (hub.num_commits, sorted(hub.files)) == (1, ["README.md", "out/labels.parquet"])
    before = _ids(hub)
    assert len(before) == 4
    (videos / "bad.mp4").write_bytes(b"no video" * 100)
    done = caption_to_hub(hub, tmp_path, videos)
    assert done.returncode == 3
    assert f"see hf://datasets/{REPO}/out/labels.failures.jsonl" in done.stderr
    assert (hub.num_commits, _ids(hub)) == (2, before)
    assert b"bad.mp4" in hub.files["out/labels.failures.jsonl"]
    assert not list((tmp_path / "cache").glob("outputs/*"))
    refused = caption_to_hub(hub, tmp_path, videos, "--shard", "1/2")
    assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 2)  # the other: no --root


def test_a_commit_that_fails_loses_no_labels(hub: Hub, tmp_path: Path) -> None:
    videos = folder_of_videos(tmp_path / "videos", 1)
    hub.token, hub.files = "hf_of_the_test", {"README.md": b"films"}
    hub.may_write = False
    refused = caption_to_hub(hub, tmp_path, videos)
    assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1), refused.stderr
    assert "out/labels.parquet cannot be written: access denied" in refused.stderr
    hub.may_write, hub.refuses_commits = True, True
    done = caption_to_hub(hub, tmp_path, videos)
    assert done.returncode == 1
    assert "out/labels.parquet cannot be written" in done.stderr.splitlines()[-1]
    (kept,) = (tmp_path / "cache").glob("outputs/*/kept/part-*.parquet")
    made = {row["label_id"]: row["created_at"] for row in rows(kept)}
    hub.refuses_commits = False
    assert caption_to_hub(hub, tmp_path, videos).returncode == 0
    assert made.items() == _ids(hub).items()


def _ids(hub: Hub) -> dict[object, object]:
    table = pq.read_table(pa.BufferReader(hub.files["out/labels.parquet"]))
    return {row["label_id"]: row["created_at"] for row in table.to_pylist()}
