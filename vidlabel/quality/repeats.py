"""Which captions are said of many different clips of a run: one hallucination copied, or a caption that fits anything.

Holds hashes and no texts: about 200 bytes for each different text and 100 for each further clip that it was said of.
"""

from __future__ import annotations

from hashlib import blake2b

from vidlabel.quality.thresholds import DEFAULTS, Thresholds
from vidlabel.quality.words import words_of


class Repeats:
    """Counts clips, not rows: what two questions about one clip were answered with alike counts once.

    For captions. That many answers are "Yes." says nothing of them, so texts of under three words are no duplicates.
    Add everything first, then ask.
    """

    def __init__(self, thresholds: Thresholds = DEFAULTS) -> None:
        self._thresholds = thresholds
        self._clips: set[int] = set()
        self._clips_of: dict[int, int | set[int]] = {}  # most texts are said of one clip: no set for those

    def add(self, clip_id: str, text: str) -> None:
        clip, key = _hash(clip_id), _key(text)
        self._clips.add(clip)
        known = self._clips_of.setdefault(key, clip)
        if isinstance(known, set):
            known.add(clip)
        elif known != clip:
            self._clips_of[key] = {known, clip}

    def is_duplicate(self, text: str) -> bool:
        known = self._clips_of.get(_key(text))
        if not isinstance(known, set) or len(known) < self._thresholds.duplicate_clips:
            return False
        words = words_of(text)
        if len(words) < self._thresholds.caption_words:
            return False
        by_character = not words[0].isascii()
        common = self._thresholds.common_chars if by_character else self._thresholds.common_words
        return len(words) > common or len(known) > self._thresholds.common_share * len(self._clips)


def can_repeat(task: str, text: str, thresholds: Thresholds = DEFAULTS) -> bool:
    """Whether the same text for many clips is a fault: short answers are true of many."""
    if task != "qa":
        return True
    return len(text.split()) > thresholds.common_words or (not text.isascii() and len(text) > thresholds.common_chars)


def _key(text: str) -> int:
    """Equal for texts that differ in case and spaces alone."""
    return _hash(" ".join(text.lower().split()).rstrip(".。!！ "))


def _hash(text: str) -> int:
    """63 bits, the same in every process."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big") >> 1
