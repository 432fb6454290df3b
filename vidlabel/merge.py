"""Parts become labels: the rows that are there stay first and as they are, new ones follow, none twice.

New rows are in order of video path and time, so the order of work does not show; beyond `CHUNK_ROWS` new rows in one
run they are ordered within such chunks, because memory stays bounded. A run killed in here merges again to the same.
The flag `duplicate` is the one thing of old rows that changes: it is counted over the old rows and the new.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vidlabel.atomic import whole_file, write_whole
from vidlabel.columns import Kinds, arrow_type, convert, kind_of, unify, unify_columns
from vidlabel.config import Settings
from vidlabel.duplicates import TEXT_COLUMNS, Spoken, count_texts, is_duplicate, marked, remark, spoken_rows
from vidlabel.embeddings import merge_embeddings
from vidlabel.errors import InputError
from vidlabel.jsonl import json_line, json_lines, read_lines, widen_kinds
from vidlabel.labels import LABEL_SCHEMA
from vidlabel.output_info import OutputInfo
from vidlabel.outputs import Output, label_files, read_info
from vidlabel.parts import DamagedPartError, in_chunks, part_paths, read_part, set_aside
from vidlabel.quality import Repeats
from vidlabel.readers import parquet_batches, stored_batches
from vidlabel.resume import id_numbers

CHUNK_ROWS = 250_000
_CHUNK_BYTES = 2**29  # arrow cannot sort a text column of more than 2 GiB
_ORDER = ("video_path", "start_seconds", "clip_id", "task", "instruction", "label_id")

Mask = npt.NDArray[np.bool_]


def merge(
    output: Output,
    settings: Settings,
    incomplete_videos: Iterable[str] = (),
    *,
    has_spans: bool = False,
    replacing: bool = False,
    chunk_rows: int = CHUNK_ROWS,
) -> int:
    """Merges the parts in the work folder into the output and removes them; returns how many rows were new.

    `incomplete_videos` are those of the whole output, so earlier ones that this run did not finish belong in it;
    `has_spans` likewise. `replacing`: the labels that are there go, at the moment when the new ones are whole.
    """
    old = None if replacing else read_info(output)
    paths = part_paths(output.work)
    masks = _new_rows(None if replacing else output, paths)
    known = old.kinds if old else {}
    if output.kind == "jsonl" and old:
        known = widen_kinds(output.path, known)  # other tools may have added columns
    kinds = unify_columns(known, _kinds_of(paths))
    info = OutputInfo(settings.to_json(), frozenset(incomplete_videos), kinds, has_spans)
    num_new = sum(int(mask.sum()) for mask in masks)
    if replacing or old != info or num_new:  # else not a byte would change, and a large file is not copied for nothing
        repeats = _repeats(output if old else None, paths, masks)
        chunks = (_finished(chunk, kinds, repeats, output.columns) for chunk in _chunks(paths, masks, chunk_rows))
        write = {"parquet": _write_parquet, "jsonl": _write_jsonl, "folder": _write_folder}[output.kind]
        write(output, old, info, chunks, repeats)
    merge_embeddings(output, replacing=replacing)
    for path in paths:
        path.unlink()
    return num_new


def _write_parquet(
    output: Output, old: OutputInfo | None, info: OutputInfo, chunks: Iterator[pa.Table], repeats: Repeats
) -> None:
    schema = _schema(info.kinds, output.columns).with_metadata(info.to_metadata())
    with whole_file(output.path) as beside, _parquet_writer(beside, schema) as writer:
        for path in label_files(output) if old else ():
            _copy(path, writer, info.kinds, repeats, output.columns)
        for chunk in chunks:
            _write_table(writer, chunk)


def _write_jsonl(
    output: Output, old: OutputInfo | None, info: OutputInfo, chunks: Iterator[pa.Table], repeats: Repeats
) -> None:
    write_whole(output.side_file, info.to_json())
    with whole_file(output.path) as beside, beside.open("wb") as file:
        for line, row in read_lines(output.path) if old else ():
            flags = row.get("flags")
            _, task, text = _spoken(row)
            new_flags = marked(flags, is_duplicate(repeats, task, text))
            as_it_is = old is not None and old.kinds == info.kinds
            if new_flags != (flags or []):
                row["flags"], line = new_flags, json_line({**row, "flags": new_flags}).encode()
            file.write(line if as_it_is else json_line(_widened(row, info.kinds, output.columns)).encode())
        for chunk in chunks:
            for batch in chunk.to_batches(max_chunksize=10_000):
                file.write(json_lines(batch).encode())


def _write_folder(
    output: Output, old: OutputInfo | None, info: OutputInfo, chunks: Iterator[pa.Table], repeats: Repeats
) -> None:
    """New rows go to new files. Old files are rewritten only if a column came or widened, because readers go by the
    first, or if a row became a duplicate or ceased to be; they come before the new rows, so that a run killed between
    still has new rows to merge and comes by here again."""
    output.path.mkdir(parents=True, exist_ok=True)
    write_whole(output.side_file, info.to_json())
    schema = _schema(info.kinds, output.columns)
    own = schema.with_metadata({name: info.to_metadata()[name] for name in ("vidlabel.settings", "vidlabel.version")})
    files = label_files(output)
    for path in files if old else ():
        if not pq.read_schema(path).equals(schema, check_metadata=False) or _changes_flags(path, repeats):
            with whole_file(path) as beside, _parquet_writer(beside, own) as writer:
                _copy(path, writer, info.kinds, repeats, output.columns)
    number = max((int(path.stem[5:]) for path in files if path.stem[5:].isdecimal()), default=-1) + 1
    if not files or not old:
        chunks = _at_least_one(chunks, schema)  # a folder without a file is nothing that readers could open
    for chunk in chunks:
        with whole_file(output.path / f"part-{number:06d}.parquet") as beside, _parquet_writer(beside, own) as writer:
            _write_table(writer, chunk)
        number += 1
    if not old:
        for path in files:
            path.unlink()


def _repeats(old: Output | None, paths: list[Path], masks: list[Mask]) -> Repeats:
    """What is said of how many clips, in the output and in the new rows."""
    repeats = Repeats()
    if old is not None and old.kind == "jsonl":
        count_texts(repeats, (_spoken(row) for _, row in read_lines(old.path)))
    else:
        for path in label_files(old) if old else ():
            names = [name for name in TEXT_COLUMNS if name in pq.read_schema(path).names]
            for batch in parquet_batches(path, names):
                count_texts(repeats, spoken_rows(batch))
    for path, mask in zip(paths, masks, strict=True):
        count_texts(repeats, spoken_rows(_read(path, list(TEXT_COLUMNS)).filter(pa.array(mask))))
    return repeats


def _spoken(row: dict[str, Any]) -> Spoken:
    return row.get("clip_id"), row.get("task"), row.get("caption") or row.get("answer")


def _changes_flags(path: Path, repeats: Repeats) -> bool:
    names = [name for name in (*TEXT_COLUMNS, "flags") if name in pq.read_schema(path).names]
    return any(remark(batch, repeats) is not None for batch in parquet_batches(path, names))


def _new_rows(output: Output | None, paths: list[Path]) -> list[Mask]:
    """For each part, which of its rows the output and the parts before it do not have."""
    numbers = [id_numbers(path, _read(path, ["label_id"])["label_id"]) for path in paths]
    if not numbers:
        return []
    everything = np.concatenate(numbers)
    new = np.zeros(len(everything), np.bool_)
    new[np.unique(everything, return_index=True)[1]] = True
    for batch in stored_batches(output, ["label_id"]) if output else ():
        new &= ~np.isin(everything, id_numbers("the output", batch["label_id"]))
    return np.split(new, np.cumsum([len(part) for part in numbers])[:-1])


def _kinds_of(paths: list[Path]) -> Kinds:
    """The manifest's columns in all parts; their order does not depend on which part comes first."""
    kinds: Kinds = {}
    headers: set[tuple[str, ...]] = set()
    for path in paths:
        for text in pc.drop_null(_read(path, ["extra"])["extra"].unique()).to_pylist():
            extra = json.loads(text)
            headers.add(tuple(extra))
            for name, value in extra.items():
                kinds[name] = unify(kinds.get(name, "null"), kind_of(value))
    return {name: kinds[name] for header in sorted(headers) for name in header}


