"""Rows become a file of labels again, in any form, with the metadata of the file they come from and a note of what was
done to it. The file is whole or not there; labels that a run made are never overwritten by what was made of them.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vidlabel.atomic import whole_file, write_whole
from vidlabel.csv_cells import guarded
from vidlabel.errors import InputError
from vidlabel.jsonl import json_line, json_lines
from vidlabel.output_info import STEPS
from vidlabel.outputs import parse_output
from vidlabel.tables.reading import Form, LabelTable, Rows, form_of, open_table

Step = Mapping[str, object]

_GROUP_ROWS = 50_000  # of a parquet row group: filtered batches are joined to that, small groups compress badly
_FILE_ROWS = 250_000  # of one file in a folder


def check_out(out: Path, table: LabelTable) -> None:
    """Refuses, before any work, an --out that would destroy labels."""
    form = form_of(out)
    place, source = out.resolve(), table.path.resolve()
    if place == source or (out.exists() and out.samefile(table.path)):
        raise InputError(f"--out {out}: is the file that is read; name another")
    if place.is_relative_to(source) or source.is_relative_to(place):
        raise InputError(f"--out {out}: must not lie in the folder that is read, nor that in it")
    if not place.parent.is_dir():
        raise InputError(f"--out {out}: there is no folder {place.parent}")
    if form == "folder" and out.is_dir():
        strangers = sorted(entry.name for entry in out.iterdir() if not _is_ours(entry))
        if strangers:
            raise InputError(f"--out {out}: holds {strangers[0]}, which is not vidlabel's; name another")
    if _is_of_a_run(out, form):
        raise InputError(f"--out {out}: holds labels that a run made; remove them, or name another")


def write_rows(out: Path, rows: Iterator[Rows], schema: pa.Schema, table: LabelTable, step: Step) -> None:
    """Writes rows of `schema` (not of JSON lines as they stand: those go to a .jsonl only) as `out` says."""
    steps = [*table.steps, step]
    form = form_of(out)
    if form == "parquet":
        place = parse_output(out).path
        with whole_file(place) as beside:
            _write_parquet(beside, (row for row in rows if not isinstance(row, list)), _noted(schema, table, steps))
    elif form == "folder":
        _write_folder(out, (row for row in rows if not isinstance(row, list)), schema, table, steps)
    elif form == "jsonl":
        _write_jsonl(out, rows, table, steps)
    else:
        with whole_file(out.resolve()) as beside, beside.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(
                file, delimiter="," if form == "csv" else "\t"
            )  # "\r\n": else a lone "\r" is not quoted
            writer.writerow(map(guarded, schema.names))
            for batch in rows:
                assert not isinstance(batch, list)
                writer.writerows([_cell(value) for value in row.values()] for row in batch.to_pylist())


def changed(rows: Rows, columns: Mapping[str, pa.Array], where: Sequence[bool] | None = None) -> Rows:
    """The rows with some columns replaced, or added at the end. `where`: lines of others stay the bytes they are."""
    if isinstance(rows, list):
        values = {name: column.to_pylist() for name, column in columns.items()}
        return [
            json_line(json.loads(line) | {name: cells[at] for name, cells in values.items()}).encode()
            if where is None or where[at]
            else line
            for at, line in enumerate(rows)
        ]
    names = list(dict.fromkeys([*rows.schema.names, *columns]))
    return pa.RecordBatch.from_arrays(
        [columns[name] if name in columns else rows[name] for name in names],
        schema=changed_schema(rows.schema, {name: column.type for name, column in columns.items()}),
    )


def changed_schema(schema: pa.Schema, types: Mapping[str, pa.DataType]) -> pa.Schema:
    for name, kind in types.items():
        at = schema.get_field_index(name)
        new = pa.field(name, kind)
        schema = schema.append(new) if at < 0 else schema if schema.field(at).type == kind else schema.set(at, new)
    return schema


def taken(rows: Rows, mask: pa.BooleanArray) -> Rows:
    if isinstance(rows, list):
        return [line for line, is_kept in zip(rows, mask.to_pylist(), strict=True) if is_kept]
    return rows.filter(mask)


def _noted(schema: pa.Schema, table: LabelTable, steps: list[Step]) -> pa.Schema:
    own = {**(table.info.to_metadata() if table.info else {}), STEPS: json.dumps(steps, ensure_ascii=False)}
    # bytes, as the schema has them: a key as text would stand beside the old one instead of replacing it
    return schema.with_metadata({**(schema.metadata or {}), **{key.encode(): text for key, text in own.items()}})


def _write_parquet(path: Path, batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> None:
    with pq.ParquetWriter(path, schema, compression="zstd", write_page_checksum=True) as writer:
        for group in _groups(batches, schema):
            writer.write_table(group)


def _groups(batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.Table]:
    gathered: list[pa.RecordBatch] = []
    for batch in batches:
        gathered.append(batch.replace_schema_metadata(schema.metadata))
        while sum(map(len, gathered)) >= _GROUP_ROWS:
            table = pa.Table.from_batches(gathered, schema)
            yield table.slice(0, _GROUP_ROWS)
            gathered = table.slice(_GROUP_ROWS).to_batches()
    if gathered:
        yield pa.Table.from_batches(gathered, schema)


def _write_folder(
    out: Path, batches: Iterator[pa.RecordBatch], schema: pa.Schema, table: LabelTable, steps: list[Step]
) -> None:
    """A folder is built beside and put in place whole."""
    place = out.resolve()
    beside = place.with_name(f".{place.name}.tmp")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    noted = _noted(schema, table, steps)
    number = 0
    try:
        groups = _groups(batches, noted)
        group = next(groups, noted.empty_table())
        while group is not None:
            with pq.ParquetWriter(
                beside / f"part-{number:06d}.parquet", noted, compression="zstd", write_page_checksum=True
            ) as writer:
                num_rows = 0
                while group is not None and num_rows < _FILE_ROWS:
                    writer.write_table(group)
                    num_rows += len(group)
                    group = next(groups, None)
            number += 1
        if table.info is not None:
            write_whole(beside / "_vidlabel.json", _side_text(table, steps))
        if place.exists():
            shutil.rmtree(place)
        beside.replace(place)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _write_jsonl(out: Path, rows: Iterator[Rows], table: LabelTable, steps: list[Step]) -> None:
    output = parse_output(out)
    with whole_file(output.path) as beside, beside.open("wb") as file:
        for some in rows:
            if isinstance(some, list):
                file.writelines(some)
            else:
                file.write(json_lines(some).encode())
        if table.info is not None:
            write_whole(output.side_file, _side_text(table, steps))
        else:
            output.side_file.unlink(missing_ok=True)  # of another file that was filtered to here before


def _side_text(table: LabelTable, steps: list[Step]) -> str:
    assert table.info is not None
    values: dict[str, Any] = json.loads(table.info.to_json())
    return json.dumps(values | {"steps": steps}, indent=2, ensure_ascii=False) + "\n"


def _cell(value: object) -> object:
    if isinstance(value, list):
        return guarded(";".join(map(str, value)))
    if isinstance(value, str):
        return guarded(value)
    return "" if value is None else value


def _is_of_a_run(out: Path, form: Form) -> bool:
    if form in ("csv", "tsv") or not (output := parse_output(out)).exists:
        return False
    if form == "jsonl" and not output.side_file.exists():
        return False
    there = open_table(out)
    return there.info is not None and not there.steps


def _is_ours(entry: Path) -> bool:
    return entry.name == "_vidlabel.json" or entry.match("part-*.parquet")
