"""What `vidlabel review` serves: the page, the labels' own videos below the root and contact sheets, to whoever has the
token. It takes decisions, and writes nothing but the file of reviews.
"""

from __future__ import annotations

import io
import json
import logging
import mimetypes
import re
import socket
import threading
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

from vidlabel.decoders.safety import open_regular
from vidlabel.errors import VideoError
from vidlabel.report.content import PageClip
from vidlabel.report.html import packed, page
from vidlabel.report.report import Content, gallery_block, reviews_block
from vidlabel.report.requests import byte_range, is_own_host, is_same_origin, is_token, token_in
from vidlabel.report.served_sheets import ServedSheets
from vidlabel.tables.reviews import ReviewLog

logger = logging.getLogger(__name__)

_MAX_BODY = 1 << 20
_IDLE_SECONDS = 60.0
_CHUNK_BYTES = 1 << 18
_CLIP = re.compile(r"/(video|sheet)/(\d{1,9})", re.ASCII)
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class RefusedError(Exception):
    """A request that is answered with a status and one line."""

    def __init__(self, status: HTTPStatus, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why


class Site:
    """What is served. Handlers of many threads use it."""

    def __init__(self, content: Content, log: ReviewLog, sheets: ServedSheets, *, token: str, host: str) -> None:
        self.token, self.host = token, host
        self._content, self._log, self._sheets = content, log, sheets
        self._lock = threading.Lock()
        self._is_open = True
        self._clips = content.rows.clips
        self._label_ids = {one for one in content.rows.values["label_id"] if one}
        query = f"?token={token}"
        videos = [None if clip.video is None else f"video/{at}{query}" for at, clip in enumerate(self._clips)]
        review = {"query": query, "total": len(self._label_ids)}
        self._blocks = {
            "summary": packed(content.summary | {"review": review}),
            "gallery": packed(gallery_block(content, videos)),
        }

    def page(self) -> bytes:
        """As decided so far."""
        with self._lock:
            reviews = packed(reviews_block(self._log.reviews))
        return "".join(page(self._content.title, self._blocks | {"reviews": reviews}, is_served=True)).encode()

    def video(self, number: int) -> tuple[io.RawIOBase, str]:
        """The file of a clip, open, and its type. Nothing outside of the root, wherever labels and links point."""
        place = self._place(number)
        kind = mimetypes.guess_type(place.name)[0] or ""
        try:
            return open_regular(str(place)), kind if kind.startswith("video/") else "application/octet-stream"
        except VideoError as error:
            raise RefusedError(HTTPStatus.NOT_FOUND, error.reason) from error

    def sheet(self, number: int) -> bytes:
        self._place(number)
        strip = self._content.strip_of(self._clips[number])
        assert strip is not None
        sheet = self._sheets.get(strip)
        if isinstance(sheet, VideoError):
            raise RefusedError(HTTPStatus.NOT_FOUND, sheet.reason)
        return sheet

    def decide(self, asked: Any) -> None:
        """On disk when this returns."""
        label_id = asked.get("label_id") if isinstance(asked, dict) else None
        if not isinstance(label_id, str) or label_id not in self._label_ids:
            raise RefusedError(HTTPStatus.NOT_FOUND, f"no label {label_id!r:.80} on this page")
        decision, text = asked.get("decision"), asked.get("text")
        if text is not None and not isinstance(text, str):
            raise RefusedError(HTTPStatus.BAD_REQUEST, "text is a text or null")
        with self._lock:
            if not self._is_open:
                raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "the review has ended")
            try:
                if decision is None:
                    self._log.withdraw(label_id)
                else:
                    self._log.decide(label_id, decision, text)
            except ValueError as error:
                raise RefusedError(HTTPStatus.BAD_REQUEST, str(error)) from error
            except OSError as error:
                raise RefusedError(HTTPStatus.INSUFFICIENT_STORAGE, str(error)) from error

    def close(self) -> None:
        """No decision is taken any more."""
        with self._lock:
            self._is_open = False

    def _place(self, number: int) -> Path:
        clip: PageClip | None = self._clips[number] if number < len(self._clips) else None
        place = None if clip is None else self._content.location_of(clip)
        if place is None:
            raise RefusedError(HTTPStatus.NOT_FOUND, "no such clip, or its labels do not name its video")
        root = self._content.root
        try:
            real = place.resolve(strict=True)
        except (OSError, ValueError, RuntimeError):
            raise RefusedError(HTTPStatus.NOT_FOUND, f"{place} is not there; --root is {root}") from None
        if not real.is_relative_to(root.resolve()):
            raise RefusedError(HTTPStatus.FORBIDDEN, f"{place} is outside of --root {root}")
        return real


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    timeout: ClassVar[float] = _IDLE_SECONDS

    def __init__(self, site: Site, *args: Any) -> None:
        self._site = site
        super().__init__(*args)

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_HEAD(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def version_string(self) -> str:
        return "vidlabel"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the library's name
        logger.debug(format, *args)

    def _answer(self, action: Callable[[str], None]) -> None:
        try:
            path = self._checked_path()
            action(path)
        except RefusedError as refused:
            self.close_connection = True  # what the request still holds was not read
            self._send(refused.why.encode("utf-8", "replace"), "text/plain; charset=utf-8", refused.status)
        except (ConnectionError, TimeoutError):
            self.close_connection = True  # a player that has seen enough hangs up

    def _checked_path(self) -> str:
        if not is_own_host(self.headers.get("Host"), bound=self._site.host):
            raise RefusedError(HTTPStatus.MISDIRECTED_REQUEST, "this server goes by another name")
        if not is_token(token_in(self.path), self._site.token):
            raise RefusedError(
                HTTPStatus.FORBIDDEN, "the token is missing or wrong; open the address that vidlabel printed"
            )
        return self.path.split("?")[0]

    def _get(self, path: str) -> None:
        found = _CLIP.fullmatch(path)
        if path == "/":
            self._send(self._site.page(), "text/html; charset=utf-8")
        elif found is None:
            raise RefusedError(HTTPStatus.NOT_FOUND, "there is nothing by that name")
        elif found[1] == "sheet":
            self._send(self._site.sheet(int(found[2])), "image/webp")
        else:
            file, kind = self._site.video(int(found[2]))
            with file:
                self._send_file(file, kind)

    def _post(self, path: str) -> None:
        if path != "/review":
            raise RefusedError(HTTPStatus.NOT_FOUND, "decisions go to /review")
        if not is_same_origin(self.headers.get("Origin"), self.headers.get("Host")):
            raise RefusedError(HTTPStatus.FORBIDDEN, "another page asked for this")
        if self.headers.get_content_type() != "application/json":
            raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "a decision is application/json")
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > _MAX_BODY:
            raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a decision has at most {_MAX_BODY} bytes")
        try:
            asked = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError) as error:
            raise RefusedError(HTTPStatus.BAD_REQUEST, "not JSON") from error
        self._site.decide(asked)
        self._send(b"{}", "application/json")

    def _send_file(self, file: io.RawIOBase, kind: str) -> None:
        size = file.seek(0, io.SEEK_END)
        try:
            part = byte_range(self.headers.get("Range"), size)
        except ValueError as error:
            self._send(str(error).encode(), "text/plain; charset=utf-8", HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
                       {"Content-Range": f"bytes */{size}"})  # fmt: skip
            return
        start, end = part or (0, size)
        more = {"Accept-Ranges": "bytes"}
        if part is not None:
            more["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        self._head(HTTPStatus.OK if part is None else HTTPStatus.PARTIAL_CONTENT, kind, end - start, more)
        if self.command != "HEAD":
            file.seek(start)
            left = end - start
            while left and (data := file.read(min(left, _CHUNK_BYTES))):
                self.wfile.write(data)
                left -= len(data)
            self.close_connection |= left > 0  # the file has become shorter than was promised

    def _send(
        self, body: bytes, kind: str, status: HTTPStatus = HTTPStatus.OK, more: dict[str, str] | None = None
    ) -> None:
        self._head(status, kind, len(body), more or {})
        if self.command != "HEAD":
            self.wfile.write(body)

    def _head(self, status: HTTPStatus, kind: str, length: int, more: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**_HEADERS, "Content-Type": kind, "Content-Length": str(length), **more}.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()


class ReviewServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, site: Site, port: int) -> None:
        self.address_family = socket.AF_INET6 if ":" in site.host else socket.AF_INET
        super().__init__((site.host, port), partial(Handler, site))

    def handle_error(self, request: Any, client_address: Any) -> None:
        logger.exception("a request of the review page failed")