def _chunks(paths: list[Path], masks: list[Mask], chunk_rows: int) -> Iterator[pa.Table]:
    tables = (
        _read(path).filter(pa.array(mask)).replace_schema_metadata(None)
        for path, mask in zip(paths, masks, strict=True)
    )
    return in_chunks(tables, chunk_rows, _CHUNK_BYTES)


def _finished(chunk: pa.Table, kinds: Kinds, repeats: Repeats, own: Sequence[str]) -> pa.Table:
    """In order, with the manifest's columns as columns, and with the duplicates marked."""
    chunk = chunk.sort_by([(name, "ascending") for name in _ORDER])
    extras = [json.loads(text) if text else {} for text in chunk["extra"].to_pylist()]
    flags = remark(chunk, repeats)
    columns = [flags if name == "flags" and flags is not None else chunk[name] for name in own]
    columns += [
        pa.array([convert(extra.get(name), kind) for extra in extras], arrow_type(kind)) for name, kind in kinds.items()
    ]
    return pa.Table.from_arrays(columns, schema=_schema(kinds, own))


def _copy(path: Path, writer: pq.ParquetWriter, kinds: Kinds, repeats: Repeats, own: Sequence[str]) -> None:
    """Old rows, with columns that came since as nulls, columns that widened in their new type, and flags made new."""
    for batch in parquet_batches(path):
        columns = []
        flags = remark(batch, repeats)
        for column in _schema(kinds, own):
            if column.name == "flags" and flags is not None:
                columns.append(flags)
            elif column.name not in batch.schema.names:
                columns.append(pa.nulls(len(batch), column.type))
            elif column.name in kinds and batch.schema.field(column.name).type != column.type:
                values = batch[column.name].to_pylist()
                columns.append(pa.array([convert(value, kinds[column.name]) for value in values], column.type))
            else:
                columns.append(batch[column.name].cast(column.type))
        writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=_schema(kinds, own)))


