"""Files on object stores and web servers, by URL: what may be read, listing, and a file that is read in ranges.

Nothing is fetched that the user's inputs do not name. Credentials come from the environment, never from a URL.
"""

from __future__ import annotations

import errno
import importlib.util
import io
import logging
import os
import posixpath
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from vidlabel.errors import InputError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

logger = logging.getLogger(__name__)
Result = TypeVar("Result")

# scheme -> the module that speaks it, and the extra that installs it
SCHEMES = {
    "s3": ("s3fs", "s3"),
    "gs": ("gcsfs", "gcs"),
    "hf": ("huggingface_hub", ""),
    "http": ("aiohttp", "http"),
    "https": ("aiohttp", "http"),
}
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_BLOCK_BYTES, _NUM_BLOCKS = 2 << 20, 8  # kept of one open file
_BLOCKS_PER_LOOK = 8  # read between two looks at whether it is still the same file
_CONNECT_SECONDS, _READ_SECONDS = 20, 60
_PAUSES_SECONDS = (0.3, 1.0, 3.0)  # between tries of one request


def is_url(text: str) -> bool:
    return _URL.match(text) is not None


def is_web(url: str) -> bool:
    """A web server has no folders to list."""
    return url.lower().startswith(("http://", "https://"))


def check_url(url: str) -> None:
    """InputError where this URL cannot be read: an unknown scheme, a missing package, a password in it."""
    parts = urlsplit(url)
    known = SCHEMES.get(parts.scheme.lower())
    if known is None:
        raise InputError(f"{url}: only {', '.join(f'{scheme}://' for scheme in SCHEMES)} and local files can be read")
    if parts.username is not None or parts.password is not None:
        raise InputError(
            f"{parts.scheme}://...@{parts.hostname}: credentials come from the environment, not from a URL"
        )
    if not parts.netloc or "\0" in url:
        raise InputError(f"{url!r}: not a URL of a file or folder")
    module, extra = known
    if importlib.util.find_spec(module) is None:
        raise InputError(f"{url}: needs {module}: pip install 'vidlabel[{extra}]'")


def join_url(base: str, path: str) -> str:
    """`path` below the folder `base`, without `..`; a `path` from the root of its bucket or server stays there."""
    scheme, _, rest = base.partition("://")
    server, _, folder = rest.partition("/")
    joined = posixpath.normpath(posixpath.join("/" + folder, path))
    return f"{scheme}://{server}{joined}"


def parent_url(url: str) -> str:
    return url.split("?")[0].rsplit("/", 1)[0]


def name_of(url: str) -> str:
    """The file's name, without what a web server is told behind a question mark."""
    return (urlsplit(url).path if is_web(url) else url).rsplit("/", 1)[-1]


@dataclass(frozen=True, slots=True)
class RemoteInfo:
    """What a store says of a file."""

    num_bytes: int | None  # None: the server does not say
    version: str  # changes when the file does, where the store tells; may be empty


def remote_info(url: str) -> RemoteInfo:
    """OSError (FileNotFoundError where it is not there) after a few tries."""

    def ask() -> RemoteInfo:
        found = _filesystem(url).info(_path(url))
        version = next(
            (str(found[key]) for key in ("ETag", "etag", "oid", "updated", "LastModified") if key in found), ""
        )
        return RemoteInfo(found.get("size"), version)

    return _tried(url, ask)


@lru_cache(maxsize=64)  # a file is opened several times: for its facts, its scenes, each of its clips
def reads_in_ranges(url: str, info: RemoteInfo) -> bool:
    """Whether parts of the file can be asked for. A web server is tried with its second byte."""
    if info.num_bytes is None or not is_web(url):
        return info.num_bytes is not None

    def ask() -> bool:
        with _filesystem(url).open(_path(url), size=info.num_bytes, cache_type="none") as file:
            try:
                return len(file._fetch_range(1, 2)) == 1
            except ValueError:  # it sends the whole file
                return False

    return info.num_bytes > 1 and _tried(url, ask)


def read_range(url: str, start: int, stop: int) -> bytes:
    """Bytes [start, stop) of a file, or less at its end."""
    return _tried(url, lambda: bytes(_filesystem(url).cat_file(_path(url), start=start, end=stop)))


def copy_to(url: str, target: str) -> None:
    """The whole file; a half of it may be left at `target` where that fails."""
    _tried(url, lambda: _filesystem(url).get_file(_path(url), target))


def exists(url: str) -> bool:
    try:
        remote_info(url)
    except FileNotFoundError:
        return False
    return True


