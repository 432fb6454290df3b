"""`filter --where`: a condition asked of a file of labels, or of signals, a batch at a time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vidlabel.labels import LABEL_SCHEMA
from vidlabel.tables.reading import LabelTable, row_schema
from vidlabel.tables.values import as_type
from vidlabel.where.batches import arrow_type, not_true
from vidlabel.where.binding import Kind, Where, bind
from vidlabel.where.parsing import parse

Mask = npt.NDArray[np.bool_]

SECONDS, SPAN = "seconds", ("start_seconds", "end_seconds")  # what a clip's own length is worked out from
_TIME = pa.timestamp("us", tz="UTC")


class WhereRule:
    """Without a condition it asks for nothing and drops nothing."""

    def __init__(self, table: LabelTable, text: str | None) -> None:
        self._path = table.path
        self._where: Where | None = None
        self.types: dict[str, pa.DataType] = {}  # of the columns that it looks at
        if text is None:
            return
        schema = row_schema(table)
        kinds = {name: _kind(table, schema.field(name)) for name in table.names}
        if SECONDS not in kinds and kinds.keys() >= set(SPAN):
            kinds[SECONDS] = "number"
        self._where = bind(parse(text), kinds)
        for name, kind in self._where.kinds.items():
            if name == SECONDS and name not in table.names:
                self.types |= dict.fromkeys(SPAN, pa.float64())
            else:
                self.types[name] = _TIME if pa.types.is_timestamp(schema.field(name).type) else arrow_type(kind)

    def reasons(self, batch: pa.RecordBatch) -> dict[str, Mask]:
        """Each part -> the rows that do not meet it."""
        if self._where is None:
            return {}
        columns = {name: self._column(name, batch) for name in self._where.kinds}
        return {f"--where {part.text}": not_true(part.tree, columns, len(batch)) for part in self._where.parts}

    def _column(self, name: str, batch: pa.RecordBatch) -> pa.Array:
        if name not in self.types:
            start, end = (as_type(batch[bound], pa.float64(), self._path, bound) for bound in SPAN)
            return pc.subtract(end, start)
        column = as_type(batch[name], self.types[name], self._path, name)
        if column.type == _TIME:  # as JSON lines have it
            return pc.binary_join_element_wise(pc.strftime(column, "%Y-%m-%dT%H:%M:%S"), "Z", "")
        return column


def _kind(table: LabelTable, column: pa.Field) -> Kind:
    stored = column.type
    if column.name == "flags":
        return "texts"  # also where a file has no lists
    if pa.types.is_list(stored) or pa.types.is_large_list(stored) or pa.types.is_fixed_size_list(stored):
        inner = _kind_of_type(stored.value_type)
        return "texts" if inner == "cell" else "numbers" if inner == "number" else "other"
    kind = _kind_of_type(stored)
    is_own = table.info is not None and column.name in LABEL_SCHEMA.names
    return "text" if kind == "cell" and is_own else kind


def _kind_of_type(stored: pa.DataType) -> Kind:
    if pa.types.is_dictionary(stored):
        stored = stored.value_type
    if pa.types.is_boolean(stored):
        return "truth"
    if pa.types.is_integer(stored) or pa.types.is_floating(stored) or pa.types.is_decimal(stored):
        return "number"
    if pa.types.is_timestamp(stored) or pa.types.is_date(stored):
        return "text"
    # texts of other tools may be numbers that were written as texts, and a column without a value has no type
    is_text = pa.types.is_string(stored) or pa.types.is_large_string(stored) or pa.types.is_null(stored)
    return "cell" if is_text else "other"
