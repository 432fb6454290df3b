"""The manifest's own columns in the labels: values of any JSON type, brought to one type a column without loss.

A kind is what a column has held so far. It only ever widens, over all parts and all runs:

    null < bool                      < mixed      int < bigint              list:KIND for lists of one scalar kind
    null < int < float               < mixed      (bigint: beyond 2**53, so not to be made a float)
    null < string                    < mixed      mixed: strings as they are, everything else as its JSON text
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa

Kinds = dict[str, str]  # column name -> kind, in column order

_EXACT_IN_FLOAT = 2**53
_NUMBERS = ("int", "bigint", "float")


def kind_of(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "null"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        if abs(value) <= _EXACT_IN_FLOAT:
            return "int"
        return "bigint" if -(2**63) <= value < 2**63 else "mixed"
    if isinstance(value, float):
        return "float" if math.isfinite(value) else "mixed"  # JSON has no infinity: its text is kept instead
    if isinstance(value, str):
        return "string"
    if isinstance(value, Sequence):
        return _list_of(unify_all(kind_of(item) for item in value))
    return "mixed"


def unify(first: str, second: str) -> str:
    """The narrowest kind that holds both without loss."""
    if first == second or second == "null":
        return first
    if first == "null":
        return second
    if first in _NUMBERS and second in _NUMBERS:
        if "float" not in (first, second):
            return "bigint"
        return "mixed" if "bigint" in (first, second) else "float"
    if first.startswith("list:") and second.startswith("list:"):
        return _list_of(unify(first.removeprefix("list:"), second.removeprefix("list:")))
    return "mixed"


def unify_all(kinds: Iterable[str]) -> str:
    result = "null"
    for kind in kinds:
        result = unify(result, kind)
    return result


def unify_columns(known: Mapping[str, str], more: Mapping[str, str]) -> Kinds:
    """Known columns first and in their order, then the new ones."""
    return {name: unify(known.get(name, "null"), more.get(name, "null")) for name in [*known, *more]}


def convert(value: object, kind: str) -> object:
    """A value, fresh or as stored under a narrower kind, as it is stored under `kind`."""
    if kind_of(value) == "null":
        return None
    if kind == "float" and isinstance(value, int):
        return float(value)
    if kind == "mixed" and not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False, default=str)
    if kind.startswith("list:") and isinstance(value, Sequence):
        return [convert(item, kind.removeprefix("list:")) for item in value]
    return value


def arrow_type(kind: str) -> pa.DataType:
    if kind.startswith("list:"):
        return pa.list_(arrow_type(kind.removeprefix("list:")))
    # `null` is stored as strings: many readers do not know a column without a type
    numbers = {"bool": pa.bool_(), "int": pa.int64(), "bigint": pa.int64(), "float": pa.float64()}
    return numbers.get(kind, pa.string())


def kind_of_type(stored: pa.DataType) -> str:
    """The kind of a column that somebody else added to a labels file."""
    if pa.types.is_boolean(stored):
        return "bool"
    if pa.types.is_integer(stored):
        return "int" if stored.bit_width <= 32 else "bigint"
    if pa.types.is_floating(stored):
        return "float"
    if pa.types.is_string(stored) or pa.types.is_large_string(stored):
        return "string"
    if pa.types.is_list(stored):
        return _list_of(kind_of_type(stored.value_type))
    return "null" if pa.types.is_null(stored) else "mixed"


def _list_of(kind: str) -> str:
    return "mixed" if kind == "mixed" or kind.startswith("list:") else f"list:{kind}"
