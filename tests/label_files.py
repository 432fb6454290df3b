"""Files of labels in every form, vidlabel's own and other tools', for the tests of filter, check and stats."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import typer
from typer.testing import CliRunner

from tests.make_labels import SETTINGS, label
from vidlabel.cli_labels import register
from vidlabel.errors import InputError
from vidlabel.jsonl import json_line
from vidlabel.labels import LABEL_SCHEMA, labels_table
from vidlabel.output_info import OutputInfo
from vidlabel.outputs import parse_output

INFO = OutputInfo(SETTINGS.to_json(), frozenset({"video0009"}), {"score": "float"}, has_spans=True)
Row = Mapping[str, Any]


def own_rows(changes: Sequence[Row]) -> list[dict[str, Any]]:
    """Rows as a run makes them, each with some values of its own, and with the manifest's column `score`."""
    made = [label(number) for number in range(len(changes))]
    rows = labels_table(made).drop_columns("extra").to_pylist()
    return [
        {**row, "score": number / 2, **change} for number, (row, change) in enumerate(zip(rows, changes, strict=True))
    ]


def write_own(path: Path, changes: Sequence[Row]) -> Path:
    """Labels as a run leaves them: .parquet, .jsonl or a folder."""
    rows = own_rows(changes)
    schema = LABEL_SCHEMA.append(pa.field("score", pa.float64()))
    for name in ("grounding", "agreement"):
        if any(name in change for change in changes) and name not in schema.names:
            schema = schema.append(pa.field(name, pa.float32()))
    table = pa.Table.from_pylist(rows, schema.with_metadata(INFO.to_metadata()))
    output = parse_output(path)
    if output.kind == "parquet":
        pq.write_table(table, path)
    elif output.kind == "folder":
        path.mkdir()
        for number in range(0, len(rows), 2):
            pq.write_table(table.slice(number, 2), path / f"part-{number:06d}.parquet")
        output.side_file.write_text(INFO.to_json())
    else:
        path.write_text("".join(json_line(row) for row in table.to_pylist()))
        output.side_file.write_text(INFO.to_json())
    return path


def write_foreign(path: Path, rows: Sequence[Row]) -> Path:
    """Rows as another tool would have them."""
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(list(rows)), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    else:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    return path


def read_back(path: Path) -> list[dict[str, Any]]:
    if path.is_dir():
        return [row for file in sorted(path.glob("*.parquet")) for row in pq.read_table(file).to_pylist()]
    if path.suffix == ".parquet":
        return list(pq.read_table(path).to_pylist())
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ","))


def run(*args: object) -> tuple[int, str, str]:
    """The commands as `vidlabel` has them: exit code, stdout, stderr."""
    app = typer.Typer()
    register(app)
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    if isinstance(result.exception, InputError):
        return 2, result.stdout, str(result.exception)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr
