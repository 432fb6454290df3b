"""Whether a text goes round in circles: words, phrases, sentences, list items or characters that come again and again.

Chinese and Japanese are judged by characters, other scripts by words.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache

from vidlabel.quality.thresholds import Thresholds
from vidlabel.quality.words import Reading, words_of

_PUNCTUATION = "!?.,-_*#~=|/。！？，、…·"
_LONG_WORD = 20  # only a word longer than any real one is searched for loops of its characters
_SENTENCE_END = re.compile(r"[.!?。！？\n]+")
_ITEM_END = re.compile(r"[,;，、；\n。]|\band\b|\bor\b|[.!?](?:\s|$)")
_ITEM_OPENING = re.compile(r"^\s*(?:[-*•]\s*)?(?:\d+[.)]\s*)?(?:(?:and|a|an|the)\s+)*")
_LINE_NUMBER = re.compile(r"^\s*\d+[.)]\s*", re.MULTILINE)
_NEAREST = 400  # repeats further apart than this are no loop


def is_repetitive(reading: Reading, thresholds: Thresholds) -> bool:
    if _characters_loop(reading, thresholds):
        return True
    words: Sequence[str] = reading.words
    if "\n" in reading.text and _LINE_NUMBER.search(reading.text):
        words = words_of(_LINE_NUMBER.sub("", reading.text))  # "1. A man 2. A man" hides its loop behind numbers
    threes = list(zip(words, words[1:], words[2:], strict=False))
    num_repeated = len(threes) - len(set(threes))
    if num_repeated < 2:  # every loop below has more: this spares nearly all texts the rest
        return False
    if len(words) >= thresholds.repeated_share_words and num_repeated > thresholds.repeated_share * len(threes):
        return True
    return (
        _words_loop(words, threes, thresholds, by_character=reading.spaceless)
        or _sentences_repeat(reading, thresholds)
        or _items_repeat(reading, thresholds)
    )


def _characters_loop(reading: Reading, thresholds: Thresholds) -> bool:
    if any(run in reading.text for run in _runs(thresholds.character_run)):
        return True
    if not reading.words or max(map(len, reading.words)) < _LONG_WORD:
        return False
    loop = _loop(thresholds.character_run)
    return any(loop.search(word) for word in reading.words if len(word) >= _LONG_WORD)


@cache
def _runs(length: int) -> tuple[str, ...]:
    return tuple(mark * length for mark in _PUNCTUATION)


@cache
def _loop(times: int) -> re.Pattern[str]:
    return re.compile(rf"(.{{1,8}}?)\1{{{times - 1},}}")


def _words_loop(
    words: Sequence[str], threes: Sequence[tuple[str, str, str]], thresholds: Thresholds, *, by_character: bool
) -> bool:
    """Whether something stands several times in a row."""
    sentence = thresholds.sentence_chars if by_character else thresholds.sentence_words
    for period in sorted(_distances(threes)):
        if period == 1:
            enough = thresholds.same_word_run
        elif period == 2:
            enough = thresholds.pair_repeats
        else:
            enough = thresholds.phrase_repeats if period < sentence else 2
        if _longest_match(words, period) + period >= enough * period:
            return True
    return False


def _distances(threes: Sequence[tuple[str, str, str]]) -> set[int]:
    """How far apart equal runs of three words stand: the only lengths that a loop can have."""
    last: dict[tuple[str, str, str], int] = {}
    distances = set()
    for position, three in enumerate(threes):
        if three in last and position - last[three] <= _NEAREST:
            distances.add(position - last[three])
        last[three] = position
    return distances


def _longest_match(words: Sequence[str], period: int) -> int:
    """The most words in a row that equal the word one period before."""
    longest = run = 0
    for before, word in zip(words, words[period:], strict=False):
        run = run + 1 if before == word else 0
        longest = max(longest, run)
    return longest


def _sentences_repeat(reading: Reading, thresholds: Thresholds) -> bool:
    enough = thresholds.sentence_chars if reading.spaceless else thresholds.sentence_words
    seen = set()
    for sentence in _SENTENCE_END.split(reading.lower):
        words = tuple(words_of(sentence))
        if len(words) >= enough and words in seen:
            return True
        seen.add(words)
    return False


def _items_repeat(reading: Reading, thresholds: Thresholds) -> bool:
    items = Counter(_items(reading.lower))
    num_items = items.total()
    return num_items >= thresholds.list_items and num_items - len(items) >= thresholds.list_repeated_share * num_items


def _items(lower: str) -> Iterator[str]:
    for part in _ITEM_END.split(lower):
        item = _ITEM_OPENING.sub("", part).strip()
        if item:
            yield item
