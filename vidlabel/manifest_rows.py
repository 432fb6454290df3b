"""Reads the rows of csv, tsv, jsonl and parquet files as they stand, each with the line to find it by.

A file that is not what its name says, or a row that cannot be read, is one InputError that names file and line.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from vidlabel.csv_cells import unguarded
from vidlabel.errors import InputError
from vidlabel.paths import row_name
from vidlabel.remote import is_url

EXTENSIONS = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")

NumberedRow = tuple[int, Mapping[str, object]]  # the line as an editor shows it, in parquet the row; both from 1


def read_rows(file: str, stored: str | None = None) -> Iterator[NumberedRow]:
    """The rows of one manifest. Texts from csv and tsv, typed values from jsonl and parquet.

    `file` is what messages call it and what its kind goes by; `stored` is where it is, if that is elsewhere."""
    extension = Path(file.partition("?")[0] if is_url(file) else file).suffix.lower()
    path = Path(stored or file)
    try:
        if extension == ".parquet":
            yield from _parquet_rows(file, path)
        elif extension in (".jsonl", ".ndjson"):
            yield from _json_rows(file, path)
        else:
            yield from _csv_rows(file, path, "\t" if extension == ".tsv" else ",")
    except UnicodeDecodeError as error:
        raise InputError(f"{row_name(file, _first_bad_line(path))}: not UTF-8; save the file as UTF-8") from error
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror or error}") from error


def _csv_rows(file: str, path: Path, delimiter: str) -> Iterator[NumberedRow]:
    csv.field_size_limit(sys.maxsize)  # the library's own limit is 128 KB, and real captions are longer
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream, delimiter=delimiter, strict=True)
        header: list[str] | None = None
        while True:
            number = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise InputError(f"{row_name(file, number)}: a quoted cell is not well formed: {error}") from error
            if not cells:
                continue
            if header is None:
                header = _header(cells, file, number)
            elif len(cells) != len(header):
                where = row_name(file, number)
                raise InputError(f"{where}: {len(cells)} cells, but the header has {len(header)} columns")
            else:
                # as pandas writes and reads what is missing
                values = (None if cell in ("", "NaN", "nan") else unguarded(cell) for cell in cells)
                yield number, dict(zip(header, values, strict=True))


def _header(cells: list[str], file: str, number: int) -> list[str]:
    # a column without a name is what pandas writes for its index
    names = [unguarded(cell.strip()) or f"column_{place}" for place, cell in enumerate(cells, start=1)]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{row_name(file, number)}: column {name!r} is there twice")
    return names


def _json_rows(file: str, path: Path) -> Iterator[NumberedRow]:
    with path.open(encoding="utf-8-sig", newline="\n") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise InputError(f"{row_name(file, number)}: not JSON: {error}") from error
            if not isinstance(row, dict):
                raise InputError(f'{row_name(file, number)}: a line must be one JSON object, as {{"video": "a.mp4"}}')
            yield number, row


def _parquet_rows(file: str, path: Path) -> Iterator[NumberedRow]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path, pre_buffer=False) as table:
            for batch in table.iter_batches(batch_size=16384):
                names = batch.schema.names
                columns = [column.to_pylist() for column in batch.columns]
                for cells in zip(*columns, strict=True):
                    number += 1
                    yield number, dict(zip(names, cells, strict=True))
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{file}: not a whole parquet file, after row {number}: {reason}") from error


def _first_bad_line(path: Path) -> int:
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return 1
