"""A real S3 server and a real web server on this machine, for tests of remote files."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest


@dataclass
class WebServer:
    """Files by path, and what goes wrong with them."""

    files: dict[str, bytes] = field(default_factory=dict)
    with_ranges: bool = True
    seconds: float = 0.0  # before each reply
    resets: dict[str, int] = field(default_factory=dict)  # so many replies break off in their midst
    statuses: dict[str, list[int]] = field(default_factory=dict)  # answered one after the other, then the file
    num_heads: Counter[str] = field(default_factory=Counter)
    num_bytes: Counter[str] = field(default_factory=Counter)  # that were sent
    url: str = ""


@contextmanager
def web_server() -> Iterator[WebServer]:
    state = WebServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            state.num_heads[self.path] += 1
            self.answer(head=True)

        def do_GET(self) -> None:
            self.answer(head=False)

        def answer(self, *, head: bool) -> None:
            time.sleep(state.seconds)
            path = self.path.partition("?")[0]
            if statuses := state.statuses.get(path):
                return self.reply(statuses.pop(0), {}, b"", head=head)
            data = state.files.get(path)
            if data is None:
                return self.reply(404, {}, b"", head=head)
            headers = {"ETag": f'"{hash(data)}"'}
            if not state.with_ranges:
                return self.reply(200, headers, data, head=head)
            headers["Accept-Ranges"] = "bytes"
            asked = self.headers.get("Range")
            if asked is None:
                return self.reply(200, headers, data, head=head)
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, stop = int(first), min(int(last or len(data)) + 1, len(data))
            if start >= len(data):
                return self.reply(416, {"Content-Range": f"bytes */{len(data)}"}, b"", head=head)
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
            return self.reply(206, headers, data[start:stop], head=head)

        def reply(self, status: int, headers: dict[str, str], body: bytes, *, head: bool) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            path = self.path.partition("?")[0]
            if not head and body and state.resets.get(path, 0) > 0:
                state.resets[path] -= 1
                body = body[: len(body) // 2]
                self.close_connection = True
            if not head:
                self.wfile.write(body)
                state.num_bytes[path] += len(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True  # connections are kept alive; nobody waits for them
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class S3:
    """A server that can go away and come back with all that it has."""

    port: int = 0
    server: Any = None

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test-secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_MAX_ATTEMPTS": "1",  # what is tried again is tried by us
        }

    def start(self) -> None:
        from moto.server import ThreadedMotoServer

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self.server = ThreadedMotoServer(ip_address="127.0.0.1", port=self.port, verbose=False)
        self.server.start()
        self.port = self.server.get_host_and_port()[1]

    def stop(self) -> None:
        self.server.stop()

    def check_credentials(self, check: bool) -> None:
        """Whether it refuses who is not known to it, which is everybody."""
        address = f"http://127.0.0.1:{self.port}/moto-api/reset-auth"
        headers = {"Content-Type": "text/plain"}
        with urlopen(Request(address, b"0" if check else b"inf", headers, method="POST")):
            pass

    @contextmanager
    def bucket(self, name: str) -> Iterator[Any]:
        """Empty, found through the environment as a user's would be; gives the file system."""
        import fsspec

        with environment(self.environment):
            files = fsspec.filesystem("s3", use_listings_cache=False)
            if files.exists(name):
                files.rm(name, recursive=True)
            files.mkdir(name)
            yield files


@contextmanager
def google_server(bucket: str) -> Iterator[Any]:
    """Google's storage, with one empty bucket, in the memory of this process; gives the file system."""
    pytest.importorskip("gcsfs")
    emulator = pytest.importorskip("gcp_storage_emulator.server")
    from vidlabel.remote import filesystem

    server = emulator.create_server("127.0.0.1", 0, in_memory=True, default_bucket=bucket)
    server.start()
    host, port = server._api._httpd.server_address
    try:
        with environment({"STORAGE_EMULATOR_HOST": f"http://{host}:{port}"}):
            filesystem("gs://").clear_instance_cache()  # one of an earlier test has its address
            yield filesystem("gs://")
    finally:
        server.stop()


@contextmanager
def environment(settings: dict[str, str]) -> Iterator[None]:
    """These variables for this process and those that it starts."""
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def cache_in(folder: Path, gigabytes: float = 1.0) -> Iterator[Path]:
    with environment({"VIDLABEL_CACHE": str(folder), "VIDLABEL_CACHE_GB": str(gigabytes)}):
        yield folder
