"""Whether an answer is right: word for word, after the normalisation usual for such questions, or in a sentence.

Normalised is an answer in lower case without punctuation, articles and apostrophes, its numbers from none to ten in
digits: "The dogs' 2 bowls." and "dogs two bowls" are the same. Of several references one must be met.
"""

from __future__ import annotations

import re
import unicodedata

from vidlabel.evaluation.answered import Answered
from vidlabel.quality.words import SPACELESS, contains_run

_ARTICLES = frozenset({"a", "an", "the"})
_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_DIGITS = {word: str(number) for number, word in enumerate(_NUMBERS)} | {"none": "0"}
_CHINESE_DIGITS = {word: str(number) for number, word in enumerate("零一二三四五六七八九十")} | {"两": "2"}
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}\b)")
_WORD = re.compile(rf"\d+(?:\.\d+)?|[{SPACELESS}]|[^\W\d_{SPACELESS}]+")


def is_exact(answer: Answered) -> bool:
    return answer.said.strip() in {reference.strip() for reference in answer.references}


def is_right(answer: Answered) -> bool:
    """After normalisation."""
    said = normalised(answer.said)
    return any(said == normalised(reference) for reference in answer.references)


def holds_answer(answer: Answered) -> bool:
    """A right answer stands in what was said, as models answer in sentences: its words, one after the other."""
    said = normalised(answer.said)
    wanted = (normalised(reference) for reference in answer.references)
    return any(words and contains_run(said, tuple(words)) for words in wanted)


def normalised(text: str) -> list[str]:
    """The words that count. A text of nothing else, say "the", keeps them."""
    plain = unicodedata.normalize("NFKC", text).casefold().replace("'", "").replace("’", "")
    words = _WORD.findall(_THOUSANDS.sub("", plain))
    words = [_DIGITS.get(word, _CHINESE_DIGITS.get(word, word)) for word in words]
    return [word for word in words if word not in _ARTICLES] or words
