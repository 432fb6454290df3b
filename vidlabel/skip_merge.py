"""Parts of what was skipped become `labels.skipped.parquet`: each clip once, by the last decision about it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vidlabel.atomic import whole_file
from vidlabel.errors import InputError
from vidlabel.labels import escape_name
from vidlabel.outputs import Output
from vidlabel.parts import DamagedPartError, in_chunks, part_paths, read_part, set_aside
from vidlabel.readers import parquet_batches
from vidlabel.signals.table import SIGNALS
from vidlabel.skips import HAS_SPANS, INCOMPLETE, PREFIX, SCHEMA, Mask, Numbers, RowNumbers, read_metadata, row_numbers

_TYPES = {"float": pa.float64(), "int": pa.int64(), "bool": pa.bool_(), "string": pa.string()}
_CHUNK_ROWS = 250_000
Places = npt.NDArray[np.int64]

_ORDER = ("video_path", "start_seconds", "clip_id")


def merge_skipped(output: Output, incomplete_videos: Iterable[str], *, has_spans: bool, replacing: bool) -> None:
    """Before the labels are merged, so that a run killed in here is not taken for one that ended."""
    path = output.skipped
    has_old = path.exists() and not replacing
    parts = part_paths(output.work, PREFIX)
    metadata = {
        INCOMPLETE: json.dumps(sorted(map(escape_name, incomplete_videos))).encode(),
        HAS_SPANS: json.dumps(has_spans).encode(),
    }
    if not parts and (not has_old or metadata.items() <= read_metadata(path).items()):
        if replacing:
            path.unlink(missing_ok=True)
        return
    old = [row_numbers(batch) for batch in parquet_batches(path)] if has_old else []
    masks = _that_count([*old, *(row_numbers(_read(part)) for part in parts)])
    if any(mask.any() for mask in masks):
        _write(path, parts, masks, num_old=len(old), metadata=metadata)
    else:
        path.unlink(missing_ok=True)
    for part in parts:
        part.unlink()


def _write(path: Path, parts: list[Path], masks: list[Mask], *, num_old: int, metadata: dict[bytes, bytes]) -> None:
    """The rows of the file that are there first, as many batches as that is."""
    schema = _schema(path if num_old else None, parts).with_metadata(metadata)
    with (
        whole_file(path) as beside,
        pq.ParquetWriter(beside, schema, compression="zstd", write_page_checksum=True) as writer,
    ):
        for batch, mask in zip(parquet_batches(path) if num_old else (), masks[:num_old], strict=True):
            writer.write_batch(_widened(batch.filter(pa.array(mask)), schema))
        for chunk in _chunks(parts, masks[num_old:]):
            writer.write_table(_finished(chunk, schema))


def _that_count(tables: list[RowNumbers]) -> list[Mask]:
    """For each table, in the order in which they were written, which of its rows still hold."""
    if not tables:
        return []
    things, videos, keys, of_videos, counts = (
        np.concatenate([getattr(table, name) for table in tables])
        for name in ("things", "videos", "keys", "of_videos", "has_reason")
    )
    is_last = np.zeros(len(things), np.bool_)
    is_last[_last_of_each(things, np.flatnonzero(counts))] = True
    # what was decided of a video as a whole ends all that was decided of it before for another key; so does a row
    # without a reason for what it names
    is_over = _followed(videos, keys, np.flatnonzero(of_videos)) | _followed(things, keys, np.flatnonzero(~counts))
    return np.split(is_last & ~is_over, np.cumsum([len(table.things) for table in tables])[:-1])


def _last_of_each(names: Numbers, places: Places) -> Places:
    """Of these places the last for each name, in the order of the names."""
    return places[len(places) - 1 - np.unique(names[places][::-1], return_index=True)[1]]


def _followed(names: Numbers, keys: Numbers, decisions: Places) -> Mask:
    """Which rows have a decision of the same name and another key after them."""
    if not len(decisions):
        return np.zeros(len(names), np.bool_)
    last = _last_of_each(names, decisions)
    decision = last[np.minimum(np.searchsorted(names[last], names), len(last) - 1)]
    followed: Mask = (names[decision] == names) & (np.arange(len(names)) < decision) & (keys[decision] != keys)
    return followed


def _chunks(parts: list[Path], masks: list[Mask]) -> Iterator[pa.Table]:
    tables = (
        _read(part).filter(pa.array(mask)).replace_schema_metadata(None)
        for part, mask in zip(parts, masks, strict=True)
    )
    return in_chunks(tables, _CHUNK_ROWS)


def _schema(old: Path | None, parts: list[Path]) -> pa.Schema:
    """The usual columns, and those of signals in the order of their table."""
    there = set() if old is None else set(pq.read_schema(old).names)
    for part in parts:
        there.update(name for text in pc.drop_null(_read(part)["signals"]).to_pylist() for name in json.loads(text))
    return pa.schema([*SCHEMA, *((signal.name, _TYPES[signal.kind]) for signal in SIGNALS if signal.name in there)])


def _finished(chunk: pa.Table, schema: pa.Schema) -> pa.Table:
    """In order, with what was measured in columns."""
    chunk = chunk.sort_by([(name, "ascending") for name in _ORDER])
    measured = [json.loads(text) if text else {} for text in chunk["signals"].to_pylist()]
    columns = [
        chunk[column.name]
        if column.name in SCHEMA.names
        else pa.array([values.get(column.name) for values in measured], column.type)
        for column in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _widened(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """With signals that came since as nulls."""
    columns = [
        batch[column.name].cast(column.type) if column.name in batch.schema.names else pa.nulls(len(batch), column.type)
        for column in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _read(part: Path) -> pa.Table:
    try:
        return read_part(part)
    except DamagedPartError as error:
        set_aside(part)
        raise InputError(f"{error}; it is set aside, run the same command again to decide its clips anew") from error
