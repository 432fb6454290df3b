"""A file of labels, vidlabel's own or another tool's, as record batches: parquet (file or folder), .jsonl, .csv, .tsv.

A caller asks for columns in the types it needs, whatever the file holds them as. Rows that go on to a file of the same
form travel as they are: JSON lines as the bytes they were, so that nothing is lost on the way.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from vidlabel.columns import Kinds, arrow_type, convert, kind_of, unify
from vidlabel.errors import InputError
from vidlabel.jsonl import read_lines
from vidlabel.labels import LABEL_SCHEMA
from vidlabel.manifest_rows import read_rows
from vidlabel.output_info import STEPS, OutputInfo
from vidlabel.outputs import Output, label_files, parse_output, read_info
from vidlabel.readers import BATCH_ROWS, parquet_batches
from vidlabel.tables.values import as_array, as_type

Form = Literal["parquet", "folder", "jsonl", "csv", "tsv"]
Rows: TypeAlias = pa.RecordBatch | list[bytes]  # whole rows on their way to a file: typed, or JSON lines as they stand
Types = Mapping[str, pa.DataType]

_TEXT_ROWS = 10_000  # a batch of Python objects takes far more memory than one of arrow's


@dataclass(frozen=True, slots=True)
class LabelTable:
    """A file that can be read any number of times, and what is known before its rows are read."""

    path: Path
    form: Form
    files: tuple[Path, ...]
    schema: pa.Schema  # with the file's metadata; of texts and JSON lines only the names count
    info: OutputInfo | None = None  # of labels that a run made
    steps: tuple[Mapping[str, object], ...] = field(default=(), hash=False)

    @property
    def names(self) -> list[str]:
        return list(self.schema.names)

    @property
    def failures(self) -> Path:
        return Output(self.path, "folder" if self.form == "folder" else "parquet").failures

    def require(self, name: str, why: str) -> None:
        if name not in self.schema.names:
            raise InputError(f"{self.path} has no column {name}, which {why} needs; it has {', '.join(self.names)}")


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """Some rows: the asked columns to look at, and the whole rows to pass on."""

    asked: pa.RecordBatch
    rows: Rows


def open_table(path: str | Path) -> LabelTable:
    """Finds out what kind of file it is and which columns it has. JSON lines are read through once for that."""
    place = Path(path)
    form = form_of(place)
    if not place.exists():
        raise InputError(f"{path}: there are no labels there")
    if form in ("parquet", "folder"):
        return _parquet_table(place, form)
    if form == "jsonl":
        return _jsonl_table(place)
    first = next(iter(read_rows(str(place))), None)
    if first is None:
        raise InputError(f"{path}: no rows; it should hold a header with a caption column, and rows")
    return LabelTable(place, form, (place,), pa.schema([(name, pa.string()) for name in first[1]]))


def form_of(path: Path) -> Form:
    if not path.is_dir():
        if path.suffix == ".csv":
            return "csv"
        if path.suffix == ".tsv":
            return "tsv"
    try:
        return parse_output(path).kind
    except InputError:
        raise InputError(
            f"{path}: labels are in a .parquet, .jsonl, .csv or .tsv file, or a folder, whose name has no suffix"
        ) from None


def asked_batches(table: LabelTable, types: Types) -> Iterator[pa.RecordBatch]:
    """The columns that are asked for, in the asked types; where the file lacks one, nulls."""
    if table.form in ("parquet", "folder"):
        present = [name for name in types if name in table.names]
        # a batch needs a column to have a length
        for batch in _parquet_rows(table, present or table.names[:1]):
            yield _asked(table, batch, types)
    else:
        for rows in _object_batches(table):
            yield _asked_of_objects(table, [row for _, row in rows], types)


def chunks(table: LabelTable, types: Types, *, as_lines: bool = False) -> Iterator[Chunk]:
    """Whole rows, and beside them the asked columns. `as_lines`: the rows of a .jsonl stay the lines they are."""
    if table.form in ("parquet", "folder"):
        for batch in _parquet_rows(table, None):
            yield Chunk(_asked(table, batch, types), batch)
        return
    schema = None if as_lines and table.form == "jsonl" else row_schema(table)
    for rows in _object_batches(table):
        objects = [row for _, row in rows]
        asked = _asked_of_objects(table, objects, types)
        if schema is None:
            yield Chunk(asked, [line for line, _ in rows])
        else:
            columns = [_typed(table, objects, column) for column in schema]
            yield Chunk(asked, pa.RecordBatch.from_arrays(columns, schema=schema))


def row_schema(table: LabelTable) -> pa.Schema:
    """The types of whole rows. JSON lines are read through for it: a column's type is known after its last value."""
    if table.form != "jsonl":
        return table.schema
    kinds: Kinds = {}
    for rows in _object_batches(table):
        for _, row in rows:
            for name, value in row.items():
                if table.info is None or name not in LABEL_SCHEMA.names:
                    kinds[name] = unify(kinds.get(name, "null"), kind_of(value))
    own = {name: LABEL_SCHEMA.field(name).type for name in LABEL_SCHEMA.names} if table.info else {}
    metadata = table.info.to_metadata() if table.info else None
    types = [(name, own.get(name) or arrow_type(kinds.get(name, "null"))) for name in table.names]
    return pa.schema(types, metadata=metadata)


