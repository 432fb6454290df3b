"""Checks on an answer: pure functions from what was said, and what was asked, to flags. No flag means clean.

One answer is judged alone by `flags_of`; `Repeats` sees all captions of a run. What each check takes for a fault is in
its module, and the numbers are in `Thresholds`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from vidlabel.data import FinishReason, Task
from vidlabel.quality.answers import asks_for, ignores, says_back
from vidlabel.quality.copies import copies_subtitles
from vidlabel.quality.endings import breaks_off
from vidlabel.quality.language import is_wrong_language
from vidlabel.quality.loops import is_repetitive
from vidlabel.quality.noise import is_noisy
from vidlabel.quality.openings import has_opening, strip_opening
from vidlabel.quality.repeats import Repeats, can_repeat
from vidlabel.quality.thresholds import DEFAULTS, Thresholds
from vidlabel.quality.wording import leaks, refuses
from vidlabel.quality.words import Reading, read

__all__ = [
    "FLAGS",
    "Repeats",
    "Said",
    "Thresholds",
    "asks_for",
    "can_repeat",
    "flags_of",
    "has_opening",
    "strip_opening",
]

FLAGS: Mapping[str, str] = {
    "empty": "nothing was said: no letter and no digit",
    "truncated": "breaks off: the length limit was hit, or the last sentence has no end",
    "repetitive": "words, phrases, sentences or list items go round in a loop",
    "short": "too short for what was asked",
    "leak": "template or instruction text: <Img>, [INST], role names, the instruction itself",
    "prefix": 'opens with "The video shows" or the like, which --strip-openings removes',
    "refusal": 'refuses or cannot tell: "As an AI", "I cannot see"',
    "wrong_language": "not in the language that was asked for",
    "subtitle_copy": "says little more than the subtitles",
    "noise": "encoding rubbish, control characters, markup, e-mail or web addresses",
    "ignores": "does not answer the question: no number to how many, no colour to what colour",
    "echo": "says the question back",
    "duplicate": "the same text for many different clips of the run",
}
_ASKS_DETAIL = re.compile(
    r"\b(?:detail(?:s|ed)?|thorough(?:ly)?|full paragraph|as fully as|at length)\b|详细|完整|一整段|细节", re.IGNORECASE
)
_ASKS_WORDS = re.compile(
    r"\b(?:(?<!own )(?<!into )(?<!your )words?|keywords?|tags?|name the)\b|词|关键字", re.IGNORECASE
)
_ASKS_ASPECT = re.compile(  # "Tense." and "A kitchen." say the mood or the place, and no more was asked
    r"\b(?:only|just|nothing but) (?:the|its|who|what|where|how|whether)\b"
    r"|^where\b|^(?:what|which|who|how|is)\b[^.?]*\b(?:mood|feeling|feel|atmosphere|setting|camera|shot|subject|action"
    r"|movements|(?<!take )(?<!takes )place|where (?:does|is))\b"
    r"|[只仅](?:描述|说|指出|介绍|写)|(?:主体|动作|场景|地方|镜头|景别|角度|氛围|感觉|情绪)[^。]*[？?]",
    re.IGNORECASE,
)
_ASKS_EXPLANATION = re.compile(r"^(?:why|describe|explain)\b|为什么|为何|请描述|请解释", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One answer, and what is needed to judge it."""

    text: str
    task: Task = "caption"
    question: str = ""  # the instruction or question that was put
    language: str = "en"  # asked for
    finish_reason: FinishReason | None = None
    subtitles: str = ""  # what the model was shown as subtitles


def flags_of(said: Said, thresholds: Thresholds = DEFAULTS) -> tuple[str, ...]:
    """In the order of FLAGS. `duplicate` is never among them: it needs the whole run."""
    reading = read(said.text)
    cut = said.finish_reason == "length"
    if not reading.words and not any(map(str.isalnum, reading.text)):
        return ("empty", "truncated") if cut else ("empty",)
    task, question, language = said.task, said.question, said.language
    is_qa = task == "qa"
    checks = (
        ("truncated", cut or breaks_off(reading, thresholds)),
        ("repetitive", is_repetitive(reading, thresholds)),
        ("short", _is_short(reading, said, thresholds)),
        ("leak", leaks(reading, task, question, thresholds)),
        ("prefix", has_opening(reading.text, language, talk_only=is_qa)),
        ("refusal", refuses(reading, task, question)),
        ("wrong_language", is_wrong_language(reading, language, thresholds)),
        ("subtitle_copy", copies_subtitles(reading, task, question, said.subtitles, thresholds)),
        ("noise", is_noisy(reading, question, thresholds)),
        ("ignores", is_qa and ignores(reading, question)),
        ("echo", is_qa and says_back(reading, question, thresholds)),
    )
    return tuple(flag for flag, is_so in checks if is_so)


def _is_short(reading: Reading, said: Said, thresholds: Thresholds) -> bool:
    """By the words, or Chinese characters, that this kind of question wants at least."""
    num_words = len(reading.words)
    if num_words >= thresholds.detailed_chars:
        return False
    if said.task == "qa":
        return num_words < thresholds.explanation_words and _ASKS_EXPLANATION.search(said.question) is not None
    wants_detail = _ASKS_DETAIL.search(said.question) is not None
    if not wants_detail and (_ASKS_WORDS.search(said.question) or _ASKS_ASPECT.search(said.question)):
        return False
    by_character = reading.spaceless
    if num_words < (thresholds.caption_chars if by_character else thresholds.caption_words):
        return True
    least = thresholds.detailed_chars if by_character else thresholds.detailed_words
    return wants_detail and num_words < least
