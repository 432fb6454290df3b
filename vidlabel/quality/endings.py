"""Whether a text breaks off before its end, judged by how it stops."""

from __future__ import annotations

import re

from vidlabel.quality.thresholds import Thresholds
from vidlabel.quality.words import Reading, word_set

_OPEN_MARKS = frozenset(",;:-–—(/&+[{<“‘「『《（【，、；：")
# Words that cannot end a sentence or hardly ever do. "on", "in" and "up" can: "a man putting his coat on".
_DANGLING = word_set(
    "the a an and or but nor of with from to at into onto for between towards toward during among against without "
    "his its their my our your this these those that which who whose whom while because although though if when as "
    "than is are was were be been being has have had including such very several various appears seems "
    "et ou le la les un une des du avec dans pour y o el los las con por para der die das und oder ein eine mit"
)
_DANGLING_PAIRS = frozenset({"and then", "but then", "before then", "front of", "next to"})
_DANGLING_CHINESE = (
    "和", "与", "及", "或", "并", "把", "被", "向", "从", "将", "让", "使", "而", "但", "且", "以", "于", "正", "穿着",
    "戴着", "拿着", "一个", "一位", "一名", "一只", "一条", "一些", "正在", "然后", "因为", "所以", "如果", "但是",
    "放进", "加入", "这个", "那个", "其中", "其",
)  # fmt: skip
_ABBREVIATIONS = word_set("mr mrs ms dr st no vs jr sr prof e.g i.e etc a.m p.m u.s u.k m.i.t approx ft")
_NEW_SENTENCE = re.compile(r"[.!?][\"'”’)]*\s+[\"'“‘(]?[A-ZÀ-Þ]")
_LIST_LINE = re.compile(r"\s*(?:[-*•]|\d+[.)])\s*\S")
_CHINESE_END = re.compile(r"[。！？]")


def breaks_off(reading: Reading, thresholds: Thresholds) -> bool:
    last = reading.text[-1]
    if not last.isalnum():
        return last in _OPEN_MARKS
    if _left_open(reading.text):
        return True
    if reading.spaceless:
        return _chinese_breaks_off(reading, thresholds)
    words = reading.words
    if words[-1] in _DANGLING and not reading.text.endswith("A"):  # "vitamin A"
        return True
    if " ".join(words[-2:]) in _DANGLING_PAIRS:
        return True
    if _LIST_LINE.match(reading.text.rsplit("\n", 1)[-1]):
        return False
    return len(words) >= thresholds.open_sentence_words or _has_earlier_sentence(reading.plain)


def _left_open(text: str) -> bool:
    return (
        text.count('"') % 2 == 1
        or text.count("(") > text.count(")")
        or text.count("“") > text.count("”")
        or text.count("（") > text.count("）")
        or text.count("「") > text.count("」")
    )


def _has_earlier_sentence(text: str) -> bool:
    """A text that ends one sentence ends them all; only a text of one sentence may have no full stop."""
    for match in _NEW_SENTENCE.finditer(text):
        before = text[max(0, match.start() - 10) : match.start()].split()
        if before and before[-1].lower().strip("\"'(") not in _ABBREVIATIONS:
            return True
    return False


def _chinese_breaks_off(reading: Reading, thresholds: Thresholds) -> bool:
    return (
        reading.text.endswith(_DANGLING_CHINESE)
        or len(reading.words) >= thresholds.open_sentence_chars
        or _CHINESE_END.search(reading.plain) is not None
    )