def _parquet_table(path: Path, form: Form) -> LabelTable:
    output = parse_output(path)
    files = label_files(output)
    if form == "folder" and not files:
        files = sorted(file for file in output.path.glob("*.parquet") if _is_of_labels(file.name))
    if not files:
        raise InputError(f"{path}: holds no labels: a folder of labels has .parquet files in it, and a file has bytes")
    try:
        schemas = [pq.read_schema(file) for file in files]
        schema = pa.unify_schemas(schemas, promote_options="permissive") if len(schemas) > 1 else schemas[0]
    except (pa.ArrowInvalid, pa.ArrowTypeError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise InputError(f"{path}: not whole parquet files of one set of columns ({error})") from error
    metadata = schemas[0].metadata or {}
    schema = schema.with_metadata(metadata or None)
    if form == "folder" and output.side_file.exists():
        return LabelTable(output.path, form, tuple(files), schema, read_info(output), _side_steps(output.side_file))
    info = OutputInfo.from_metadata(metadata) if b"vidlabel.settings" in metadata else None
    steps = tuple(json.loads(metadata.get(STEPS.encode(), b"[]")))
    return LabelTable(output.path, form, tuple(files), schema, info, steps)


def _is_of_labels(name: str) -> bool:
    """Of a file in a folder that vidlabel did not make; what was decided about labels there may lie beside them."""
    return not name.startswith((".", "_")) and not name.endswith(".review.parquet")


def _jsonl_table(path: Path) -> LabelTable:
    output = parse_output(path)
    has_side_file = output.side_file.exists()
    headers: dict[tuple[str, ...], None] = {}
    for _, row in read_lines(output.path, needs_label_id=False):
        headers.setdefault(tuple(row))
    names = dict.fromkeys(name for header in headers for name in header)
    if not names and has_side_file:
        names = dict.fromkeys(LABEL_SCHEMA.names)
    return LabelTable(
        output.path,
        "jsonl",
        (output.path,),
        pa.schema([(name, pa.null()) for name in names]),
        read_info(output) if has_side_file and output.exists else None,
        _side_steps(output.side_file) if has_side_file else (),
    )


def _side_steps(side_file: Path) -> tuple[Mapping[str, object], ...]:
    return tuple(json.loads(side_file.read_text(encoding="utf-8")).get(STEPS.removeprefix("vidlabel."), []))


def _parquet_rows(table: LabelTable, names: list[str] | None) -> Iterator[pa.RecordBatch]:
    """Batches of one schema: files of a folder may differ in the order and the width of their columns."""
    schema = table.schema if names is None else pa.schema([table.schema.field(name) for name in names])
    for file in table.files:
        present = names
        if names is not None and len(table.files) > 1:
            own = pq.read_schema(file).names
            present = [name for name in names if name in own] or own[:1]
        for batch in parquet_batches(file, present, batch_rows=BATCH_ROWS):
            if batch.schema.equals(schema, check_metadata=False):
                yield batch
                continue
            columns = [
                batch[column.name].cast(column.type)
                if column.name in batch.schema.names
                else pa.nulls(len(batch), column.type)
                for column in schema
            ]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)


def _object_batches(table: LabelTable) -> Iterator[list[tuple[bytes, Mapping[str, Any]]]]:
    rows: Iterable[tuple[bytes, Mapping[str, Any]]] = (
        read_lines(table.path, needs_label_id=False)
        if table.form == "jsonl"
        else ((b"", row) for _, row in read_rows(str(table.path)))
    )
    gathered: list[tuple[bytes, Mapping[str, Any]]] = []
    for row in rows:
        gathered.append(row)
        if len(gathered) >= _TEXT_ROWS:
            yield gathered
            gathered = []
    if gathered:
        yield gathered


def _asked(table: LabelTable, batch: pa.RecordBatch, types: Types) -> pa.RecordBatch:
    columns = [
        as_type(batch[name], wanted, table.path, name) if name in batch.schema.names else pa.nulls(len(batch), wanted)
        for name, wanted in types.items()
    ]
    return pa.RecordBatch.from_arrays(columns, list(types))


def _asked_of_objects(table: LabelTable, rows: list[Mapping[str, Any]], types: Types) -> pa.RecordBatch:
    columns = [as_array([row.get(name) for row in rows], wanted, table.path, name) for name, wanted in types.items()]
    return pa.RecordBatch.from_arrays(columns, list(types))


def _typed(table: LabelTable, rows: list[Mapping[str, Any]], column: pa.Field) -> pa.Array:
    values = [row.get(column.name) for row in rows]
    if table.info is None or column.name not in LABEL_SCHEMA.names:
        if table.form == "jsonl":
            kind = "mixed" if pa.types.is_string(column.type) else _kind(column.type)
            values = [convert(value, kind) for value in values]
        return pa.array(values, column.type)
    return as_array(values, column.type, table.path, column.name)


def _kind(stored: pa.DataType) -> str:
    if pa.types.is_list(stored):
        inner = "mixed" if pa.types.is_string(stored.value_type) else _kind(stored.value_type)
        return f"list:{inner}"
    return "float" if pa.types.is_floating(stored) else "bool" if pa.types.is_boolean(stored) else "bigint"
