"""Turns cues as they stand on the screen into running speech: each word once, at the time it first came up."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from vidlabel.cue_files import ShownCue
from vidlabel.data import Cue

_REPEAT_GAP_SECONDS = 0.25  # a text that comes again at once is one text shown in two cues, not said twice
_ROLLING_GAP_SECONDS = 5.0  # rolling captions keep their last line on the screen over a pause
_MAX_OVERLAP = 200  # words; nothing rolls longer than that
# Thai, Lao, Chinese, Japanese: written without spaces between words
_UNSPACED = "\u0e00-\u0eff\u2e80-\ua4cf\uf900-\ufaff\uff00-\uffef"
_WORD = re.compile(f"[{_UNSPACED}]|[^\\s{_UNSPACED}]+")


def read_once(shown: Sequence[ShownCue]) -> tuple[Cue, ...]:
    """The words of `shown` (in order of time), none twice because a caption rolls.

    Rolling captions show the line before once more above the new one, or a line that grows:

        0-2  hello world              0-2  hello world
        2-4  hello world / this is -> 2-4  this is
        4-6  this is / a test         4-6  a test
    """
    pairs = list(pairwise(shown))
    carried = sum(_gap(a, b) <= _ROLLING_GAP_SECONDS and _overlap(a, b, rolling=True) > 0 for a, b in pairs)
    rolling = carried >= 2 and 2 * carried >= len(pairs)
    max_gap = _ROLLING_GAP_SECONDS if rolling else _REPEAT_GAP_SECONDS
    cues: list[Cue] = [_cue(first, 0) for first in shown[:1]]
    for before, cue in pairs:
        skip = _overlap(before, cue, rolling=rolling) if _gap(before, cue) <= max_gap else 0
        if skip < len(_words(cue.lines)):
            cues.append(_cue(cue, skip))
        elif _gap(before, cue) > _REPEAT_GAP_SECONDS:  # said again
            cues.append(_cue(cue, 0))
        else:  # nothing new: the last text is shown longer
            last = cues[-1]
            cues[-1] = Cue(last.start_seconds, max(last.end_seconds, cue.end_seconds), last.text)
    return tuple(cues)


def _cue(shown: ShownCue, skip: int) -> Cue:
    """The cue without its first `skip` words."""
    text = " ".join(shown.lines)
    words = list(_WORD.finditer(text))
    return Cue(shown.start_seconds, shown.end_seconds, text[words[skip].start() :])


def _gap(before: ShownCue, cue: ShownCue) -> float:
    return cue.start_seconds - before.end_seconds


def _overlap(before: ShownCue, cue: ShownCue, *, rolling: bool) -> int:
    """How many words at the beginning of `cue` were already there at the end of `before`.

    Whole lines count always. Parts of lines count only where the file is known to roll: in other files "No" before
    "No, wait" is said twice.
    """
    old, new = _words(before.lines), _words(cue.lines)
    old_starts, new_ends = _edges(before.lines), _edges(cue.lines)
    for size in range(min(len(old), len(new), _MAX_OVERLAP), 0, -1):
        if old[-size:] != new[:size]:
            continue
        if len(old) - size in old_starts and size in new_ends:
            return size
        if rolling and (size >= 2 or size == len(old)):
            return size
    return 0


def _words(lines: Sequence[str]) -> list[str]:
    return [word for line in lines for word in _WORD.findall(line)]


def _edges(lines: Sequence[str]) -> set[int]:
    """The word counts at which a line begins or ends."""
    edges = [0]
    for line in lines:
        edges.append(edges[-1] + len(_WORD.findall(line)))
    return set(edges)
