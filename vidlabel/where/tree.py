"""What a condition is made of. `at` is the place in the text that an error points at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal as OneOf
from typing import TypeAlias

Comparison = OneOf["<", "<=", ">", ">=", "==", "!="]
Sign = OneOf["+", "-", "*", "/"]
Function = OneOf["abs", "length", "lower"]


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    at: int


@dataclass(frozen=True, slots=True)
class Literal:
    value: float | str | bool
    at: int


@dataclass(frozen=True, slots=True)
class Negative:
    operand: Node
    at: int


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """From left to right: a long sum is no deep tree."""

    first: Node
    rest: tuple[tuple[Sign, Node], ...]
    at: int


@dataclass(frozen=True, slots=True)
class Call:
    function: Function
    argument: Node
    at: int


@dataclass(frozen=True, slots=True)
class Compare:
    """`0.1 < motion <= 0.5` has two."""

    first: Node
    rest: tuple[tuple[Comparison, Node], ...]
    at: int


@dataclass(frozen=True, slots=True)
class OneOfThese:
    """`camera in ("pan", "zoom")`."""

    item: Node
    options: tuple[Literal, ...]
    at: int


@dataclass(frozen=True, slots=True)
class Inside:
    """`"short" in flags`: one of a list; `"dog" in caption`: a part of a text."""

    item: Node
    whole: Node
    at: int


@dataclass(frozen=True, slots=True)
class IsNull:
    operand: Node
    at: int


@dataclass(frozen=True, slots=True)
class Not:
    operand: Node
    at: int


@dataclass(frozen=True, slots=True)
class And:
    parts: tuple[Node, ...]
    at: int


@dataclass(frozen=True, slots=True)
class Or:
    parts: tuple[Node, ...]
    at: int


Node: TypeAlias = (
    Column | Literal | Negative | Arithmetic | Call | Compare | OneOfThese | Inside | IsNull | Not | And | Or
)


def children(node: Node) -> tuple[Node, ...]:
    if isinstance(node, And | Or):
        return node.parts
    if isinstance(node, Arithmetic | Compare):
        return (node.first, *(operand for _, operand in node.rest))
    if isinstance(node, Negative | IsNull | Not):
        return (node.operand,)
    if isinstance(node, Call):
        return (node.argument,)
    if isinstance(node, OneOfThese):
        return (node.item, *node.options)
    return (node.item, node.whole) if isinstance(node, Inside) else ()


def columns_of(node: Node) -> dict[str, Column]:
    """Each column once, where it is named first."""
    if isinstance(node, Column):
        return {node.name: node}
    found: dict[str, Column] = {}
    for child in children(node):
        for name, column in columns_of(child).items():
            found.setdefault(name, column)
    return found
