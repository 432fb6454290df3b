"""How the checks here read a text: its words, and what is left of it outside quotation marks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

SPACELESS = "぀-ヿ㐀-䶿一-鿿豈-﫿"  # scripts without spaces: each character counts as a word

_WORD = re.compile(rf"[{SPACELESS}]|[^\W_{SPACELESS}]+(?:'[^\W_{SPACELESS}]+)*")
_ASCII_WORD = re.compile(r"[a-z0-9]+(?:'[a-z0-9]+)*")
_HAS_SPACELESS = re.compile(rf"[{SPACELESS}]")
_QUOTED = re.compile(
    r'"[^"]*"|“[^”]*”|「[^」]*」|『[^』]*』|《[^》]*》|«[^»]*»|„[^“”]*[“”]'
    r"|(?<!\w)['‘][^\n]{1,300}?['’](?!\w)"  # an apostrophe has a letter on both sides, or behind it
)
_QUOTE_MARKS = "“「『《«„‘"


@dataclass(frozen=True, slots=True)
class Reading:
    """A text in the forms that the checks need, made once."""

    text: str  # stripped
    lower: str
    words: list[str]
    vocabulary: frozenset[str]
    spaceless: bool  # has characters of a script without spaces
    plain: str  # `text` outside quotation marks


def read(text: str) -> Reading:
    text = text.strip()
    lower = text.lower()
    if text.isascii():
        words, spaceless = _ASCII_WORD.findall(lower), False
        plain = _QUOTED.sub(" ", text) if '"' in text or "'" in text else text
    else:
        lower = _plain_marks(lower)
        words, spaceless = _WORD.findall(lower), is_spaceless(lower)
        has_quotes = '"' in text or "'" in text or any(mark in text for mark in _QUOTE_MARKS)
        plain = _QUOTED.sub(" ", text) if has_quotes else text
    return Reading(text, lower, words, frozenset(words), spaceless, plain)


def is_spaceless(text: str) -> bool:
    """Whether it has characters of a script without spaces."""
    return not text.isascii() and _HAS_SPACELESS.search(text) is not None


def word_set(words: str) -> frozenset[str]:
    """For the word lists of the checks."""
    return frozenset(words.split())


def words_of(text: str) -> list[str]:
    """Lower case, without punctuation."""
    return _WORD.findall(_plain_marks(text.lower()))


def _plain_marks(lower: str) -> str:
    """The Turkish capital I with a dot is two characters in lower case, of which the second would end the word."""
    return lower.replace("’", "'").replace("i\u0307", "i")


@lru_cache(maxsize=4096)  # a run has few instructions and many answers to each
def question_words(question: str) -> tuple[str, ...]:
    return tuple(words_of(question))


def contains_run(words: list[str], run: tuple[str, ...]) -> bool:
    return f" {' '.join(run)} " in f" {' '.join(words)} "


def stem(word: str) -> str:
    """Roughly: "running", "runs" and "run" are one."""
    for ending in ("ing", "ed", "es", "s", "ly"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word.removesuffix(ending)
            break
    word = word[:-1] if len(word) > 3 and word[-1] == word[-2] else word
    return word.removesuffix("e")
