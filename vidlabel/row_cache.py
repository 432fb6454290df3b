"""Rows found by key and saved as parts in the work folder, so that a resumed run does not make them again."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import pyarrow as pa

from vidlabel.parts import PartSaver, whole_parts


class RowCache:
    """What earlier runs and this one have put. The schema has a column `key`; rows stay in arrow's compact form."""

    def __init__(self, folder: Path, name: str, schema: pa.Schema, *, flush_seconds: float) -> None:
        self._schema = schema
        self._tables: list[pa.Table] = []
        self._where: dict[str, tuple[int, int]] = {}  # key -> table, row
        self._fresh: dict[str, dict[str, Any]] = {}
        for _, table in whole_parts(folder, schema.names, name):
            self._index(table)
        self._saver = PartSaver[dict[str, Any]](folder, name, self._to_table, flush_seconds=flush_seconds)

    def row(self, key: str) -> dict[str, Any] | None:
        row = self._fresh.get(key)  # before the tables: the saver's clock moves rows from here to there
        if row is not None or key not in self._where:
            return row
        number, at = self._where[key]
        (found,) = self._tables[number].slice(at, 1).to_pylist()
        return dict(found)

    def has(self, key: str) -> bool:
        return key in self._fresh or key in self._where

    def add(self, row: dict[str, Any]) -> None:
        """Unless its key is there already."""
        key = row["key"]
        if not self.has(key):
            self._fresh[key] = row
            self._saver.add(row)

    def flush(self) -> None:
        self._saver.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.flush()

    def _to_table(self, rows: list[dict[str, Any]]) -> pa.Table:
        table = pa.Table.from_pylist(rows, schema=self._schema)
        self._index(table)
        for row in rows:
            self._fresh.pop(row["key"], None)
        return table

    def _index(self, table: pa.Table) -> None:
        number = len(self._tables)
        self._tables.append(table)
        self._where |= {key: (number, at) for at, key in enumerate(table["key"].to_pylist())}
