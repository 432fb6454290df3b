"""Whole copies of remote files, for what cannot read in ranges. Bounded: the copies that were used least recently go.

`$VIDLABEL_CACHE` says where (default `~/.cache/vidlabel/remote`), `$VIDLABEL_CACHE_GB` how much (default 20). Several
processes may use it at once: a copy is whole or absent, and one that is open stays readable when it goes.
"""

from __future__ import annotations

import errno
import io
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vidlabel.atomic import whole_file
from vidlabel.data import stable_id
from vidlabel.errors import InputError
from vidlabel.remote import copy_to, is_url, name_of, remote_info

logger = logging.getLogger(__name__)

DEFAULT_GB = 20.0
_MOST_TRIES = 5


def open_copy(url: str) -> io.FileIO:
    """A local copy of the file as it is now, open for reading: it stays readable whatever becomes of the cache."""
    for _ in range(_MOST_TRIES):
        try:
            return io.FileIO(_copy_of(url), "rb")
        except FileNotFoundError:
            remote_info(url)  # it was this that is not there, or else other processes needed the room at once
    raise OSError(errno.ENOSPC, f"{url}: no room in the cache; raise VIDLABEL_CACHE_GB")


def local_file(location: str) -> Path:
    """A small file, such as subtitles or a manifest: where it is, or a copy of it."""
    return _copy_of(location) if is_url(location) else Path(location)


def _copy_of(url: str) -> Path:
    info = remote_info(url)
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    copy = folder / f"{stable_id(url, info.version, str(info.num_bytes))}{Path(name_of(url)).suffix[:8]}"
    with _alone(copy):  # or two workers would fetch one file twice
        if not copy.exists():
            make_room(folder, info.num_bytes or 0)
            with whole_file(copy) as beside:
                copy_to(url, str(beside))
            make_room(folder, 0, keep=copy)  # a server may not say how long its files are
        os.utime(copy)
    return copy


def make_room(folder: Path, num_bytes: int, *, keep: Path | None = None) -> None:
    """Removes the copies used least recently until so many bytes more would fit."""
    limit = cache_bytes()
    copies = []
    for entry in os.scandir(folder):
        if entry.is_file() and not entry.name.endswith(".lock"):
            status = entry.stat()
            copies.append((status.st_mtime, status.st_size, Path(entry.path)))
    total = sum(size for _, size, _ in copies)
    for _, size, path in sorted(copies):
        if total + num_bytes <= limit:
            return
        if path != keep:
            path.unlink(missing_ok=True)
            path.with_name(path.name + ".lock").unlink(missing_ok=True)
            total -= size
    if total + num_bytes > limit:
        logger.warning(
            "a remote file of %.1f GB is larger than the cache (VIDLABEL_CACHE_GB)", (total + num_bytes) / 1e9
        )


def cache_folder() -> Path:
    home = os.environ.get("VIDLABEL_CACHE")
    return Path(home) if home else Path.home() / ".cache" / "vidlabel" / "remote"


def cache_bytes() -> int:
    text = os.environ.get("VIDLABEL_CACHE_GB", str(DEFAULT_GB))
    try:
        gigabytes = float(text)
    except ValueError:
        gigabytes = -1.0
    if not gigabytes > 0:
        raise InputError(f"VIDLABEL_CACHE_GB={text}: must be a number of gigabytes above 0")
    return int(gigabytes * 1e9)


@contextmanager
def _alone(copy: Path) -> Iterator[None]:
    """One process at a time; a process that is killed lets go."""
    try:
        import fcntl
    except ImportError:  # not on Linux: a file may be fetched twice, which costs time only
        yield
        return
    with copy.with_name(copy.name + ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
