"""One run per output: an flock on a file in the work folder. The kernel lets go when the run ends, however it ends."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from vidlabel.errors import InputError, LockedError

_NAME = "lock"


@contextmanager
def locked(work: Path, *, wait_seconds: float = 0.0) -> Iterator[None]:
    """Holds the lock of the work folder, making the folder if needed; one without any work is removed at the end.

    Another holder raises LockedError, at once or after `wait_seconds`.
    """
    descriptor = _acquire_within(work, wait_seconds)
    try:
        yield
    finally:
        _release(work, descriptor)


def _acquire_within(work: Path, wait_seconds: float) -> int:
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            return _acquire(work)
        except LockedError:
            if time.monotonic() >= deadline:
                raise
        time.sleep(0.05)


def _acquire(work: Path) -> int:
    path = work / _NAME
    for _ in range(100):
        try:
            work.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):  # not exist_ok, which fails if the folder is removed just then
                work.mkdir()
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except FileNotFoundError:
            continue  # the last holder removed the folder between the two calls
        except OSError as error:
            raise InputError(f"{work} cannot be written ({error.strerror})") from error
        try:
            _flock(path, descriptor)
            if _is_still(path, descriptor):
                _sign(path, descriptor)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # what we hold was removed by its last holder: try the new one
    raise InputError(f"{path} cannot be made")


def _sign(path: Path, descriptor: int) -> None:
    # a decode worker that outlives a killed run must not keep the lock, so forked children let go of their copy
    os.register_at_fork(after_in_child=lambda: _close_copy(descriptor, path))
    holder = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(holder).encode() + b"\n", 0)


def _release(work: Path, descriptor: int) -> None:
    """Removes the lock file only while holding it and only with the folder, then lets go."""
    try:
        names = {entry.name for entry in work.iterdir()}
        if names <= {_NAME, "run.json"}:
            for name in sorted(names, reverse=True):  # the lock last
                (work / name).unlink()
            with suppress(OSError):  # another run may have made its own lock in it already
                work.rmdir()
    except FileNotFoundError:
        pass  # the folder was removed by hand: nothing is left to tidy
    finally:
        os.close(descriptor)


def _flock(path: Path, descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise LockedError(f"another run {_holder(path)}holds {path.parent}; wait until it ends") from error
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        raise InputError(f"the file system of {path} has no locks; use another one") from error


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _holder(path: Path) -> str:
    try:
        who = json.loads(path.read_text(encoding="utf-8"))
        return f"(process {who['pid']} on {who['host']}, since {who['since']}) "
    except (OSError, ValueError, KeyError, TypeError):
        return ""  # it has only just begun, or is ending: who it is was not to be read


def _close_copy(descriptor: int, path: Path) -> None:
    """In a forked child: closes the inherited descriptor, if it is still the lock and not a later file's number."""
    with suppress(OSError):
        if _is_still(path, descriptor):
            os.close(descriptor)