def is_folder(url: str) -> bool:
    return not is_web(url) and bool(_tried(url, lambda: _filesystem(url).isdir(_path(url))))


def list_files(url: str) -> Iterator[str]:
    """Every file below a folder, as URLs, sorted."""
    scheme = url.partition("://")[0]
    for path in sorted(_tried(url, lambda: _filesystem(url).find(_path(url)))):
        yield f"{scheme}://{path}"


def known_version(location: str) -> str | None:
    """What a file is now, as far as it can be told without asking a store: of a local one size and time, of a URL
    nothing. None where there is no such file."""
    if is_url(location):
        return ""
    try:
        status = Path(location).stat()
    except OSError:
        return None
    return f"{status.st_size} {status.st_mtime_ns}"


class RemoteFile(io.RawIOBase):
    """A file that is read as it is asked for, in blocks of which the last few are kept. Seekable.

    A connection that breaks is made again; a file that is another one than when it was opened is an OSError.
    """

    def __init__(self, url: str, info: RemoteInfo) -> None:
        if info.num_bytes is None:
            raise ValueError(f"a file of unknown length is not read in ranges, got {url = }")
        self.url, self._num_bytes = url, info.num_bytes
        self._info, self._position, self._num_read = info, 0, 0
        self._blocks: dict[int, bytes] = {}

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._num_bytes}[whence]
        if start + offset < 0:
            raise OSError(errno.EINVAL, "before the beginning of the file")
        self._position = start + offset
        return self._position

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        number, offset = divmod(self._position, _BLOCK_BYTES)
        part = b"" if self._position >= self._num_bytes else self._block(number)[offset : offset + len(view)]
        view[: len(part)] = part
        self._position += len(part)
        return len(part)

    def _block(self, number: int) -> bytes:
        block = self._blocks.pop(number, None)
        if block is None:
            start = number * _BLOCK_BYTES
            stop = min(start + _BLOCK_BYTES, self._num_bytes)
            block = read_range(self.url, start, stop)
            if len(block) != stop - start:
                raise OSError(errno.EIO, f"{self.url}: {len(block)} bytes came where {stop - start} were to be read")
            self._num_read += 1
            if self._num_read % _BLOCKS_PER_LOOK == 0 and remote_info(self.url).version != self._info.version:
                raise OSError(errno.ESTALE, f"{self.url}: the file was replaced while it was read")
        self._blocks[number] = block  # the latest last
        while len(self._blocks) > _NUM_BLOCKS:
            del self._blocks[next(iter(self._blocks))]
        return block


def _filesystem(url: str) -> Any:
    import fsspec

    scheme = urlsplit(url).scheme.lower()
    options: dict[str, Any] = {"use_listings_cache": False}
    if is_web(url):
        import aiohttp

        limits = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=_READ_SECONDS)
        options["client_kwargs"] = {"timeout": limits}
    elif scheme == "s3":
        options["config_kwargs"] = {"connect_timeout": _CONNECT_SECONDS, "read_timeout": _READ_SECONDS}
    return fsspec.filesystem(scheme, **options)


def _path(url: str) -> str:
    """A web server's files are named by the whole URL, a store's by bucket and key."""
    return url if is_web(url) else url.partition("://")[2]


def _tried(url: str, ask: Callable[[], Result]) -> Result:
    """Asks again where a store or the way to it may have been at fault."""
    for pause in (*_PAUSES_SECONDS, None):
        try:
            return ask()
        except Exception as error:  # every store has error classes of its own, few of them OSErrors
            cause = _cause(error)
            if getattr(cause, "status", None) in (404, 410):
                raise FileNotFoundError(errno.ENOENT, "no such file", url) from error
            if isinstance(cause, FileNotFoundError | PermissionError | IsADirectoryError):
                raise cause from error
            reason = str(cause).splitlines()[0] if str(cause) else type(cause).__name__
            if getattr(cause, "status", None) in (401, 403):
                raise PermissionError(errno.EACCES, f"access denied: {reason}") from error
            if pause is None:
                raise OSError(errno.EIO, f"{url}: {reason}") from error
        logger.debug("%s: tried again after %s", url, reason)
        time.sleep(pause)
    raise AssertionError("the last try returns or raises")


def _cause(error: Exception) -> Exception:
    """fsspec calls whatever goes wrong on the web a file that is not there, and keeps what it really was behind it."""
    behind = error.__cause__
    return behind if isinstance(error, FileNotFoundError) and isinstance(behind, Exception) else error
