"""Files on object stores and web servers, by URL: what may be read, listing, and a file that is read in ranges.

Nothing is fetched that the user's inputs do not name. Credentials come from the environment, never from a URL.
"""

from __future__ import annotations

import errno
import importlib.util
import logging
import os
import posixpath
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from vidlabel.errors import InputError

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
# what changes when a file does, as stores call it
_VERSIONS = ("generation", "ETag", "etag", "oid", "blob_id", "xet_hash", "updated", "LastModified")
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_CONNECT_SECONDS, _READ_SECONDS = 20, 60
_PAUSES_SECONDS = (0.3, 1.0, 3.0)  # between tries of one request


def is_url(text: str) -> bool:
    return _URL.match(text) is not None


def is_web(url: str) -> bool:
    """A web server has no folders to list."""
    return url.lower().startswith(("http://", "https://"))


def is_hub(url: str) -> bool:
    return url.lower().startswith("hf://")


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
        found = _hub_info(url) if is_hub(url) else filesystem(url).info(store_path(url))
        version = next((str(found[key]) for key in _VERSIONS if found.get(key)), "")
        return RemoteInfo(found.get("size"), version)

    return tried(url, ask)


def recent_info(url: str) -> RemoteInfo:
    """As `remote_info`, but asked at most once a minute: a file is opened again for each of its clips."""
    return _info_of_minute(url, int(time.monotonic() // 60))


@lru_cache(maxsize=64)
def _info_of_minute(url: str, minute: int) -> RemoteInfo:
    return remote_info(url)


def forget_info() -> None:
    """After a file was found to be another one than it was said to be."""
    _info_of_minute.cache_clear()


@lru_cache(maxsize=64)  # a file is opened several times: for its facts, its scenes, each of its clips
def reads_in_ranges(url: str, info: RemoteInfo) -> bool:
    """Whether parts of the file can be asked for. A web server is tried with its second byte."""
    if info.num_bytes is None or not is_web(url):
        return info.num_bytes is not None

    def ask() -> bool:
        with filesystem(url).open(store_path(url), size=info.num_bytes, cache_type="none") as file:
            try:
                return len(file._fetch_range(1, 2)) == 1
            except ValueError:  # it sends the whole file
                return False

    return info.num_bytes > 1 and tried(url, ask)


def read_range(url: str, start: int, stop: int) -> bytes:
    """Bytes [start, stop) of a file, or less at its end."""

    def ask() -> bytes:
        files, path = filesystem(url), store_path(url)
        if not is_hub(url):
            return bytes(files.cat_file(path, start=start, end=stop))
        with files.open(path, size=stop, cache_type="none") as file:  # else it lists the folder to learn the size,
            return bytes(file._fetch_range(start, stop))  # and reads megabytes ahead

    return tried(url, ask)


def copy_to(url: str, target: str) -> None:
    """The whole file; a half of it may be left at `target` where that fails."""
    tried(url, lambda: filesystem(url).get_file(store_path(url), target))


def exists(url: str) -> bool:
    try:
        remote_info(url)
    except FileNotFoundError:
        return False
    return True


def is_folder(url: str) -> bool:
    return not is_web(url) and bool(tried(url, lambda: filesystem(url).isdir(store_path(url))))


def list_files(url: str) -> Iterator[str]:
    """Every file below a folder, as URLs, sorted."""
    scheme = url.partition("://")[0]
    for path in sorted(tried(url, lambda: _unremembered(url).find(store_path(url)))):
        yield f"{scheme}://{path}"


def names_beside(url: str) -> list[str]:
    """The names of files in the same folder of a store that begin like this one's up to its extension."""
    folder, _, name = store_path(url).rpartition("/")
    start = f"{name.rpartition('.')[0]}."

    def ask() -> list[str]:
        if is_hub(url):  # lists whole folders only; its file system remembers them
            return list(filesystem(url).ls(folder, detail=False))
        return list(filesystem(url).find(folder, prefix=start))

    names = (path.removeprefix(f"{folder}/") for path in tried(url, ask))
    return sorted(name for name in names if name.startswith(start) and "/" not in name)


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


def filesystem(url: str) -> Any:
    import fsspec

    scheme = urlsplit(url).scheme.lower()
    options: dict[str, Any] = {"use_listings_cache": False}
    if is_web(url):
        import aiohttp

        limits = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=_READ_SECONDS)
        options["client_kwargs"] = {"timeout": limits}
    elif scheme == "gs":
        # what is still an experiment there asks for each bucket's kind by another protocol, with credentials of its own
        os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
        logging.getLogger("gcsfs").setLevel(logging.CRITICAL)  # what it logs it raises too
    elif scheme == "s3":
        options["config_kwargs"] = {"connect_timeout": _CONNECT_SECONDS, "read_timeout": _READ_SECONDS}
    return fsspec.filesystem(scheme, **options)


def _unremembered(url: str) -> Any:
    files = filesystem(url)
    files.invalidate_cache()  # the hub's file system remembers listings, whatever it is told
    return files


def _hub_info(url: str) -> dict[str, Any]:
    """Of one file: its file system would list the whole folder, and remember that."""
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    files = filesystem(url)
    place = files.resolve_path(store_path(url))
    if not hasattr(place, "repo_id"):  # a bucket, which has no revisions
        return dict(files.info(store_path(url), refresh=True))
    asked = {"repo_type": place.repo_type, "revision": place.revision}
    found = HfApi().get_paths_info(place.repo_id, place.path_in_repo, **asked)
    if not found:
        raise FileNotFoundError(errno.ENOENT, "no such file", url)
    return {"size": found[0].size, "oid": found[0].blob_id} if isinstance(found[0], RepoFile) else {}


def store_path(url: str) -> str:
    """A web server's files are named by the whole URL, a store's by bucket and key."""
    return url if is_web(url) else url.partition("://")[2]


def tried(url: str, ask: Callable[[], Result]) -> Result:
    """Asks again where a store or the way to it may have been at fault."""
    for pause in (*_PAUSES_SECONDS, None):
        try:
            return ask()
        except Exception as error:  # every store has error classes of its own, few of them OSErrors
            cause = _cause(error)
            reason = str(cause).splitlines()[0] if str(cause) else type(cause).__name__
            status = _status(cause)
            if status in (404, 410):
                what = "no such bucket" if "NoSuchBucket" in reason else "no such file"
                raise FileNotFoundError(errno.ENOENT, what, url) from error
            if isinstance(cause, FileNotFoundError | FileExistsError | PermissionError | IsADirectoryError):
                raise cause from error
            if status in (401, 403):
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


def _status(error: Exception) -> int | None:
    """What a server answered, wherever a store's package keeps it."""
    answer: Any = getattr(error, "response", None)
    if isinstance(answer, dict):
        found = answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
    else:
        found = getattr(error, "status", None) or getattr(answer, "status_code", None) or getattr(error, "code", None)
    if found is None and str(error).startswith("Forbidden"):
        return 403  # gcsfs
    return int(found) if str(found).isdecimal() else None
