"""Columns as the page takes them: numbers as numbers, texts that repeat as a list of them and where each stands."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

_MAX_CHOICES = 60  # more values than that are searched, not picked from a list
_SEARCHED = ("text", "prompt", "label_id")  # however few they are
_MAX_TEXT = 4_000  # characters of a column that is not the label itself


def page_column(name: str, values: Sequence[Any]) -> dict[str, object] | None:
    """None where the column says nothing."""
    if not any(value is not None for value in values):
        return None
    if all(value is None or (isinstance(value, float | int) and not isinstance(value, bool)) for value in values):
        return {"name": name, "kind": "number", "values": [_number(value) for value in values]}
    texts = [None if value is None else str(value)[:_MAX_TEXT] for value in values]
    codes = _codes(texts)
    num_texts = sum(text is not None for text in texts)
    if len(codes) > max(_MAX_CHOICES, num_texts // 2):
        return {"name": name, "kind": "text", "values": texts}
    # where nothing repeats, a list of values would be a list of labels
    repeats = len(codes) < num_texts and name not in _SEARCHED
    is_choice = repeats and len(codes) <= _MAX_CHOICES and all(len(text) <= 80 for text in codes)
    places = [-1 if text is None else codes[text] for text in texts]
    return {"name": name, "kind": "choice" if is_choice else "text", "dictionary": list(codes), "codes": places}


def flags_column(flags: Sequence[Sequence[str] | None]) -> dict[str, object]:
    """Each row's flags as numbers."""
    codes: dict[str, int] = {}
    rows = [[codes.setdefault(flag, len(codes)) for flag in of_row or () if flag is not None] for of_row in flags]
    return {"name": "flags", "kind": "flags", "dictionary": list(codes), "rows": rows}


def plain_values(column: pa.Array) -> list[Any]:
    """As JSON can hold them."""
    kind = column.type
    if pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        values: list[Any] = column.to_pylist()
        return values
    return [None if value is None else value if isinstance(value, str) else str(value) for value in column.to_pylist()]


def _codes(texts: Sequence[str | None]) -> dict[str, int]:
    codes: dict[str, int] = {}
    for text in texts:
        if text is not None:
            codes.setdefault(text, len(codes))
    return codes


def _number(value: float | None) -> float | int | None:
    if value is None or not math.isfinite(value):
        return None
    return value if isinstance(value, int) else float(f"{value:.6g}")
