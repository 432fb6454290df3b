"""Words -> tree.

condition   or       :  and ("or" and)*
            and      :  not ("and" not)*
            not      :  "not" not | compared
            compared :  sum (("<" | "<=" | ...) sum)* | sum ["not"] "in" (list | sum) | sum "is" ["not"] "null"
            sum      :  product (("+" | "-") product)*
            product  :  signed (("*" | "/") signed)*
            signed   :  "-" signed | number | text | "true" | "false" | column | function "(" or ")" | "(" or ")"
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NoReturn, cast

from vidlabel.errors import InputError
from vidlabel.where.tokens import WORDS, Token, fault, tokens
from vidlabel.where.tree import (
    And,
    Arithmetic,
    Call,
    Column,
    Compare,
    Comparison,
    Function,
    Inside,
    IsNull,
    Literal,
    Negative,
    Node,
    Not,
    OneOfThese,
    Or,
    Sign,
    columns_of,
)

MAX_DEPTH = 30
FUNCTIONS = ("abs", "length", "lower")
_COMPARISONS = {"<": "<", "<=": "<=", ">": ">", ">=": ">=", "=": "==", "==": "==", "!=": "!=", "<>": "!="}


@dataclass(frozen=True, slots=True)
class Part:
    """One of the conditions that `and` joins: all of them must be true."""

    text: str
    tree: Node
    columns: Mapping[str, Column] = field(hash=False, compare=False)  # that it looks at


@dataclass(frozen=True, slots=True)
class Parsed:
    """A condition as written, before it is known which columns there are."""

    source: str
    text: str  # however it was spaced
    parts: tuple[Part, ...]

    @property
    def columns(self) -> dict[str, Column]:
        return {name: column for part in reversed(self.parts) for name, column in part.columns.items()}


def parse(text: str) -> Parsed:
    words = tokens(text)
    if len(words) == 1:
        raise InputError('--where: nothing is there; write a condition, for example "motion > 0.2"')
    parser = _Parser(text, words)
    parts = parser.whole()
    return Parsed(text, _spaced(words[:-1]), tuple(parts))


class _Parser:
    def __init__(self, text: str, words: list[Token]) -> None:
        self._text = text
        self._words = words
        self._at = 0
        self._depth = 0

    def whole(self) -> list[Part]:
        tree = self._or()
        if self._next.kind != "end":
            self._fault("an operator should be here, for example and, or, >, in")
        cuts = [0, *self._joints(), len(self._words)]
        if not isinstance(tree, And) or len(cuts) != len(tree.parts) + 1:  # or the `and` is within brackets
            return [_part(self._words[:-1], tree)]
        pieces = [self._words[start : stop - 1] for start, stop in pairwise(cuts)]
        return [_part(piece, part) for piece, part in zip(pieces, tree.parts, strict=True)]

    def _joints(self) -> list[int]:
        """After each `and` that is in no bracket."""
        joints, depth = [], 0
        for number, word in enumerate(self._words, start=1):
            depth += word.says("(", "[") - word.says(")", "]")
            if depth == 0 and word.says("and"):
                joints.append(number)
        return joints

    @property
    def _next(self) -> Token:
        return self._words[self._at]

    def _take(self, *texts: str) -> Token | None:
        """The next word, if it is one of these."""
        word = self._next
        if not word.says(*texts):
            return None
        self._at += 1
        return word

    def _expect(self, text: str) -> None:
        if self._take(text) is None:
            self._fault(f"{text} should be here")

    def _fault(self, problem: str, at: int | None = None) -> NoReturn:
        fault(self._text, self._next.at if at is None else at, problem)

    # ---- from the loosest to the tightest ------------------------------------------------------------------------

    def _or(self) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._fault(f"more than {MAX_DEPTH} brackets in each other")
        parts = [self._and()]
        while self._take("or"):
            parts.append(self._and())
        self._depth -= 1
        return parts[0] if len(parts) == 1 else Or(tuple(parts), parts[0].at)

    def _and(self) -> Node:
        parts = [self._not()]
        while self._take("and"):
            parts.append(self._not())
        return parts[0] if len(parts) == 1 else And(tuple(parts), parts[0].at)

    def _not(self) -> Node:
        nots = []
        while word := self._take("not"):
            nots.append(word)
        node = self._compared()
        return Not(node, nots[-1].at) if len(nots) % 2 else node  # three-valued or not, two of them are none

    def _compared(self) -> Node:
        first = self._sum()
        rest: list[tuple[Comparison, Node]] = []
        while word := self._take(*_COMPARISONS):
            if self._next.says("null"):
                self._fault("nothing is equal to a missing value; write is null, or is not null")
            rest.append((cast(Comparison, _COMPARISONS[word.text]), self._sum()))
        if rest:
            return Compare(first, tuple(rest), first.at)
        if self._take("is"):
            negated = self._take("not") is not None
            self._expect("null")
            return Not(IsNull(first, first.at), first.at) if negated else IsNull(first, first.at)
        negated = self._next.says("not") and self._words[self._at + 1].says("in")
        self._at += negated
        if (word := self._take("in")) is None:
            return first
        inside = self._inside(first, word)
        return Not(inside, first.at) if negated else inside

    def _inside(self, item: Node, word: Token) -> Node:
        close = ")" if self._next.says("(") else "]" if self._next.says("[") else None
        if close is None:
            return Inside(item, self._sum(), word.at)
        self._at += 1
        options: list[Literal] = []
        while not self._take(close):
            options.append(self._option())
            if not self._take(",") and not self._next.says(close):
                self._fault(f", or {close} should be here")
        if not options:
            self._fault("an empty list, which nothing is in", word.at)
        return OneOfThese(item, tuple(options), word.at)

    def _option(self) -> Literal:
        at, node = self._next.at, self._signed()
        if isinstance(node, Negative) and isinstance(node.operand, Literal) and isinstance(node.operand.value, float):
            return Literal(-node.operand.value, at)
        if not isinstance(node, Literal):
            self._fault("a list holds texts or numbers alone", at)
        return node

    def _sum(self) -> Node:
        return self._arithmetic(("+", "-"), self._product)

    def _product(self) -> Node:
        return self._arithmetic(("*", "/"), self._signed)

    def _arithmetic(self, signs: tuple[Sign, ...], operand: Callable[[], Node]) -> Node:
        first = operand()
        rest: list[tuple[Sign, Node]] = []
        while word := self._take(*signs):
            rest.append((cast(Sign, word.text), operand()))
        return Arithmetic(first, tuple(rest), first.at) if rest else first

    def _signed(self) -> Node:
        at, num_signs = self._next.at, 0
        while self._take("-"):
            num_signs += 1
        node = self._single()
        return Negative(node, at) if num_signs % 2 else node

    def _single(self) -> Node:
        word = self._next
        if word.says("("):
            return self._bracketed()
        if word.says(*WORDS) and not word.says("true", "false"):
            self._fault("a column, a number or a text should be here")
        if word.kind not in ("number", "text", "name", "word"):
            self._fault("a column, a number or a text should be here")
        self._at += 1
        if word.kind == "number":
            return Literal(float(word.text), word.at)
        if word.kind == "text":
            return Literal(word.text, word.at)
        if word.says("true", "false"):
            return Literal(word.text == "true", word.at)
        if word.kind == "word" and self._next.says("("):
            if word.text not in FUNCTIONS:
                self._fault(f"no function {word.text}; there are {', '.join(FUNCTIONS)}", word.at)
            return Call(cast(Function, word.text), self._bracketed(), word.at)
        return Column(word.text, word.at)

    def _bracketed(self) -> Node:
        self._expect("(")
        node = self._or()
        self._expect(")")
        return node


def _part(words: list[Token], tree: Node) -> Part:
    return Part(_spaced(words), tree, columns_of(tree))


def _spaced(words: list[Token]) -> str:
    """The same for the same words, however they were spaced."""
    text = words[0].written
    for before, word in pairwise(words):
        is_close = before.says("(", "[") or word.says(")", "]", ",") or (word.says("(") and before.text in FUNCTIONS)
        text += word.written if is_close else f" {word.written}"
    return text
