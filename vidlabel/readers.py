"""Reading labels back, whatever form they are in, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from vidlabel.columns import Kinds
from vidlabel.errors import InputError
from vidlabel.jsonl import read_batches, widen_kinds
from vidlabel.labels import LABEL_SCHEMA
from vidlabel.outputs import Output, label_files, parse_output, read_info

BATCH_ROWS = 50_000


def read_labels(
    path: str | Path, columns: Sequence[str] | None = None, *, batch_rows: int = BATCH_ROWS
) -> Iterator[pa.RecordBatch]:
    """The labels of a .parquet, a .jsonl or a folder, also of one that was filtered or renamed by other tools."""
    output = parse_output(path)
    if not output.path.exists():
        raise InputError(f"{path}: there are no labels there")
    if output.kind == "folder" and not label_files(output):
        raise InputError(f"{path}: a folder without part-*.parquet files holds no labels")
    return stored_batches(output, columns, batch_rows=batch_rows)


def stored_batches(
    output: Output, columns: Sequence[str] | None = None, *, batch_rows: int = BATCH_ROWS
) -> Iterator[pa.RecordBatch]:
    if output.kind == "jsonl" and output.exists:
        kinds: Kinds = {}
        if columns is None or not set(columns) <= set(LABEL_SCHEMA.names):  # else a second pass is spared
            info = read_info(output) if output.side_file.exists() else None
            kinds = widen_kinds(output.path, info.kinds if info else {})
        for batch in read_batches(output.path, kinds, batch_rows):
            yield batch if columns is None else batch.select(_known(output.path, columns, batch.schema))
        return
    for path in label_files(output):
        yield from parquet_batches(path, columns, batch_rows=batch_rows)


def parquet_batches(
    path: Path, columns: Sequence[str] | None = None, *, batch_rows: int = BATCH_ROWS
) -> Iterator[pa.RecordBatch]:
    try:
        # pre_buffer, which is on by default, keeps all that was read until the file is closed
        with pq.ParquetFile(path, page_checksum_verification=True, pre_buffer=False) as file:
            names = None if columns is None else _known(path, columns, file.schema_arrow)
            num_rows = 0
            for batch in file.iter_batches(batch_size=batch_rows, columns=names):
                num_rows += len(batch)
                yield batch
            if num_rows != file.metadata.num_rows:  # the pages have checksums, what says where they are has none
                raise pa.ArrowInvalid(f"{num_rows} rows were found of {file.metadata.num_rows}")
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise InputError(f"{path} is not a whole parquet file ({error}); restore it, or remove it") from error


def _known(path: Path, columns: Sequence[str], schema: pa.Schema) -> list[str]:
    for name in columns:
        if name not in schema.names:
            raise InputError(f"{path} has no column {name}; it has {', '.join(schema.names)}")
    return list(columns)
