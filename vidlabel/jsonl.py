"""Labels as JSON lines: every column in every line, and nothing inside a line that a reader may take for its end."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from vidlabel.columns import Kinds, arrow_type, convert, kind_of, unify
from vidlabel.errors import InputError
from vidlabel.labels import LABEL_SCHEMA

# str.splitlines ends lines at these too, and readers use it
_LINE_ENDS = str.maketrans({"\x85": "\\u0085", "\u2028": "\\u2028", "\u2029": "\\u2029"})


def json_line(row: dict[str, Any]) -> str:
    values = {name: _jsonable(value) for name, value in row.items()}
    return json.dumps(values, ensure_ascii=False, allow_nan=False, default=str).translate(_LINE_ENDS) + "\n"


def json_lines(batch: pa.RecordBatch | pa.Table) -> str:
    return "".join(json_line(row) for row in batch.to_pylist())


def read_lines(path: Path, *, needs_label_id: bool = True) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Each line as it stands and as a row. Rows of other tools need no `label_id`."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise InputError(f"{path}, line {number}: not JSON ({error})") from error
            if not isinstance(row, dict):
                raise InputError(f"{path}, line {number}: not a label, which is one JSON object a line")
            if needs_label_id and not isinstance(row.get("label_id"), str):
                raise InputError(f"{path}, line {number}: not a label of vidlabel, which has a label_id")
            yield line if line.endswith(b"\n") else line + b"\n", row


def read_batches(path: Path, kinds: Kinds, batch_rows: int) -> Iterator[pa.RecordBatch]:
    """The rows as record batches: the labels' own columns, and those in `kinds`."""
    schema = pa.schema([*LABEL_SCHEMA, *(pa.field(name, arrow_type(kind)) for name, kind in kinds.items())])
    rows: list[dict[str, Any]] = []
    for _, row in read_lines(path):
        rows.append(_typed(row, kinds))
        if len(rows) >= batch_rows:
            yield _batch(path, rows, schema)
            rows = []
    if rows:
        yield _batch(path, rows, schema)


def widen_kinds(path: Path, known: Kinds) -> Kinds:
    """The kinds of all columns that are not the labels' own; other tools may have added some."""
    kinds = dict(known)
    for _, row in read_lines(path):
        for name, value in row.items():
            if name not in LABEL_SCHEMA.names:
                kinds[name] = unify(kinds.get(name, "null"), kind_of(value))
    return kinds


def _typed(row: dict[str, Any], kinds: Kinds) -> dict[str, Any]:
    created_at = row.get("created_at")
    values = {name: row.get(name) for name in LABEL_SCHEMA.names}
    values["created_at"] = datetime.fromisoformat(created_at) if isinstance(created_at, str) else created_at
    return values | {name: convert(row.get(name), kind) for name, kind in kinds.items()}


def _batch(path: Path, rows: list[dict[str, Any]], schema: pa.Schema) -> pa.RecordBatch:
    try:
        return pa.RecordBatch.from_pylist(rows, schema=schema)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise InputError(
            f"{path}: a column does not hold what the labels' column of that name holds ({error})"
        ) from error


def _jsonable(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return value
