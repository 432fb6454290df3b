"""Whether two answers to one question say the same. Judged by what the question wants (yes or no, a number, a colour),
else by the words that the answers share."""

from __future__ import annotations

import re

from vidlabel.quality.answers import COLOUR_WORDS, asks_for
from vidlabel.quality.words import stem, word_set, words_of

_SHARED = 0.5  # F1 of the telling words from which two answers count as one
_DULL = word_set(
    "the a an is are was were be been it its this that these those there here of in on at to by for with from and or "
    "as into he she they his her their him them who which one some video clip shows seen can looks like appears very"
)
_YES, _NO = word_set("yes yeah yep true correct"), word_set("no nope not none nobody nothing never false")
_NUMBERS = {
    word: number
    for number, words in enumerate(
        ("zero no none", "one single", "two both pair couple", "three", "four", "five", "six", "seven", "eight", "nine",
         "ten", "eleven", "twelve")
    )
    for word in words.split()
}  # fmt: skip
_ZH_NUMBERS = {
    char: number for number, chars in enumerate(("零没无", "一", "二两", *"三四五六七八九十")) for char in chars
}
_ZH_COLOUR = re.compile("[红橙黄绿青蓝紫黑白灰棕粉褐金银]")
_ZH_NOT = re.compile("[不没]|否")
_ZH_DULL = re.compile(r"[\W的了是在有着和与一个这那视频中里]")
_HAN = re.compile("[㐀-䶿一-鿿]")


def agree(question: str, one: str, other: str) -> bool:
    """Symmetric in the two answers. An empty answer agrees with nothing."""
    if not one.strip() or not other.strip():
        return False
    if _HAN.search(one) or _HAN.search(other):
        return _agree_chinese(question, one, other)
    mine, theirs = words_of(one), words_of(other)
    if mine == theirs:
        return True
    wanted = asks_for(question)
    if wanted == "number":
        numbers = _number(mine), _number(theirs)
        if None not in numbers:
            return numbers[0] == numbers[1]
    if wanted == "colour":
        colours = set(mine) & COLOUR_WORDS, set(theirs) & COLOUR_WORDS
        if all(colours):
            return colours[0] == colours[1]
    sides = _side(mine), _side(theirs)
    if None not in sides and sides[0] != sides[1]:
        return False
    if sides[0] is not None and sides[0] == sides[1] and min(len(mine), len(theirs)) <= 2:
        return True  # "Yes." and "Yes, a dog is there."
    return _share(set(mine) - _DULL, set(theirs) - _DULL) >= _SHARED


def _number(words: list[str]) -> int | None:
    for word in words:
        if word.isdecimal():
            return int(word)
        if word in _NUMBERS:
            return _NUMBERS[word]
    return None


def _side(words: list[str]) -> bool | None:
    """Yes or no, by how the answer begins; a "not" in its midst is left to the shared words."""
    if words[:1] and words[0] in _YES:
        return True
    return False if words[:1] and words[0] in _NO else None


def _share(one: set[str], other: set[str]) -> float:
    """F1 of two sets; words count by their stem, so that "runs" is "running"."""
    mine, theirs = {stem(word) for word in one}, {stem(word) for word in other}
    return 2 * len(mine & theirs) / (len(mine) + len(theirs)) if mine and theirs else 0.0


def _agree_chinese(question: str, one: str, other: str) -> bool:
    wanted = asks_for(question)
    if wanted == "number":
        numbers = _zh_number(one), _zh_number(other)
        if None not in numbers:
            return numbers[0] == numbers[1]
    if wanted == "colour":
        colours = set(_ZH_COLOUR.findall(one)), set(_ZH_COLOUR.findall(other))
        if all(colours):
            return colours[0] == colours[1]
    if wanted == "yes or no" and bool(_ZH_NOT.match(one)) != bool(_ZH_NOT.match(other)):
        return False
    mine, theirs = set(_ZH_DULL.sub("", one)), set(_ZH_DULL.sub("", other))
    if not mine or not theirs:
        return one.strip("。！!. ") == other.strip("。！!. ")
    return 2 * len(mine & theirs) / (len(mine) + len(theirs)) >= _SHARED


def _zh_number(text: str) -> int | None:
    found = re.search(r"\d+", text)
    if found:
        return int(found[0])
    return next((_ZH_NUMBERS[char] for char in text if char in _ZH_NUMBERS), None)
