"""As much of the hub's web interface as reading a data set repository needs, on this machine."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

REPO = "someone/films"


@dataclass
class Hub:
    """One repository; its files by their paths in it."""

    files: dict[str, bytes] = field(default_factory=dict)
    token: str | None = None  # that must be shown, if any
    asked: Counter[str] = field(default_factory=Counter)
    num_bytes: int = 0  # of files that were sent
    num_commits: int = 0
    may_write: bool = True
    refuses_commits: bool = False
    url: str = ""

    @property
    def head(self) -> str:
        return f"{self.num_commits:040x}"


@contextmanager
def hub_server() -> Iterator[Hub]:
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            _serve(self, hub, b"")

        def do_HEAD(self) -> None:
            _serve(self, hub, b"")

        def do_POST(self) -> None:
            _serve(self, hub, self.rfile.read(int(self.headers["Content-Length"])))

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _serve(handler: BaseHTTPRequestHandler, hub: Hub, body: bytes) -> None:
    path = unquote(urlsplit(handler.path).path)
    api = f"/api/datasets/{REPO}"
    if hub.token is not None and handler.headers.get("Authorization") != f"Bearer {hub.token}":
        return _reply(handler, 401, b"{}", {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})
    if path in (api, f"{api}/revision/main"):
        hub.asked["repo"] += 1
        return _reply(handler, 200, json.dumps({"id": REPO, "sha": hub.head}).encode())
    if path == f"{api}/auth-check/write":
        return _reply(handler, 200 if hub.may_write else 403, b"{}")
    if path == f"{api}/paths-info/main":
        hub.asked["info"] += 1
        wanted = parse_qs(body.decode())["paths"]
        return _reply(handler, 200, json.dumps([_facts(hub, it) for it in wanted if it in hub.files]).encode())
    if path == f"{api}/preupload/main":
        names = [it["path"] for it in json.loads(body)["files"]]
        modes = [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names]
        return _reply(handler, 200, json.dumps({"files": modes}).encode())
    if path == f"{api}/commit/main" and hub.refuses_commits:
        return _reply(handler, 403, b'{"error": "You have no right to write here"}')
    if path == f"{api}/commit/main":
        return _commit(handler, hub, [json.loads(line) for line in body.splitlines()])
    if path.startswith(f"{api}/tree/main"):
        hub.asked["tree"] += 1
        return _tree(handler, hub, path.removeprefix(f"{api}/tree/main").strip("/"))
    name = path.removeprefix(f"/datasets/{REPO}/resolve/main/")
    if name != path and name in hub.files:
        hub.asked["file"] += 1
        return _send(handler, hub, hub.files[name])
    return _reply(handler, 404, b"{}", {"X-Error-Code": "EntryNotFound"})


def _commit(handler: BaseHTTPRequestHandler, hub: Hub, lines: list[dict[str, Any]]) -> None:
    for line in lines:
        value = line["value"]
        if line["key"] == "header" and value.get("parentCommit") != hub.head:
            return _reply(handler, 412, b'{"error": "The provided parent commit is not the head"}')
        if line["key"] == "file":
            hub.files[value["path"]] = base64.b64decode(value["content"])
        elif line["key"] == "deletedFile":
            del hub.files[value["path"]]
    hub.num_commits += 1
    urls = {"commitUrl": f"{hub.url}/datasets/{REPO}/commit/{hub.head}", "commitOid": hub.head}
    return _reply(handler, 200, json.dumps(urls).encode())


def _tree(handler: BaseHTTPRequestHandler, hub: Hub, folder: str) -> None:
    query = parse_qs(urlsplit(handler.path).query)
    prefix = f"{folder}/" if folder else ""
    below = [name for name in sorted(hub.files) if name.startswith(prefix)]
    if not below:
        return _reply(handler, 404, b"{}", {"X-Error-Code": "EntryNotFound"})
    folders = {prefix + name.removeprefix(prefix).split("/")[0] for name in below if "/" in name.removeprefix(prefix)}
    if query.get("recursive", ["false"])[0].lower() == "true":
        folders = {name.rpartition("/")[0] for name in below} - {folder, ""}
    else:
        below = [name for name in below if "/" not in name.removeprefix(prefix)]
    entries = [{"type": "directory", "path": name, "oid": "0" * 40, "size": 0} for name in sorted(folders)]
    return _reply(handler, 200, json.dumps([*entries, *(_facts(hub, name) for name in below)]).encode())


def _facts(hub: Hub, name: str) -> dict[str, object]:
    data = hub.files[name]
    oid = hashlib.sha1(data, usedforsecurity=False).hexdigest()
    return {"type": "file", "path": name, "size": len(data), "oid": oid}


def _send(handler: BaseHTTPRequestHandler, hub: Hub, data: bytes) -> None:
    asked = handler.headers.get("Range")
    if asked is None:
        hub.num_bytes += len(data)
        return _reply(handler, 200, data)
    first, _, last = asked.removeprefix("bytes=").partition("-")
    start, stop = int(first), min(int(last or len(data)) + 1, len(data))
    hub.num_bytes += stop - start
    return _reply(handler, 206, data[start:stop], {"Content-Range": f"bytes {start}-{stop - 1}/{len(data)}"})


def _reply(handler: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
    handler.send_response(status)
    for name, value in (headers or {}).items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(body)
