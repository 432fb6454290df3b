"""`vidlabel review`: decisions are kept whatever happens, and the server gives nothing to whom it should not."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import socket
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow.parquet as pq
import pytest
from typer.main import get_command
from typer.testing import CliRunner

from tests.label_files import own_rows, read_back, run, write_foreign, write_own
from tests.make_videos import noise_scene, write_video
from tests.report_pages import Served, blocks, served_review
from vidlabel.cli import app
from vidlabel.report.requests import byte_range, is_own_host, is_same_origin, is_token
from vidlabel.tables.reviews import read_reviews

EXAMPLES = Path(__file__).parent.parent / "examples"
CHANGES: list[dict[str, Any]] = [
    {"clip_id": "good", "video_path": "good.mp4", "start_seconds": 0.0, "end_seconds": 1.0},
    {"clip_id": "bad", "video_path": "bad.mp4"},
    {"clip_id": "up", "video_path": "../secret.mp4"},
    {"clip_id": "absolute", "video_path": "/etc/passwd"},
    {"clip_id": "link", "video_path": "link.mp4"},
    {"clip_id": "folder", "video_path": "."},
    {"clip_id": "fifo", "video_path": "fifo.mp4"},
    {"clip_id": "missing", "video_path": "missing.mp4"},
]
IDS = [row["label_id"] for row in own_rows(CHANGES)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import os

    folder = tmp_path_factory.mktemp("review")
    (folder / "videos").mkdir()
    write_video(folder / "videos" / "good.mp4", noise_scene(40, (200, 60, 40)))
    (folder / "videos" / "bad.mp4").write_bytes(b"this is no video")
    (folder / "secret.mp4").write_bytes(b"secret")
    (folder / "videos" / "link.mp4").symlink_to(folder / "secret.mp4")
    os.mkfifo(folder / "videos" / "fifo.mp4")
    write_own(folder / "labels.parquet", CHANGES)
    return folder


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[Served]:
    with served_review(folder / "labels.parquet", "--root", folder / "videos", "--workers", 1) as served:
        yield served


def number_of(served: Served, name: str) -> int:
    names = blocks(served.ask("GET", "/")[1].decode())["gallery"]["names"]
    return int(names.index(name))


def test_decisions_are_kept_and_filter_honours_them(tmp_path: Path) -> None:
    labels = write_own(tmp_path / "labels.parquet", CHANGES)
    before = labels.read_bytes()
    with served_review(labels) as served:
        assert served.decide(IDS[0], "accept") == 200
        assert served.decide(IDS[1], "reject") == 200
        assert served.decide(IDS[2], "edit", "A better caption. \ud800") == 200
        assert served.decide(IDS[3], "accept") == 200
        assert served.decide(IDS[3], None) == 200
        page = blocks(served.ask("GET", "/")[1].decode())  # loaded again, it shows them
        assert page["reviews"][IDS[2]] == ["edit", "A better caption. \ufffd"]
        served.process.send_signal(signal.SIGINT)
        assert served.process.wait(30) == 0
        assert "3 labels decided, +3 in this session" in served.process.stderr.read()  # type: ignore[union-attr]
    assert labels.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.parquet", "labels.review.parquet"]
    assert run("filter", labels, "--out", tmp_path / "clean.parquet", "--reviewed")[0] == 0
    assert [row["caption"] for row in read_back(tmp_path / "clean.parquet")] == [
        "A dog runs.",
        "A better caption. \ufffd",
    ]


def test_a_killed_review_loses_no_decision(tmp_path: Path) -> None:
    labels = write_own(tmp_path / "labels.parquet", CHANGES)
    with served_review(labels) as served:
        assert served.decide(IDS[0], "accept") == 200
        assert served.decide(IDS[1], "edit", "Better.") == 200
        served.process.kill()
        served.process.wait()
    reviews = read_reviews(tmp_path / "labels.review.parquet")
    assert {key: review.decision for key, review in reviews.items()} == {IDS[0]: "accept", IDS[1]: "edit"}
    with served_review(labels) as served:
        assert set(blocks(served.ask("GET", "/")[1].decode())["reviews"]) == {IDS[0], IDS[1]}
        assert served.decide(IDS[2], "reject") == 200
    assert pq.read_table(tmp_path / "labels.review.parquet").num_rows == 3


@pytest.mark.parametrize("path", ["/", "/video/0", "/sheet/0", "/review", "/nothing"])
@pytest.mark.parametrize("token", ["", "wrong", "é"])
def test_nothing_without_the_token(served: Served, path: str, token: str) -> None:
    from urllib.parse import quote

    for method in ("GET", "HEAD", "POST"):
        status, body, _ = served.ask(method, path, token=quote(token))
        assert status == 403
        assert b"decided" not in body
        assert b"<script" not in body


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "[::1", "10.0.0.7"])
def test_nothing_under_another_name(served: Served, host: str) -> None:
    assert served.ask("GET", "/", Host=host)[0] == 421
    body = json.dumps({"label_id": IDS[0], "decision": "reject"}).encode()
    assert served.ask("POST", "/review", body=body, Host=host, Content_Type="application/json")[0] == 421


def test_a_tunnel_to_another_port_is_fine(served: Served) -> None:
    assert served.ask("GET", "/", Host="localhost:9999")[0] == 200


def test_only_this_machine_can_connect(served: Served) -> None:
    port = int(urlsplit(served.url).port or 0)
    assert urlsplit(served.url).hostname == "127.0.0.1"
    addresses = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
    for address in addresses - {"127.0.0.1"}:
        if not str(address).startswith("127."):
            with pytest.raises(OSError, match="refused"):
                socket.create_connection((str(address), port), timeout=2).close()


@pytest.mark.parametrize(
    ("name", "status", "said"),
    [
        ("up", 403, "outside of --root"),
        ("absolute", 403, "outside of --root"),
        ("link", 403, "outside of --root"),
        ("folder", 404, ""),
        ("fifo", 404, ""),
        ("missing", 404, "is not there"),
    ],
)
def test_only_videos_below_the_root(served: Served, name: str, status: int, said: str) -> None:
    for kind in ("video", "sheet"):
        answer = served.ask("GET", f"/{kind}/{number_of(served, name)}")
        assert answer[0] == status
        assert said in answer[1].decode()
        assert b"secret" not in answer[1].replace(b"secret.mp4", b"")
        assert b"root:" not in answer[1]


@pytest.mark.parametrize(
    "path",
    ["/../../etc/passwd", "/video/../../etc/passwd", "/video/%2e%2e%2fetc", "/video/999999", "/video/-1", "/video/0/..",
     "//etc/passwd", "/labels.parquet", "/video/1e1", "/favicon.ico", "/video/\u0661".encode().decode("latin-1")],
)  # fmt: skip
def test_no_path_leads_elsewhere(served: Served, path: str) -> None:
    from urllib.parse import quote

    assert served.ask("GET", quote(path, safe="/%"))[0] == 404


def test_videos_are_served_in_parts(served: Served, folder: Path) -> None:
    data = (folder / "videos" / "good.mp4").read_bytes()
    path = f"/video/{number_of(served, 'good')}"
    status, body, headers = served.ask("GET", path)
    assert (status, body, headers["Content-Type"], headers["Accept-Ranges"]) == (200, data, "video/mp4", "bytes")
    size = len(data)
    for asked, start, end in (("0-", 0, size), ("5-9", 5, 10), ("-7", size - 7, size), (f"9-{size * 9}", 9, size)):
        status, body, headers = served.ask("GET", path, Range=f"bytes={asked}")
        assert (status, body) == (206, data[start:end])
        assert headers["Content-Range"] == f"bytes {start}-{end - 1}/{size}"
    for asked in (f"{size}-", "9-5", "-0"):
        status, _, headers = served.ask("GET", path, Range=f"bytes={asked}")
        assert (status, headers["Content-Range"]) == (416, f"bytes */{size}")
    assert served.ask("GET", path, Range="bytes=0-1,4-5")[1] == data
    status, body, headers = served.ask("HEAD", path, Range="bytes=0-1")
    assert (status, body, headers["Content-Length"]) == (206, b"", "2")


def test_contact_sheets_are_made_when_asked_for_and_not_kept_on_disk(served: Served, folder: Path) -> None:
    status, body, headers = served.ask("GET", f"/sheet/{number_of(served, 'good')}")
    assert (status, headers["Content-Type"], body[8:12]) == (200, "image/webp", b"WEBP")
    status, body, _ = served.ask("GET", f"/sheet/{number_of(served, 'bad')}")
    assert (status, body) == (404, b"not a video in a format that is read")
    assert {path.name for path in folder.iterdir()} <= {
        "videos", "secret.mp4", "labels.parquet", "labels.review.journal", "labels.review.parquet",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"nonsense", {}, 400),
        (b"[]", {}, 404),
        (b"{}", {}, 404),
        (b'{"label_id": "elsewhere", "decision": "accept"}', {}, 404),
        (b'{"label_id": ["a"], "decision": "accept"}', {}, 404),
        (b'{"label_id": "ID", "decision": "maybe"}', {}, 400),
        (b'{"label_id": "ID", "decision": ["accept"]}', {}, 400),
        (b'{"label_id": "ID", "decision": "edit"}', {}, 400),
        (b'{"label_id": "ID", "decision": "edit", "text": " "}', {}, 400),
        (b'{"label_id": "ID", "decision": "edit", "text": 5}', {}, 400),
        (b'{"label_id": "ID", "decision": "accept"}', {"Content_Type": "text/plain"}, 415),
        (b'{"label_id": "ID", "decision": "accept"}', {"Origin": "http://evil.example"}, 403),
        (b'{"label_id": "ID", "decision": "accept"}', {"Origin": "null"}, 403),
        (b"[" * 100_000, {}, 400),
        (b" " * (1 << 20) + b"{}", {}, 413),
    ],
)
def test_what_is_no_decision_is_refused(
    served: Served, folder: Path, body: bytes, headers: dict[str, str], status: int
) -> None:
    before = read_reviews(folder / "labels.review.parquet")
    body = body.replace(b"ID", IDS[0].encode())
    given = {"Content_Type": "application/json", **headers}
    try:
        assert served.ask("POST", "/review", body=body, **given)[0] == status
    except ConnectionError:  # the server hung up on what it will not read
        assert status == 413
    assert read_reviews(folder / "labels.review.parquet") == before


def test_the_page_may_be_framed_and_cached_by_nobody(served: Served) -> None:
    _, body, headers = served.ask("GET", "/")
    assert headers["Cache-Control"] == "no-store"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]+)"', body.decode())
    assert "connect-src 'self'" in policy


def test_a_second_review_of_the_same_labels_is_refused(served: Served, folder: Path) -> None:
    result = CliRunner().invoke(app, ["review", str(folder / "labels.parquet")])
    assert result.exit_code == 75
    assert "held by another review" in result.stderr


def test_wrong_options_are_one_clear_line(tmp_path: Path, served: Served) -> None:
    foreign = write_foreign(tmp_path / "labels.csv", [{"caption": "A dog.", "n": "1"}])
    own = write_own(tmp_path / "labels.parquet", CHANGES)
    for args, said in (
        ([foreign], "no column label_id"),
        ([own, "--root", tmp_path / "nowhere"], "no such folder"),
        ([own, "--host", "203.0.113.7"], "--host 203.0.113.7"),
        ([own, "--port", urlsplit(served.url).port], "Address already in use"),
    ):
        result = CliRunner().invoke(app, ["review", *map(str, args)])
        assert result.exit_code == 2
        assert said in result.stderr
        assert result.stderr.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.csv", "labels.parquet"]


def test_the_example_of_the_command_runs(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLES, tmp_path / "examples")
    example = str(get_command(app).commands["review"].epilog)  # type: ignore[attr-defined]
    with chdir(tmp_path), served_review(*shlex.split(example.removeprefix("Example: vidlabel review "))) as served:
        page = blocks(served.ask("GET", "/")[1].decode())
        assert len(page["gallery"]["clip"]) == 7
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(30) == 0


@pytest.mark.parametrize(
    ("header", "bound", "is_own"),
    [
        ("127.0.0.1:80", "127.0.0.1", True),
        ("localhost", "127.0.0.1", True),
        ("LOCALHOST:1", "127.0.0.1", True),
        ("[::1]:80", "127.0.0.1", True),
        ("192.168.0.2:80", "127.0.0.1", False),
        ("192.168.0.2:80", "0.0.0.0", True),
        ("evil.example", "0.0.0.0", False),
        (socket.gethostname(), "0.0.0.0", True),
        (None, "0.0.0.0", False),
        ("localhost.evil.example", "127.0.0.1", False),
        ("evil.example@localhost", "127.0.0.1", False),
    ],
)
def test_which_names_are_this_machine(header: str | None, bound: str, is_own: bool) -> None:
    assert is_own_host(header, bound=bound) is is_own


def test_tokens_and_origins_are_compared_whole() -> None:
    assert is_token("abc", "abc")
    assert not any(is_token(given, "abc") for given in ("", "ab", "abcd", "ABC", "ab\ud800"))
    assert is_same_origin("http://localhost:5", "localhost:5")
    assert not is_same_origin("http://localhost:6", "localhost:5")
    assert not is_same_origin("http://localhost:5", None)


@pytest.mark.parametrize("header", [None, "", "items=0-1", "bytes=-", "bytes=a-b", "bytes=0-1,2-3", "bytes 0-1"])
def test_ranges_that_are_not_understood_are_passed_over(header: str | None) -> None:
    assert byte_range(header, 10) is None
