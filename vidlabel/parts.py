"""Part files: what a run has so far, saved every minute in files that are whole or absent.

Names are unique over restarts and over machines that write into one folder, and sort by time within a writer.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Generic, Self, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from vidlabel.atomic import whole_file
from vidlabel.labels import Label, labels_table

logger = logging.getLogger(__name__)

Row = TypeVar("Row")


class PartSaver(Generic[Row]):
    """Gathers rows and saves them as parts: `max_rows` at a time, and none later than `flush_seconds` after it came.

    The clock runs in a thread of its own, so rows are saved in time also while the run waits for the model.
    """

    def __init__(
        self,
        folder: Path,
        prefix: str,
        to_table: Callable[[list[Row]], pa.Table],
        *,
        flush_seconds: float = 60.0,
        max_rows: int = 5000,
    ) -> None:
        self._folder = folder
        self._prefix = prefix
        self._to_table = to_table
        self._flush_seconds = flush_seconds
        self._max_rows = max_rows
        self._rows: list[Row] = []
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._due = 0.0
        self._writer = f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}"
        self._num_parts = 0

    def add(self, row: Row) -> None:
        with self._lock:
            if not self._rows:
                self._start_clock()
            self._rows.append(row)
            if len(self._rows) >= self._max_rows or time.monotonic() >= self._due:
                self._save()

    def flush(self) -> None:
        with self._lock:
            self._save()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.flush()  # also after an error: what was made stays made

    def _start_clock(self) -> None:
        self._due = time.monotonic() + self._flush_seconds
        self._timer = threading.Timer(self._flush_seconds, self._flush_on_time)
        self._timer.daemon = True
        self._timer.start()

    def _flush_on_time(self) -> None:
        with self._lock:
            if threading.current_thread() is not self._timer:
                return  # these rows were saved while this clock waited for the lock
            try:
                self._save()
            except OSError:
                return  # the rows are still here and overdue: the next add or flush meets the error in the run's thread

    def _save(self) -> None:
        if not self._rows:
            return
        path = self._folder / f"{self._prefix}-{self._writer}-{self._num_parts:05d}.parquet"
        table = self._to_table(self._rows)
        with whole_file(path) as beside:
            pq.write_table(table, beside, compression="zstd", write_page_checksum=True)
        self._num_parts += 1
        self._rows = []
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def part_writer(
    folder: Path,
    settings_json: str,
    *,
    flush_seconds: float = 60.0,
    max_rows: int = 5000,
    before: Callable[[], None] | None = None,
) -> PartSaver[Label]:
    """Saves labels as `part-*.parquet`, each with the settings it was made with. `before`: saves what must not be
    missing once the labels are there, because then their clips are not asked again."""

    def to_table(labels: list[Label]) -> pa.Table:
        if before is not None:
            before()
        return labels_table(labels).replace_schema_metadata({"vidlabel.settings": settings_json})

    return PartSaver(folder, "part", to_table, flush_seconds=flush_seconds, max_rows=max_rows)


def part_paths(folder: Path, prefix: str = "part") -> list[Path]:
    return sorted(folder.glob(f"{prefix}-*.parquet"))


def read_part(path: Path, columns: list[str] | None = None) -> pa.Table:
    """A part, checked against its checksums. A damaged one raises `DamagedPartError`."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            return file.read(columns)
    except (pa.ArrowInvalid, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk or the rights, not the file's bytes
        raise DamagedPartError(f"{path}: {error}") from error


class DamagedPartError(Exception):
    """A part is not the file that was written: cut short or changed by something else than vidlabel."""


def whole_parts(folder: Path, columns: list[str], prefix: str = "part") -> Iterator[tuple[Path, pa.Table]]:
    """Each part with some of its columns. Damaged ones are set aside, with a warning: their rows are made again."""
    for path in part_paths(folder, prefix):
        try:
            table = read_part(path, columns)
        except DamagedPartError as error:
            set_aside(path)
            logger.warning("%s; set aside as %s, its rows will be made again", error, path.name + ".broken")
            continue
        yield path, table


def in_chunks(tables: Iterable[pa.Table], max_rows: int, max_bytes: int = 2**62) -> Iterator[pa.Table]:
    """Put together until they have so many rows or bytes, so that no more is held; none without rows."""
    gathered: list[pa.Table] = []
    for table in tables:
        gathered.append(table)
        if sum(map(len, gathered)) >= max_rows or sum(part.nbytes for part in gathered) >= max_bytes:
            yield pa.concat_tables(gathered)
            gathered = []
    if any(map(len, gathered)):
        yield pa.concat_tables(gathered)


def set_aside(path: Path) -> None:
    with suppress(FileNotFoundError):  # another shard has done it
        path.replace(path.with_name(path.name + ".broken"))
