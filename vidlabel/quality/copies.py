"""Whether an answer is made of the subtitles. What is said may be reported, in quotation marks or when asked for."""

from __future__ import annotations

from vidlabel.data import Task
from vidlabel.quality.thresholds import Thresholds
from vidlabel.quality.words import Reading, question_words, word_set, words_of

_SPEECH = word_set(
    "say says said saying speak speaks spoken speaking speech hear heard voice word words subtitle subtitles talk "
    "talks talking tell tells told mention mentions mentioned lyrics sing sings sung line lines read reads written "
    "text quote narrator 说 谈 讲 听 词 幕 话 唱 读 念 写"
)
_REPORTING_WORDS = 2  # outside a quotation: "She says" and a quotation is a report, a quotation alone is not


def copies_subtitles(reading: Reading, task: Task, question: str, subtitles: str, thresholds: Thresholds) -> bool:
    if not subtitles or (task == "qa" and not _SPEECH.isdisjoint(question_words(question))):
        return False
    run = thresholds.copied_run_chars if reading.spaceless else thresholds.copied_run
    said = words_of(subtitles)
    runs = set(zip(*(said[start:] for start in range(run)), strict=False))
    outside = reading.words if reading.plain is reading.text else words_of(reading.plain)
    num_quoted = len(reading.words) - len(outside)
    if (
        num_quoted >= max(thresholds.quoted_words, thresholds.quoted_share * len(reading.words))
        or len(outside) < _REPORTING_WORDS
    ):
        outside = reading.words
    if len(outside) <= run:
        return False
    return _num_covered(outside, runs, run) >= thresholds.copied_share * len(outside)


def _num_covered(words: list[str], runs: set[tuple[str, ...]], run: int) -> int:
    """How many words stand in a run that the subtitles have too."""
    num_covered = covered_to = 0
    for start in range(len(words) - run + 1):
        if tuple(words[start : start + run]) in runs:
            num_covered += start + run - max(start, covered_to)
            covered_to = start + run
    return num_covered
