"""Fixtures for all tests: one thread, quiet encoders, and the good files that many tests read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.stores import S3

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("SVT_LOG", "0")


@pytest.fixture(scope="session")
def numbered_mp4(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """100 numbered frames at 25 fps, H.264 with B-frames, a keyframe every 12."""
    from tests.make_videos import numbered_frames, write_video

    return write_video(tmp_path_factory.mktemp("videos") / "numbered.mp4", numbered_frames(100))


@pytest.fixture(scope="session")
def s3() -> Iterator[S3]:
    """An S3 server for all tests, for it takes seconds to start; each takes a bucket of its own."""
    pytest.importorskip("moto")
    pytest.importorskip("s3fs")
    server = S3()
    server.start()
    yield server
    server.stop()


@dataclass
class CountingServer:
    """A server on this machine that serves one file and remembers what was asked for."""

    url: str
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def counting_server(numbered_mp4: Path) -> Iterator[CountingServer]:
    asked: list[str] = []
    data = numbered_mp4.read_bytes()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the library's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield CountingServer(f"http://127.0.0.1:{server.server_address[1]}/video.mp4", asked)
    server.shutdown()
    server.server_close()
    thread.join()
