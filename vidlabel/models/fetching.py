"""One file over HTTP: resumed where it broke off, tried again when the server stumbles, checked before it has its name.

While it comes it is `NAME.part`, with the server's tag of it in `NAME.part.etag`: a file that changed on the server is
fetched from the start. A token goes to the host it is meant for and not to where that host redirects.
"""

from __future__ import annotations

import hashlib
import http.client
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from functools import lru_cache
from pathlib import Path
from typing import IO, cast
from urllib.parse import urljoin, urlsplit

import vidlabel
from vidlabel.errors import InputError

Report = Callable[[int, int | None], None]  # bytes here, bytes in all where known

_CHUNK_BYTES = 1 << 20
_TIMEOUT_SECONDS = 60.0
_MOST_PAUSE_SECONDS = 60.0
_TRIES_WITHOUT_PROGRESS = 6
_TRIES = 200


@dataclass(frozen=True, slots=True)
class Request:
    """What to fetch and what is known of it."""

    url: str
    token: str | None = None
    sha256: str | None = None
    size: int | None = None
    git_oid: str | None = None  # of small files in a hub repository, which have no sha256 there
    when_denied: str = ""  # what the user can do about a 401 or 403


class _BrokenError(Exception):
    """This try failed; the next may not. `wait_seconds` is what the server asked for."""

    def __init__(self, reason: str, wait_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.wait_seconds = wait_seconds


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Hands redirects back, since their headers count and the token must not follow them."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> None:
        return None


def fetch(request: Request, target: Path, *, report: Report | None = None, pause_seconds: float = 1.0) -> str:
    """Fetches to `target` and returns the file's SHA-256. What fails for good is one line, and what came is kept."""
    part = _part(target)
    without_progress = 0
    for _ in range(_TRIES):
        before = _size(part)
        try:
            linked_sha256 = _receive(request, part, report)
            break
        except _BrokenError as error:
            without_progress = 0 if _size(part) > before else without_progress + 1
            if without_progress >= _TRIES_WITHOUT_PROGRESS:
                raise _given_up(request, error) from error
            _pause(error, pause_seconds * 2**without_progress)
    else:
        raise InputError(f"{request.url}: broke off {_TRIES} times; run the same command again to go on")
    sha256 = _check(request, part, request.sha256 or linked_sha256)
    part.replace(target)
    _tag(part).unlink(missing_ok=True)
    return sha256


def read_json_text(request: Request, *, pause_seconds: float = 1.0) -> str:
    """A small text, for instance the listing of a repository."""
    for number in range(_TRIES_WITHOUT_PROGRESS):
        try:
            response, _ = _open(request, {})
            with response:
                return b"".join(_chunks(response)).decode()
        except _BrokenError as error:
            if number == _TRIES_WITHOUT_PROGRESS - 1:
                raise _given_up(request, error) from error
            _pause(error, pause_seconds * 2**number)
    raise AssertionError("the last try returns or raises")


def num_bytes_here(target: Path) -> int:
    """What an earlier try has left of a file, or the file's size."""
    return max(_size(target), _size(_part(target)))


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def git_oid_of(path: Path) -> str:
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _receive(request: Request, part: Path, report: Report | None) -> str | None:
    """Makes `part` whole, from where it ends. Returns the SHA-256 that a hub names, where it does."""
    start, tag = _size(part), _tag(part).read_text() if _tag(part).exists() else ""
    if start and not tag and not request.sha256:
        part.unlink()  # nothing would tell whether the rest is of the same file
        start = 0
    headers = {"Range": f"bytes={start}-"} if start else {}
    response, linked_sha256 = _open(request, headers | ({"If-Range": tag} if start and tag else {}))
    with response:
        if response.status == 416:  # asked beyond its end: it is whole, or wrong and found out by the check
            if start == _total_of_range(response):
                return linked_sha256
            part.unlink()
            raise _BrokenError("the server has less than what is here; starting over")
        if response.status != 206:
            start = 0
        elif not (response.headers.get("Content-Range") or "").startswith(f"bytes {start}-"):
            part.unlink()
            raise _BrokenError("the server sent another range than asked for; starting over")
        length = response.headers.get("Content-Length")
        total = start + int(length) if length else request.size
        etag = response.headers.get("ETag")
        _tag(part).write_text(etag if etag and not etag.startswith("W/") else "")
        with part.open("ab" if start else "wb") as file:
            for chunk in _chunks(response):
                file.write(chunk)
                start += len(chunk)
                if report:
                    report(start, total)
    if total is not None and start < total:
        raise _BrokenError(f"the connection ended after {start} of {total} bytes")
    return linked_sha256


def _pause(error: _BrokenError, seconds: float) -> None:
    time.sleep(min(seconds if error.wait_seconds is None else error.wait_seconds, _MOST_PAUSE_SECONDS))


def _chunks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    while True:
        try:
            chunk = response.read(_CHUNK_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise _BrokenError(f"the connection broke ({error!r})") from error
        if not chunk:
            return
        yield chunk


@lru_cache(maxsize=1)  # reads all certificates
def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_NoRedirect)


def _open(request: Request, headers: Mapping[str, str]) -> tuple[http.client.HTTPResponse, str | None]:
    """The response at the end of all redirects (200, 206 or 416), and the SHA-256 a hub names on the way."""
    url, linked_sha256 = request.url, None
    for _ in range(10):
        asked = urllib.request.Request(url, headers={"User-Agent": f"vidlabel/{vidlabel.__version__}", **headers})
        asked.add_header("Accept-Encoding", "identity")
        if request.token and urlsplit(url)[:2] == urlsplit(request.url)[:2]:
            asked.add_header("Authorization", f"Bearer {request.token}")
        try:
            response = cast(http.client.HTTPResponse, _opener().open(asked, timeout=_TIMEOUT_SECONDS))
        except urllib.error.HTTPError as error:
            response = cast(http.client.HTTPResponse, error)  # it is one, in all that is used of it
        except (OSError, http.client.HTTPException) as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            raise _BrokenError(f"{urlsplit(url).netloc} cannot be reached ({reason})") from error
        linked = (response.headers.get("X-Linked-Etag") or "").strip('"')
        linked_sha256 = linked_sha256 or (linked if re.fullmatch("[0-9a-f]{64}", linked) else None)
        if response.status in (200, 206, 416):
            return response, linked_sha256
        with response:
            _raise_for_status(request, url, response)
        url = urljoin(url, response.headers["Location"])
        if urlsplit(url).scheme not in ("http", "https"):
            raise InputError(f"{request.url}: redirects to {url}, which is neither http nor https")
    raise InputError(f"{request.url}: redirected too often")


def _raise_for_status(request: Request, url: str, response: http.client.HTTPResponse) -> None:
    """Nothing for a redirect."""
    status = response.status
    if status in (401, 403):
        raise InputError(f"{url}: access denied ({status}); {request.when_denied or 'it is not public'}")
    if status == 429 or status >= 500:
        wait = response.headers.get("Retry-After") or ""
        raise _BrokenError(f"the server says {status}", float(wait) if wait.isdecimal() else None)
    if not 300 <= status < 400 or not response.headers.get("Location"):
        raise InputError(f"{url}: the server says {status}; is the address, or the mirror's, right?")


def _check(request: Request, part: Path, sha256: str | None) -> str:
    """A file that is not the one meant is removed: going on from it could never get it right."""
    found = sha256_of(part)
    problem = ""
    if request.size is not None and _size(part) != request.size:
        problem = f"{_size(part)} bytes instead of {request.size}"
    elif sha256 and found != sha256:
        problem = f"SHA-256 {found} instead of {sha256}"
    elif request.git_oid and git_oid_of(part) != request.git_oid:
        problem = f"git object {git_oid_of(part)} instead of {request.git_oid}"
    if problem:
        part.unlink()
        _tag(part).unlink(missing_ok=True)
        raise InputError(f"{request.url}: got {problem}; it was deleted, try again or another --mirror")
    return found


def _given_up(request: Request, error: _BrokenError) -> InputError:
    return InputError(
        f"{request.url}: {error}; what came so far is kept, run the same command again to go on, or try a --mirror"
    )


def _total_of_range(response: http.client.HTTPResponse) -> int | None:
    """Of 'bytes */1234'."""
    total = (response.headers.get("Content-Range") or "").rpartition("/")[2]
    return int(total) if total.isdecimal() else None


def _part(target: Path) -> Path:
    return target.with_name(target.name + ".part")


def _tag(part: Path) -> Path:
    return part.with_name(part.name + ".etag")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
