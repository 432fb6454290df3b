"""Columns brought to the type that a reader of them needs, whatever another tool stored them as.

Flags are a list of texts; in a file that has no lists they are one text, as `truncated;short` or as a JSON list.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from vidlabel.errors import InputError

_TRUTHS = {"true": True, "false": False}  # of csv cells
FLAGS_TYPE = pa.list_(pa.string())
_WRONG = (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError, ValueError, TypeError)


def as_type(column: pa.Array, wanted: pa.DataType, path: Path, name: str) -> pa.Array:
    """An arrow column in another type; an InputError names file and column where a value does not fit."""
    if column.type == wanted:
        return column
    try:
        if pa.types.is_list(wanted) and not _is_list(column.type):
            return pa.array([split_flags(text) for text in column.cast(pa.string()).to_pylist()], wanted)
        if pa.types.is_floating(wanted) and _is_text(column.type):
            text = pc.utf8_trim_whitespace(column.cast(pa.string()))
            return pc.if_else(pc.equal(text, ""), None, text).cast(wanted)
        return column.cast(wanted)
    except _WRONG as error:
        raise _misfit(path, name, wanted, error) from error


def as_array(values: Sequence[Any], wanted: pa.DataType, path: Path, name: str) -> pa.Array:
    """Python values, of JSON or of csv cells, as a column."""
    try:
        if pa.types.is_list(wanted):
            values = [split_flags(value) if isinstance(value, str) else value for value in values]
        elif pa.types.is_timestamp(wanted):
            values = [datetime.fromisoformat(value) if isinstance(value, str) else value for value in values]
        elif pa.types.is_floating(wanted):
            values = [float(value) if isinstance(value, str) else value for value in values]
        elif pa.types.is_boolean(wanted):
            values = [
                _TRUTHS.get(value.strip().lower(), value) if isinstance(value, str) else value for value in values
            ]
        return pa.array(values, wanted)
    except _WRONG as error:
        raise _misfit(path, name, wanted, error) from error


def split_flags(text: str | None) -> list[str] | None:
    if text is None:
        return None
    if text.lstrip().startswith("["):
        return [str(flag) for flag in json.loads(text)]
    return [flag for flag in re.split(r"[;,|\s]+", text) if flag]


def _is_list(stored: pa.DataType) -> bool:
    return any(is_kind(stored) for is_kind in (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list))


def _is_text(stored: pa.DataType) -> bool:
    return any(is_kind(stored) for is_kind in (pa.types.is_string, pa.types.is_large_string, pa.types.is_dictionary))


def _misfit(path: Path, name: str, wanted: pa.DataType, error: Exception) -> InputError:
    meant = "a list of flags" if wanted == FLAGS_TYPE else "text" if wanted == pa.string() else f"{wanted} values"
    return InputError(f"{path}: the column {name} should hold {meant} ({error})")