def _widened(row: dict[str, Any], kinds: Kinds, own: Sequence[str]) -> dict[str, Any]:
    return {name: row.get(name) for name in own} | {name: convert(row.get(name), kind) for name, kind in kinds.items()}


def _read(path: Path, columns: list[str] | None = None) -> pa.Table:
    try:
        return read_part(path, columns)
    except DamagedPartError as error:
        set_aside(path)
        raise InputError(f"{error}; it is set aside, run the same command again to make its labels anew") from error


def _schema(kinds: Kinds, own: Sequence[str]) -> pa.Schema:
    """The labels' columns that this output has, and the manifest's."""
    added = (pa.field(name, arrow_type(kind)) for name, kind in kinds.items())
    return pa.schema([*map(LABEL_SCHEMA.field, own), *added])


def _parquet_writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    return pq.ParquetWriter(path, schema, compression="zstd", write_page_checksum=True)


def _write_table(writer: pq.ParquetWriter, table: pa.Table) -> None:
    for batch in table.combine_chunks().to_batches(max_chunksize=50_000):
        writer.write_batch(batch)


def _at_least_one(chunks: Iterator[pa.Table], schema: pa.Schema) -> Iterator[pa.Table]:
    first = next(chunks, None)
    yield schema.empty_table() if first is None else first
    yield from chunks
