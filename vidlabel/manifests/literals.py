"""A row of a published set, read by the names of its columns; cells may hold lists as Python writes them.

Whatever cannot be read is an InputError that names file, row and column. Nothing in a cell is ever run.
"""

from __future__ import annotations

import ast
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from vidlabel.data import Span
from vidlabel.errors import InputError
from vidlabel.manifests.mention import cell, text_of
from vidlabel.paths import row_name
from vidlabel.times import parse_time

MAX_LITERAL = 1 << 23  # characters; the longest cells that sets have published are a tenth of this


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """The cells of one row; columns go by their names in lower case."""

    cells: Mapping[str, object]
    columns: Mapping[str, str]  # lower case -> as it is written
    where: tuple[str, int]
    _lists: dict[str, list[object]] = field(default_factory=dict)

    def has(self, name: str) -> bool:
        return self.value(name) is not None

    def value(self, name: str) -> object:
        """The cell as it stands; None where it is empty or the set has no such column."""
        column = self.columns.get(name)
        return None if column is None else cell(self.cells.get(column))

    def text(self, name: str) -> str | None:
        return text_of(self.value(name), self.columns.get(name, name), self.where)

    def need(self, name: str) -> str:
        text = self.text(name)
        if text is None:
            raise self.wrong(name, "is empty" if name in self.columns else "is missing")
        return text.strip()

    def time(self, name: str) -> float:
        try:
            seconds = parse_time(self.value(name))
        except ValueError as error:
            raise self.wrong(name, f": {error}") from error
        if seconds is None:
            raise self.wrong(name, "is empty" if name in self.columns else "is missing")
        return seconds

    def number(self, name: str) -> float | None:
        """None where there is none. Frame numbers and rates."""
        value = self.value(name)
        try:
            number = None if value is None else float(value)  # type: ignore[arg-type]  # what it cannot read it says
        except (TypeError, ValueError) as error:
            raise self.wrong(name, f"must be a number, got {value!r}") from error
        if number is not None and not 0 <= number < math.inf:
            raise self.wrong(name, f"must be a number of 0 or more, got {value!r}")
        return number

    def list_of(self, name: str) -> list[object]:
        """A list, or the text of one as Python writes it. Read once a row."""
        if name in self._lists:
            return self._lists[name]
        value = self.value(name)
        if isinstance(value, str):
            value = self._literal(name, value)
        if not isinstance(value, Sequence) or isinstance(value, str | bytes):
            raise self.wrong(name, f"must be a list, got {_short(value)}")
        self._lists[name] = list(value)
        return self._lists[name]

    def span(self, name: str, pair: object) -> Span | None:
        """Two times; None where the second is not after the first, for there is nothing to label."""
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise self.wrong(name, f"must hold pairs of start and end, got {_short(pair)}")
        try:
            start, end = (parse_time(time) for time in pair)
        except ValueError as error:
            raise self.wrong(name, f": {error}") from error
        return self.between(name, start, end)

    def between(self, name: str, start: float | None, end: float | None) -> Span | None:
        if start is None or end is None:
            raise self.wrong(name, "must hold a start and an end")
        return Span(start, end) if end > start else None

    def wrong(self, name: str, what: str) -> InputError:
        column = self.columns.get(name, name)
        return InputError(f"{row_name(*self.where)}: column {column}{'' if what.startswith(':') else ' '}{what}")

    def _literal(self, name: str, text: str) -> object:
        if len(text) > MAX_LITERAL:
            raise self.wrong(name, f"is {len(text):,} characters long; at most {MAX_LITERAL:,} are read")
        try:
            with warnings.catch_warnings():  # a backslash in a caption is none of the user's business
                warnings.simplefilter("ignore", SyntaxWarning)
                return ast.literal_eval(text.strip())
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
            raise self.wrong(name, f"is no list as Python writes it: {_short(text)}") from error


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
