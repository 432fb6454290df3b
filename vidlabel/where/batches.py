"""A condition asked of many rows at once, with the answers of `rows.py`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vidlabel.where.binding import Kind
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

Columns: TypeAlias = Mapping[str, pa.Array]  # all of one length, of the kinds that the condition was bound to
Values: TypeAlias = Any  # an array, or a scalar where no column is looked at

_COMPARISONS = {
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
    "==": pc.equal,
    "!=": pc.not_equal,
}
_SIGNS = {"+": pc.add, "-": pc.subtract, "*": pc.multiply, "/": pc.divide}


_TYPES: Mapping[Kind, pa.DataType] = {
    "number": pa.float64(),
    "text": pa.string(),
    "truth": pa.bool_(),
    "texts": pa.list_(pa.string()),
    "numbers": pa.list_(pa.float64()),
}


def arrow_type(kind: Kind) -> pa.DataType:
    """What a column is to be before a condition is asked of it."""
    return _TYPES[kind]


def not_true(tree: Node, columns: Columns, num_rows: int) -> npt.NDArray[np.bool_]:
    """Which rows the condition is false of, or cannot be told of."""
    known = {name: finite(column) if pa.types.is_floating(column.type) else column for name, column in columns.items()}
    values = values_of(tree, known)
    if isinstance(values, pa.Scalar):
        return np.full(num_rows, values.as_py() is not True)
    met: npt.NDArray[np.bool_] = pc.fill_null(values, False).to_numpy(zero_copy_only=False)
    return ~met


def values_of(node: Node, columns: Columns) -> Values:
    if isinstance(node, Literal):
        return pa.scalar(node.value)
    if isinstance(node, Column):
        return columns[node.name]
    if isinstance(node, And | Or):
        join = pc.and_kleene if isinstance(node, And) else pc.or_kleene
        return reduce(join, (values_of(part, columns) for part in node.parts))
    if isinstance(node, Not):
        return pc.invert(values_of(node.operand, columns))
    if isinstance(node, IsNull):
        return pc.is_null(values_of(node.operand, columns))
    if isinstance(node, Compare):
        return _compared(node, columns)
    if isinstance(node, OneOfThese):
        return _one_of_these(node, values_of(node.item, columns))
    if isinstance(node, Inside):
        return _inside(node, columns)
    if isinstance(node, Call):
        return _called(node, values_of(node.argument, columns))
    return _numbers(node, columns)


def finite(values: Values) -> Values:
    """Without what is no number."""
    return pc.if_else(pc.is_finite(values), values, pa.scalar(None, pa.float64()))


def _compared(node: Compare, columns: Columns) -> Values:
    values = [values_of(node.first, columns), *(values_of(operand, columns) for _, operand in node.rest)]
    steps = zip(node.rest, values[:-1], values[1:], strict=True)
    return reduce(pc.and_kleene, (_COMPARISONS[sign](left, right) for (sign, _), left, right in steps))


def _numbers(node: Negative | Arithmetic, columns: Columns) -> Values:
    if isinstance(node, Negative):
        return pc.negate(values_of(node.operand, columns))
    result = values_of(node.first, columns)
    for sign, term in node.rest:
        result = finite(_SIGNS[sign](result, values_of(term, columns)))
    return result


def _one_of_these(node: OneOfThese, item: Values) -> Values:
    options = pa.array([option.value for option in node.options])
    if not pa.types.is_string(item.type):  # arrow looks numbers up by their bits, and zero has two signs
        return reduce(pc.or_kleene, (pc.equal(item, option) for option in options))
    return pc.if_else(pc.is_null(item), pa.scalar(None, pa.bool_()), pc.is_in(item, value_set=options))


def _called(node: Call, values: Values) -> Values:
    if node.function == "abs":
        return pc.abs(values)
    if node.function == "lower":
        return pc.utf8_lower(values)
    length = pc.list_value_length if pa.types.is_list(values.type) else pc.utf8_length
    return length(values).cast(pa.float64())


def _inside(node: Inside, columns: Columns) -> Values:
    item, whole = values_of(node.item, columns), values_of(node.whole, columns)
    if not pa.types.is_list(whole.type):
        assert isinstance(item, pa.Scalar)
        return pc.match_substring(whole, pattern=item.as_py())
    rows = pc.list_parent_indices(whole)
    wanted = item if isinstance(item, pa.Scalar) else item.take(rows)
    hits = pc.unique(rows.filter(pc.fill_null(pc.equal(pc.list_flatten(whole), wanted), False)))
    found = pc.is_in(pa.array(range(len(whole)), rows.type), value_set=hits)
    known = pc.and_(pc.is_valid(item), pc.is_valid(whole))
    return pc.if_else(known, found, pa.scalar(None, pa.bool_()))
