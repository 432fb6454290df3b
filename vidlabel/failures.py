"""The failures file: one line for each video or clip that could not be labelled, and whether to try it again.

The file is rewritten whole, at most every few seconds. A success takes its line away.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Self

from vidlabel.atomic import write_whole
from vidlabel.data import Failure
from vidlabel.errors import InputError
from vidlabel.labels import clean_text, escape_name, unescape_name

_NAMES = ("id", "video_id", "path")


def should_retry(
    failure: Failure,
    *,
    file_size: int | None,
    file_mtime: float | None,
    max_attempts: int,
    retry_failed: bool = False,
) -> bool:
    """Whether a run tries this again, given the file as it is now (None: there is no file)."""
    if retry_failed or (file_size, file_mtime) != (failure.file_size, failure.file_mtime):
        return True
    return not failure.permanent and failure.attempts < max_attempts


class FailureLog:
    """The failures of all runs so far, by id."""

    def __init__(self, path: Path, *, flush_seconds: float = 5.0) -> None:
        self._path = path
        self._flush_seconds = flush_seconds
        self._failures = {failure.id: failure for failure in _read(path)}
        self._of_video: dict[str, set[str]] = {}
        for failure in self:
            self._of_video.setdefault(failure.video_id, set()).add(failure.id)
        self._changed = False
        self._last_written = time.monotonic()

    def get(self, failed_id: str) -> Failure | None:
        return self._failures.get(failed_id)

    def __iter__(self) -> Iterator[Failure]:
        return iter(list(self._failures.values()))

    def of_video(self, video_id: str) -> list[Failure]:
        """The failures of a video and of its clips."""
        return [self._failures[key] for key in self._of_video.get(video_id, ())]

    def __len__(self) -> int:
        return len(self._failures)

    def add(self, failure: Failure) -> Failure:
        """Records a failure; attempts go on from earlier runs while the file is the same."""
        earlier = self._failures.get(failure.id)
        if earlier and (earlier.file_size, earlier.file_mtime) == (failure.file_size, failure.file_mtime):
            failure = replace(failure, attempts=earlier.attempts + 1)
        self._failures[failure.id] = failure
        self._of_video.setdefault(failure.video_id, set()).add(failure.id)
        self._note_change()
        return failure

    def remove(self, failed_id: str) -> None:
        """After a success; an id without a line is fine."""
        if failure := self._failures.pop(failed_id, None):
            self._of_video[failure.video_id].discard(failed_id)
            self._note_change()

    def flush(self) -> None:
        if not self._changed:
            return
        if self._failures:
            write_whole(self._path, "".join(_line(self._failures[key]) for key in sorted(self._failures)))
        else:
            self._path.unlink(missing_ok=True)
        self._changed = False
        self._last_written = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.flush()

    def _note_change(self) -> None:
        self._changed = True
        if time.monotonic() - self._last_written >= self._flush_seconds:
            self.flush()


def _line(failure: Failure) -> str:
    values = asdict(failure) | {name: escape_name(getattr(failure, name)) for name in _NAMES}
    text = clean_text(json.dumps(values | {"reason": clean_text(failure.reason)}, ensure_ascii=False))
    return text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029").replace("\x85", "\\u0085") + "\n"


def _read(path: Path) -> Iterator[Failure]:
    if not path.exists():
        return
    known = {field.name for field in fields(Failure)}
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            values = {name: value for name, value in json.loads(line).items() if name in known}
            failure = Failure(**values | {name: unescape_name(values[name]) for name in _NAMES})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(
                f"{path}, line {number}: not a line that vidlabel wrote ({error}); mend it, or delete the file to try "
                "everything again"
            ) from error
        yield failure
