"""A condition asked of one row. None is a missing value, and the answer to what cannot be told because of one."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeAlias

from vidlabel.where.tree import (
    And,
    Arithmetic,
    Call,
    Column,
    Compare,
    Inside,
    IsNull,
    Literal,
    Negative,
    Node,
    Not,
    OneOfThese,
    Or,
)

Value: TypeAlias = float | str | bool | Sequence[str | float | None] | None
Row: TypeAlias = Mapping[str, Value]  # of the kinds that the condition was bound to

_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_SIGNS: Mapping[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}


def value_of(node: Node, row: Row) -> Value:
    if isinstance(node, Literal):
        return node.value
    if isinstance(node, Column):
        return row[node.name]
    if isinstance(node, And | Or):
        return _joined((value_of(part, row) for part in node.parts), decided_by=isinstance(node, Or))
    if isinstance(node, Not):
        value = value_of(node.operand, row)
        return None if value is None else not value
    if isinstance(node, IsNull):
        return value_of(node.operand, row) is None
    if isinstance(node, Compare):
        return _compared(node, row)
    if isinstance(node, OneOfThese):
        item = value_of(node.item, row)
        return None if item is None else any(item == option.value for option in node.options)
    if isinstance(node, Inside):
        item, whole = value_of(node.item, row), value_of(node.whole, row)
        return None if item is None or whole is None else item in whole  # type: ignore[operator]
    if isinstance(node, Call):
        return _called(node, value_of(node.argument, row))
    return _number(node, row)


def _joined(values: Iterator[Value], *, decided_by: bool) -> bool | None:
    """`and` is decided by one that is false, `or` by one that is true; what is missing decides nothing."""
    is_unknown = False
    for value in values:
        if value is None:
            is_unknown = True
        elif value is decided_by:
            return decided_by
    return None if is_unknown else not decided_by


def _compared(node: Compare, row: Row) -> bool | None:
    values = [value_of(node.first, row), *(value_of(operand, row) for _, operand in node.rest)]
    return _joined(
        (
            None if left is None or right is None else _COMPARISONS[sign](left, right)
            for (sign, _), left, right in zip(node.rest, values[:-1], values[1:], strict=True)
        ),
        decided_by=False,
    )


def _number(node: Negative | Arithmetic, row: Row) -> float | None:
    """What is no number, as a division by zero, is missing."""
    if isinstance(node, Negative):
        operand = value_of(node.operand, row)
        return None if operand is None else -operand  # type: ignore[operator]
    result = value_of(node.first, row)
    for sign, term in node.rest:
        operand = value_of(term, row)
        if result is None or operand is None or (sign == "/" and operand == 0):
            return None
        result = _SIGNS[sign](result, operand)  # type: ignore[arg-type]
        if not math.isfinite(result):
            return None
    return result  # type: ignore[return-value]


def _called(node: Call, value: Value) -> Value:
    if value is None:
        return None
    if node.function == "abs":
        return abs(value)  # type: ignore[arg-type]
    if node.function == "length":
        return float(len(value))  # type: ignore[arg-type]
    assert isinstance(value, str)
    return lower(value)


def lower(text: str) -> str:
    """As arrow has it: the two know some letters of the world differently."""
    if text.isascii():
        return text.lower()
    import pyarrow as pa
    import pyarrow.compute as pc

    return str(pc.utf8_lower(pa.scalar(text)).as_py())


def as_kind(value: object, kind: str) -> Value:
    """A value of JSON or of a cell as what a condition takes it for; a ValueError where it is none."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if kind == "number":
        return _as_number(value)
    if kind == "truth":
        return _as_truth(value)
    if kind in ("texts", "numbers"):
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise ValueError(f"{value!r} is not a list")
        return [as_kind(item, kind.removesuffix("s")) for item in value]  # type: ignore[misc]
    return value if isinstance(value, str) else value.isoformat() if isinstance(value, datetime) else str(value)


def _as_number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{value!r} is not a number")
    if value == "":
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise ValueError(f"{value!r} is not a number") from None
    return number if math.isfinite(number) else None


def _as_truth(value: object) -> bool | None:
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else None
    if word not in ("", "true", "false"):
        raise ValueError(f"{value!r} is neither true nor false")
    return None if word == "" else word == "true"
