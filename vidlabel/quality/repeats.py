"""Which captions are said of many different clips of a run: one hallucination copied, or a caption that fits anything.

Holds hashes and no texts, 16 bytes for each row.
"""

from __future__ import annotations

from array import array
from hashlib import blake2b

from vidlabel.quality.thresholds import DEFAULTS, Thresholds
from vidlabel.quality.words import words_of


class Repeats:
    """Counts clips, not rows: what two questions about one clip were answered with alike counts once.

    For captions. That many answers are "Yes." says nothing of them, so texts of under three words are no duplicates.
    Add everything first, then ask: the counting is done at the first question after an `add`.
    """

    def __init__(self, thresholds: Thresholds = DEFAULTS) -> None:
        self._thresholds = thresholds
        self._clips = array("Q")
        self._texts = array("Q")  # of the same row as the clip
        self._num_clips = 0
        self._often: dict[int, int] | None = {}  # texts of enough clips -> how many; None while not counted

    def add(self, clip_id: str, text: str) -> None:
        self._clips.append(_hash(clip_id))
        self._texts.append(_key(text))
        self._often = None

    @property
    def found(self) -> bool:
        """Whether any text may be a duplicate; where none is, no row needs to be looked at."""
        return bool(self._counted())

    def is_duplicate(self, text: str) -> bool:
        often = self._counted()
        num_clips = often.get(_key(text)) if often else None
        if num_clips is None:
            return False
        words = words_of(text)
        if len(words) < self._thresholds.caption_words:
            return False
        by_character = not words[0].isascii()
        common = self._thresholds.common_chars if by_character else self._thresholds.common_words
        return len(words) > common or num_clips > self._thresholds.common_share * self._num_clips

    def _counted(self) -> dict[int, int]:
        if self._often is None:
            self._often, self._num_clips = _count(self._clips, self._texts, self._thresholds.duplicate_clips)
        return self._often


def can_repeat(task: str, text: str, thresholds: Thresholds = DEFAULTS) -> bool:
    """Whether the same text for many clips is a fault: short answers are true of many."""
    if task != "qa":
        return True
    return len(text.split()) > thresholds.common_words or (not text.isascii() and len(text) > thresholds.common_chars)


def _count(clips: array[int], texts: array[int], least: int) -> tuple[dict[int, int], int]:
    """The texts said of at least so many clips, with the number of those clips; and the number of all clips."""
    import numpy as np  # `vidlabel --help` comes by here and must be quick

    clip_of, text_of = np.frombuffer(clips, np.uint64), np.frombuffer(texts, np.uint64)
    num_clips = len(np.unique(clip_of))
    keys, num_rows = np.unique(text_of, return_counts=True)
    may_be = np.isin(text_of, keys[num_rows >= least])  # few, so that pairs are sorted of few rows
    pairs = np.unique(np.stack((text_of[may_be], clip_of[may_be])), axis=1)
    keys, num_clips_of = np.unique(pairs[0], return_counts=True)
    enough = num_clips_of >= least
    return dict(zip(keys[enough].tolist(), num_clips_of[enough].tolist(), strict=True)), num_clips


def _key(text: str) -> int:
    """Equal for texts that differ in case and spaces alone."""
    text = text.lower()
    if "  " in text or not text.isprintable():  # as line ends and all spaces but the common one are not: seldom so
        text = " ".join(text.split())
    return _hash(text.strip().rstrip(".。!！ "))


def _hash(text: str) -> int:
    """64 bits, the same in every process."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
