"""Remote files: the same labels as from local ones, whatever the way to them does; only what is named is fetched."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.runs import folder_of_videos, rows
from tests.stores import S3, WebServer, cache_in, web_server
from tests.test_cli import run
from vidlabel.decoders.probing import probe
from vidlabel.errors import InputError, VideoError
from vidlabel.manifest import read_inputs
from vidlabel.remote import check_url, forget_info, join_url, read_range, remote_info
from vidlabel.remote_cache import local_file, open_copy
from vidlabel.remote_file import RemoteFile

NAMES = [f"video{number:03}.mp4" for number in range(3)]
WORDS = "1\n00:00:00,000 --> 00:00:02,000\nhello there\n"


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = folder_of_videos(tmp_path_factory.mktemp("videos"), 3)
    (folder / "video001.srt").write_text(WORDS)
    return folder


@pytest.fixture
def web(videos: Path, tmp_path: Path) -> Iterator[WebServer]:
    with cache_in(tmp_path / "cache"), web_server() as server:
        for path in videos.iterdir():
            server.files[f"/clips/{path.name}"] = path.read_bytes()
        yield server


def captions(out: Path) -> list[tuple[object, ...]]:
    """Without what names the place: the echo of a caption says the path."""
    return sorted(
        (str(row["video_path"]).rsplit("/")[-1], row["start_seconds"], row["num_frames"], row["subtitle_source"],
         str(row["caption"]).split("mean colour")[1])
        for row in rows(out)
    )  # fmt: skip


def local_captions(videos: Path, folder: Path) -> list[tuple[object, ...]]:
    label_urls([str(videos)], folder / "local.parquet")
    return captions(folder / "local.parquet")


def urls(server: WebServer) -> list[str]:
    return [f"{server.url}/clips/{name}" for name in NAMES]


def label_urls(given: list[str], out: Path, *options: str) -> dict[str, str]:
    """Labels them with the real command in a process of its own, whose workers see the environment as it is now;
    what failed, by name."""
    model = ["--model", "echo", "--workers", "2", *options]
    command = [sys.executable, "-m", "vidlabel", "caption", *given, "--out", str(out), *model]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 3), done.stderr
    failed = out.with_name(out.stem + ".failures.jsonl")
    lines = failed.read_text().splitlines() if failed.exists() else []
    return {line.split('"path":')[1].split('"')[1].rsplit("/")[-1]: line for line in lines}


@pytest.mark.parametrize("with_ranges", [True, False])
def test_videos_of_a_web_server_are_labelled_like_local_ones(
    web: WebServer, videos: Path, tmp_path: Path, with_ranges: bool
) -> None:
    web.with_ranges = with_ranges
    assert label_urls(urls(web), tmp_path / "web.parquet") == {}
    assert captions(tmp_path / "web.parquet") == local_captions(videos, tmp_path)
    assert any(tmp_path.joinpath("cache").glob("*.mp4")) != with_ranges  # copied only where ranges cannot be had


def test_connections_that_break_are_made_again(web: WebServer, videos: Path, tmp_path: Path) -> None:
    web.resets = {f"/clips/{name}": 1 for name in NAMES}
    web.statuses = {f"/clips/{NAMES[0]}": [503]}
    assert label_urls(urls(web), tmp_path / "web.parquet") == {}
    assert captions(tmp_path / "web.parquet") == local_captions(videos, tmp_path)


def test_a_missing_and_a_forbidden_file_cost_themselves_only(web: WebServer, tmp_path: Path) -> None:
    del web.files[f"/clips/{NAMES[0]}"]
    web.statuses = {f"/clips/{NAMES[1]}": [403] * 99}
    manifest = tmp_path / "m.csv"
    manifest.write_text("video\n" + "".join(f"{url}\n" for url in urls(web)))
    failed = label_urls([str(manifest)], tmp_path / "web.parquet")
    assert "no such file" in failed[NAMES[0]]
    assert "cannot be opened" in failed[NAMES[1]]
    assert {str(row["video_path"])[-len(NAMES[2]) :] for row in rows(tmp_path / "web.parquet")} == {NAMES[2]}


def test_a_server_that_hangs_costs_a_video_its_time_limit_only(web: WebServer, tmp_path: Path) -> None:
    manifest = tmp_path / "m.csv"
    manifest.write_text(f"video\n{urls(web)[0]}\n")
    web.seconds = 30.0
    began = time.monotonic()
    failed = label_urls([str(manifest)], tmp_path / "web.parquet", "--video-timeout", "1")
    assert "time limit" in failed[NAMES[0]]
    assert time.monotonic() - began < 25


def test_a_manifest_on_a_server_names_its_neighbours(web: WebServer, tmp_path: Path) -> None:
    web.files["/clips/m.csv"] = b"video,note\nvideo000.mp4,a\n./video001.mp4,b\n"
    assert label_urls([f"{web.url}/clips/m.csv"], tmp_path / "web.parquet") == {}
    made = rows(tmp_path / "web.parquet")
    assert {(str(row["video_path"]), row["note"]) for row in made} == {("video000.mp4", "a"), ("./video001.mp4", "b")}
    assert {row["subtitle_source"] for row in made if row["note"] == "b"} == {"sidecar"}


def test_a_file_is_read_in_ranges_and_not_whole(web: WebServer) -> None:
    data = os.urandom(20 << 20)
    web.files["/big"] = data
    file = RemoteFile(f"{web.url}/big", remote_info(f"{web.url}/big"))
    file.seek(-1000, os.SEEK_END)
    assert file.read() == data[-1000:]
    file.seek(9_000_000)
    assert file.read(500) == data[9_000_000:9_000_500]
    assert web.num_bytes["/big"] < 6 << 20
    file.seek(0)
    assert b"".join(iter(lambda: file.read(1 << 20) or b"", b"")) == data


def test_a_file_that_is_replaced_while_it_is_read_is_an_error(web: WebServer) -> None:
    web.files["/big"] = bytes(40 << 20)
    file = RemoteFile(f"{web.url}/big", remote_info(f"{web.url}/big"))
    assert file.read(1000) == bytes(1000)
    web.files["/big"] = bytes(39 << 20) + b"x" * (1 << 20)
    with pytest.raises(OSError, match="replaced while it was read"):
        list(iter(lambda: file.read(1 << 20), b""))


def test_a_file_that_is_opened_again_is_not_asked_for_its_facts_again(web: WebServer) -> None:
    url = urls(web)[0]
    assert probe(url) == probe(url)
    assert 1 <= web.num_heads[f"/clips/{NAMES[0]}"] <= 2  # the second where a minute has just ended
    web.files[f"/clips/{NAMES[0]}"] = web.files[f"/clips/{NAMES[1]}"][:1000]
    with pytest.raises(VideoError):
        probe(url)  # found to be another one, if late
    forget_info()
    with pytest.raises(VideoError, match="index"):
        probe(url)


def test_what_is_not_a_video_says_so_and_is_not_tried_again(web: WebServer) -> None:
    web.files["/page.mp4"] = b"<html><body>sign in</body></html>" * 50
    web.files["/empty.mp4"] = b""
    for name, reason in (("page.mp4", "a web page, not a video"), ("empty.mp4", "the file is empty")):
        with pytest.raises(VideoError, match=reason) as error:
            probe(f"{web.url}/{name}")
        assert error.value.permanent


def test_decord_reads_a_copy(web: WebServer, videos: Path) -> None:
    pytest.importorskip("decord")
    from vidlabel.decoders.decord import decode_span

    frames = [frame.seconds for frame in decode_span(urls(web)[0], start_seconds=0.0, end_seconds=0.5)]
    local = [frame.seconds for frame in decode_span(str(videos / NAMES[0]), start_seconds=0.0, end_seconds=0.5)]
    assert frames == local != []


def test_the_cache_keeps_to_its_size_and_to_the_files_as_they_are(web: WebServer, tmp_path: Path) -> None:
    web.files |= {f"/f{number}": bytes([number]) * 400_000 for number in range(4)}
    with cache_in(tmp_path / "small", gigabytes=0.001) as folder:
        for number in (0, 1, 0, 2, 3, 0):
            with open_copy(f"{web.url}/f{number}") as copy:
                assert copy.read() == bytes([number]) * 400_000
            assert sum(path.stat().st_size for path in folder.iterdir()) <= 1_000_000
        assert web.num_bytes["/f0"] == 800_000  # it was there the second time, and gone the third
        first = local_file(f"{web.url}/f3").read_bytes()
        web.files["/f3"] = b"new"
        assert first != local_file(f"{web.url}/f3").read_bytes() == b"new"
        assert not list(folder.glob(".*.tmp"))


def test_a_bucket_is_a_folder(s3: S3, videos: Path, tmp_path: Path) -> None:
    with cache_in(tmp_path / "cache"), s3.bucket("films") as store:
        for path in videos.iterdir():
            store.pipe(f"films/raw/{path.name}", path.read_bytes())
        store.pipe("films/raw/.hidden.mp4", b"x")
        store.pipe("films/m.jsonl", b'{"video": "raw/video002.mp4", "start": 0.2, "end": 1.0}\n')
        assert label_urls(["s3://films/raw"], tmp_path / "s3.parquet") == {}
        assert captions(tmp_path / "s3.parquet") == local_captions(videos, tmp_path)
        assert {row["video_path"] for row in rows(tmp_path / "s3.parquet")} == set(NAMES)
        assert label_urls(["s3://films/m.jsonl"], tmp_path / "m.parquet") == {}
        assert [row["start_seconds"] for row in rows(tmp_path / "m.parquet")] == [0.2]
        for given in ("s3://films/nothing.mp4", "s3://nobody/raw"):
            code, _, stderr = run("caption", given, "--model", "echo", "--out", str(tmp_path / "x.parquet"))
            assert (code, len(stderr.splitlines())) == (2, 1)
            assert "no such file or folder" in stderr or "cannot be opened" in stderr
        assert label_urls(["s3://films/m.jsonl"], tmp_path / "c.parquet", "--root", "s3://films") == {}
        assert pq.read_table(tmp_path / "c.parquet")["video_path"].to_pylist() == ["raw/video002.mp4"]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ftp://host/a.mp4", "only s3://, gs://, hf://, http://, https://"),
        ("file:///etc/passwd", "and local files can be read"),
        ("https://me:secret@host/a.mp4", "credentials come from the environment"),
        ("https://", "not a URL of a file"),
    ],
)
def test_urls_that_are_not_read_are_one_clear_line(url: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message) as error:
        check_url(url)
    assert "secret" not in str(error.value)
    manifest = tmp_path / "m.csv"
    manifest.write_text(f"video\n{url}\n")
    with pytest.raises(InputError, match=message):
        read_inputs([str(manifest)], root=None, lines=None)


@pytest.mark.parametrize("path", ["../../secret.mp4", "https://elsewhere/a.mp4", "/etc/a.mp4", "%2e%2e/a.mp4"])
def test_a_remote_root_is_not_left(path: str, tmp_path: Path) -> None:
    manifest = tmp_path / "m.csv"
    manifest.write_text(f"video\n{path}\n")
    with pytest.raises(InputError, match="is outside of --root"):
        read_inputs([str(manifest)], root="https://host/clips/mine", lines=None)


def test_a_local_root_is_not_left_for_the_network(tmp_path: Path) -> None:
    manifest = tmp_path / "m.csv"
    manifest.write_text("video\nhttps://elsewhere/a.mp4\n")
    with pytest.raises(InputError, match="is outside of --root"):
        read_inputs([str(manifest)], root=str(tmp_path), lines=None)


def test_paths_join_below_their_bucket() -> None:
    assert join_url("s3://b/x/y", "../z.mp4") == "s3://b/x/z.mp4"
    assert join_url("s3://b/x", "../../../z.mp4") == "s3://b/z.mp4"
    assert join_url("https://h/x", "/z.mp4") == "https://h/z.mp4"


def test_a_range_beyond_the_end_is_what_there_is(web: WebServer) -> None:
    web.files["/small"] = b"0123456789"
    assert read_range(f"{web.url}/small", 4, 8) == b"4567"


def test_help_and_local_runs_import_nothing_remote() -> None:
    code = (
        "import sys, vidlabel.manifest, vidlabel.executors.workers; "
        "print({'fsspec', 'aiohttp', 's3fs'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
