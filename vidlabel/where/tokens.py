"""The text of a condition as words, each with its place."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal, NoReturn

from vidlabel.errors import InputError

MAX_CHARACTERS = 10_000
_SHOWN = 24  # characters of the text after the place of an error

Kind = Literal["number", "text", "name", "word", "sign", "end"]

WORDS = ("and", "or", "not", "in", "is", "null", "true", "false")  # in any case, unless in backticks
_SPACE = re.compile(r"\s+")
_PATTERNS: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    ("number", re.compile(r"(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?(?![\w.])", re.ASCII)),
    ("text", re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", re.DOTALL)),
    ("name", re.compile(r"`[^`]+`")),
    ("word", re.compile(r"[^\W\d]\w*")),
    ("sign", re.compile(r"<=|>=|==|!=|<>|[<>=+\-*/(),\[\]]")),
)
_ESCAPES = {"n": "\n", "t": "\t", "\\": "\\", "'": "'", '"': '"'}
_MEANT = {
    "&": "write and",
    "|": "write or",
    "!": "write not",
    "~": "write not",
    "%": "there is no remainder",
    ".": "names with a dot in them are written in backticks",
    "'": "a text without an end",
    '"': "a text without an end",
    "`": "a column's name without an end",
}


@dataclass(frozen=True, slots=True)
class Token:
    kind: Kind
    text: str  # what it means: without quotes and backticks, and in lower case if it is one of `WORDS`
    at: int
    written: str

    def says(self, *texts: str) -> bool:
        return self.kind in ("word", "sign") and self.text in texts


def tokens(text: str) -> list[Token]:
    """All words and an end. InputError where the text holds anything else."""
    if len(text) > MAX_CHARACTERS:
        raise InputError(f"--where: {len(text):,} characters; {MAX_CHARACTERS:,} are the most")
    found: list[Token] = []
    at = 0
    while at < len(text):
        if space := _SPACE.match(text, at):
            at = space.end()
            continue
        found.append(_token(text, at))
        at += len(found[-1].written)
    return [*found, Token("end", "", len(text), "")]


def fault(text: str, at: int, problem: str) -> NoReturn:
    """The one line of everything that is wrong with a condition: what, and where."""
    rest = " ".join(text[at : at + _SHOWN].split())
    place = f"at {rest!r}{'...' if len(text) > at + _SHOWN else ''} (character {at + 1})" if rest else "at its end"
    raise InputError(f"--where: {problem}, {place}")


def _token(text: str, at: int) -> Token:
    for kind, pattern in _PATTERNS:
        if match := pattern.match(text, at):
            meaning = _meaning(kind, match[0], text, at)
            return Token(kind, meaning, at, meaning if kind == "word" else match[0])
    if text[at].isdigit() or (text[at] == "." and text[at + 1 : at + 2].isdigit()):
        fault(text, at, "not a number")
    meant = _MEANT.get(text[at])
    fault(text, at, meant or f"{text[at]!r} means nothing here")


def _meaning(kind: Kind, found: str, text: str, at: int) -> str:
    if not found.isascii() and any("\ud800" <= character <= "\udfff" for character in found):
        fault(text, at, "bytes that are not UTF-8")
    if kind == "number" and not math.isfinite(float(found)):
        fault(text, at, "a number too large")
    if kind == "text":
        return re.sub(r"\\(.)", lambda escape: _unescaped(escape[1], text, at), found[1:-1], flags=re.DOTALL)
    if kind == "name":
        return found[1:-1]
    return found.lower() if kind == "word" and found.lower() in WORDS else found


def _unescaped(character: str, text: str, at: int) -> str:
    if character not in _ESCAPES:
        fault(text, at, f"\\{character} means nothing in a text; a backslash is written twice")
    return _ESCAPES[character]
