"""A real HTTP server in a thread that behaves like a hub, on its good and bad days."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class FileServer:
    """Files by path. What a test wants to go wrong it puts into the fields."""

    files: dict[str, bytes] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    linked: dict[str, str] = field(default_factory=dict)  # path -> X-Linked-Etag of its redirect
    statuses: dict[str, list[int]] = field(default_factory=dict)  # answered one after the other, then the file
    cut_after: dict[str, list[int]] = field(default_factory=dict)  # bytes after which the connection ends, likewise
    headers: dict[str, str] = field(default_factory=dict)  # of every response with a status of `statuses`
    with_etag: bool = True
    with_ranges: bool = True
    seen: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    url: str = ""

    def add_repository(self, repo: str, revision: str, files: dict[str, bytes]) -> None:
        """Big files (over 100 bytes) are listed with a SHA-256, small ones with a git object id, as hubs do."""
        listing = []
        for path, data in files.items():
            self.files[f"/{repo}/resolve/{revision}/{path}"] = data
            entry = {"type": "file", "path": path, "size": len(data), "oid": _git_oid(data)}
            if len(data) > 100:
                entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
            listing.append(entry)
        listing.append({"type": "directory", "path": "runs", "size": 0, "oid": "0"})
        self.files[f"/api/models/{repo}/tree/{revision}?recursive=true"] = json.dumps(listing).encode()

    def asked(self, path: str) -> list[dict[str, str]]:
        return [headers for asked_path, headers in self.seen if asked_path == path]


@contextmanager
def file_server() -> Iterator[FileServer]:
    state = FileServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _serve(self, state)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _serve(handler: BaseHTTPRequestHandler, state: FileServer) -> None:
    path = handler.path
    state.seen.append((path, dict(handler.headers.items())))
    if statuses := state.statuses.get(path):
        return _reply(handler, statuses.pop(0), state.headers)
    if path in state.redirects:
        headers = {"Location": state.redirects[path]}
        if path in state.linked:
            headers["X-Linked-Etag"] = f'"{state.linked[path]}"'
        return _reply(handler, 302, headers)
    if path not in state.files:
        return _reply(handler, 404, {})
    return _send(handler, state, state.files[path])


def _send(handler: BaseHTTPRequestHandler, state: FileServer, data: bytes) -> None:
    etag = f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'
    asked = handler.headers.get("Range") if state.with_ranges else None
    if asked and handler.headers.get("If-Range") not in (None, etag):
        asked = None
    start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
    headers = {"ETag": etag} if state.with_etag else {}
    if asked and start >= len(data):
        return _reply(handler, 416, headers | {"Content-Range": f"bytes */{len(data)}"})
    if asked:
        headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
    body = data[start:]
    cuts = state.cut_after.get(handler.path)
    sent = body[: cuts.pop(0)] if cuts else body
    return _reply(handler, 206 if asked else 200, headers, sent, len(body))


def _reply(
    handler: BaseHTTPRequestHandler, status: int, headers: dict[str, str], body: bytes = b"", length: int = 0
) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(length))
    handler.end_headers()
    handler.wfile.write(body)
    handler.close_connection = True


def _git_oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
