"""A condition and the columns that there are -> one that can be asked; or an InputError that points at the fault."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal as OneOf
from typing import NoReturn, TypeAlias

from vidlabel.where.parsing import Parsed, Part
from vidlabel.where.rows import Row, value_of
from vidlabel.where.tokens import fault
from vidlabel.where.tree import (
    And,
    Arithmetic,
    Call,
    Column,
    Compare,
    Inside,
    Literal,
    Negative,
    Node,
    Not,
    OneOfThese,
    Or,
)

# cell: a text of which nobody has said what it is, as all of a csv file are; the condition says it
Kind: TypeAlias = OneOf["number", "text", "truth", "texts", "numbers", "cell", "other"]
Kinds: TypeAlias = Mapping[str, Kind]

_SAID = {
    "number": "a number",
    "text": "a text",
    "truth": "true or false",
    "texts": "a list",
    "numbers": "a list",
    "cell": "a text",
    "other": "neither a number, nor a text, nor true or false",
}
_SHOWN = 30  # columns


@dataclass(frozen=True, slots=True)
class Where:
    """What every row that is kept must meet."""

    text: str
    parts: tuple[Part, ...]
    kinds: Kinds = field(hash=False)  # of the columns that it looks at; none is a cell any more

    def failed(self, row: Row) -> Part | None:
        """The first part that is not true of the row, of those that look at no other columns than the row has."""
        for part in self.parts:
            if part.columns.keys() <= row.keys() and value_of(part.tree, row) is not True:
                return part
        return None


def bind(parsed: Parsed, kinds: Kinds) -> Where:
    binding = _Binding(parsed.source, kinds)
    for part in parsed.parts:
        binding.need(part.tree, "truth")
    if not parsed.columns:
        fault(parsed.source, 0, "names no column, so that it is true of everything or of nothing")
    looked_at = {name: binding.resolved(name) for name in parsed.columns}
    return Where(parsed.text, parsed.parts, looked_at)


class _Binding:
    def __init__(self, source: str, kinds: Kinds) -> None:
        self._source = source
        self._kinds = kinds
        self._cells: dict[str, Kind] = {}  # what they turned out to be

    def resolved(self, name: str) -> Kind:
        kind = self._cells.get(name, self._kinds[name])
        return "text" if kind == "cell" else kind  # it is only asked whether it is null, or compared with another cell

    def need(self, node: Node, wanted: Kind) -> None:
        kind = self.kind(node)
        if kind == "cell":
            self._settle(node, wanted)
        elif kind != wanted:
            self._misfit(node, kind, wanted)

    def kind(self, node: Node) -> Kind:
        """Of a node whose parts fit together."""
        if isinstance(node, Literal):
            return _kind_of_literal(node)
        if isinstance(node, Column):
            return self._of_column(node)
        if isinstance(node, Negative | Arithmetic):
            for operand in (node.operand,) if isinstance(node, Negative) else _operands(node):
                self.need(operand, "number")
            return "number"
        if isinstance(node, Call):
            return self._of_call(node)
        if isinstance(node, Compare):
            self._compare(node)
        elif isinstance(node, OneOfThese):
            self._one_of_these(node)
        elif isinstance(node, Inside):
            self._inside(node)
        elif isinstance(node, Not | And | Or):
            for part in (node.operand,) if isinstance(node, Not) else node.parts:
                self.need(part, "truth")
        elif self.kind(node.operand) == "other":
            self._misfit(node.operand, "other", "text")
        return "truth"

    # ---- each form -----------------------------------------------------------------------------------------------

    def _of_column(self, column: Column) -> Kind:
        if column.name not in self._kinds:
            self._unknown(column)
        return self._cells.get(column.name, self._kinds[column.name])

    def _of_call(self, node: Call) -> Kind:
        if node.function != "length":
            self.need(node.argument, "number" if node.function == "abs" else "text")
            return "number" if node.function == "abs" else "text"
        kind = self.kind(node.argument)
        if kind == "cell":
            self._settle(node.argument, "text")
        elif kind not in ("text", "texts", "numbers"):
            self._misfit(node.argument, kind, "text")
        return "number"

    def _compare(self, node: Compare) -> None:
        operands = _operands(node)
        kind: Kind = next((kind for kind in map(self.kind, operands) if kind != "cell"), "text")
        if kind not in ("number", "text", "truth"):
            self._fault(operands[0], f'{_SAID[kind]} cannot be compared; write "..." in it, or length(...)')
        for operand in operands:
            self.need(operand, kind)
        if kind == "truth" and (sign := next((sign for sign, _ in node.rest if sign not in ("==", "!=")), None)):
            self._fault(node, f"true and false have no order, but are compared by {sign}")

    def _one_of_these(self, node: OneOfThese) -> None:
        kind = _kind_of_literal(node.options[0])
        for operand in (node.item, *node.options):
            self.need(operand, kind)

    def _inside(self, node: Inside) -> None:
        kind = self.kind(node.whole)
        if kind == "cell":
            self._settle(node.whole, "text")
        elif kind not in ("text", "texts", "numbers"):
            self._misfit(node.whole, kind, "text")
        self.need(node.item, "number" if kind == "numbers" else "text")
        if kind in ("cell", "text") and not isinstance(node.item, Literal):
            self._fault(node.item, "what is looked for in a text is itself a text in quotes")

    # ---- what is wrong -------------------------------------------------------------------------------------------

    def _settle(self, node: Node, kind: Kind) -> None:
        assert isinstance(node, Column)
        self._cells[node.name] = kind

    def _misfit(self, node: Node, kind: Kind, wanted: Kind) -> NoReturn:
        subject = node.name if isinstance(node, Column) else "this"
        if wanted == "truth":
            self._fault(node, f"{subject} is {_SAID[kind]}, not a condition; compare it with something")
        self._fault(node, f"{subject} is {_SAID[kind]}, where {_SAID[wanted]} should be")

    def _unknown(self, column: Column) -> NoReturn:
        names = sorted(self._kinds)
        near = difflib.get_close_matches(column.name, names, n=3, cutoff=0.6)
        near += [name for name in names if name.lower() == column.name.lower() and name not in near]
        meant = f"; did you mean {' or '.join(near)}?" if near else ""
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        there = "" if near else f"; there are {', '.join(names[:_SHOWN])}{more}"
        self._fault(column, f"no column {column.name}{meant}{there}")

    def _fault(self, node: Node, problem: str) -> NoReturn:
        fault(self._source, node.at, problem)


def _operands(node: Arithmetic | Compare) -> tuple[Node, ...]:
    return (node.first, *(operand for _, operand in node.rest))


def _kind_of_literal(node: Literal) -> Kind:
    return "truth" if isinstance(node.value, bool) else "number" if isinstance(node.value, float) else "text"
