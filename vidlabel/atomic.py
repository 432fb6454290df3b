"""Files that are whole or absent: written beside under a hidden name, synced, then put in place with `os.replace`.

A kill leaves at most a hidden `.NAME.tmp`, which dataset readers skip and the next writer of NAME overwrites.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vidlabel.errors import WriteError


@contextmanager
def whole_file(path: Path, *, shared: bool = False) -> Iterator[Path]:
    """Gives the name to write to; on a clean exit what was written becomes `path`, on an error it is removed.

    `shared`: other processes may be writing the same file just now; the last one stays.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp" if shared else f".{path.name}.tmp")
    try:
        yield beside
        _sync(beside)
        beside.replace(path)
    except BaseException as error:
        with suppress(OSError):  # a disk that has turned read-only; what is left there is tidied up later
            beside.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None and not isinstance(error, WriteError):
            raise WriteError(error.errno, os.strerror(error.errno), str(path)) from error
        raise
    _sync(path.parent)  # or a power cut may forget the new name


def write_whole(path: Path, text: str) -> None:
    with whole_file(path) as beside:
        beside.write_text(text, encoding="utf-8")


def remove_leftovers(folder: Path) -> None:
    """Removes the half-written files of a killed run. Only for whoever holds the lock of this folder."""
    for beside in folder.glob(".*.tmp"):
        beside.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
