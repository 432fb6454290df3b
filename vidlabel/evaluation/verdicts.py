"""What a judge is asked about an answer, and how its reply is read. The protocol is that of Video-ChatGPT's evaluation,
the words are our own: whether an answer is right (yes or no, and 0 to 5), or one of five aspects (0 to 5).
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from vidlabel.evaluation.answered import Answered
from vidlabel.train.layouts import CONSISTENCY, GENERIC, TEMPORAL

Kind = Literal["match", "correctness", "detail", "context", "temporal", "consistency"]

# which aspects the parts of Video-ChatGPT's set are made for; of any other set it is whether answers match
KINDS: dict[str, tuple[Kind, ...]] = {
    GENERIC: ("correctness", "detail", "context"),
    TEMPORAL: ("temporal",),
    CONSISTENCY: ("consistency",),
}
_ROLE = "You grade answers to questions about videos. You are given the right answer; you do not see the video."
_RULES: dict[Kind, str] = {
    "match": (
        "Decide whether the given answer means the same as the right answer. Other words for the same thing, and more "
        "words around it, are no mistake; another meaning is."
    ),
    "correctness": (
        "Grade how factually correct the given answer is. Everything that it claims must agree with the right answer; "
        "a claim that contradicts it or is made up costs points. Other words for the same thing do not."
    ),
    "detail": (
        "Grade how complete and how specific the given answer is. It should cover the main points of the right answer, "
        "with details of this video and not generalities. Other words for the same thing are fine."
    ),
    "context": (
        "Grade how well the given answer understands what the video is about as a whole. It should fit the context and "
        "the main themes that the right answer shows, and not talk past them."
    ),
    "temporal": (
        "Grade how well the given answer gets the order in time. What happens, and what comes before and after what, "
        "must be as in the right answer."
    ),
    "consistency": (
        "You are given two questions that mean much the same, with one right answer, and an answer given to each. "
        "Grade how consistent the two given answers are with each other and with the right answer."
    ),
}
_FORMAT_MATCH = (
    'Reply with one JSON object and nothing else: {"pred": "yes", "score": 4}. pred is "yes" or "no"; score is a whole '
    "number from 0 (nothing in common) to 5 (the same)."
)
_FORMAT_SCORE = (
    'Reply with one JSON object and nothing else: {"score": 4}. score is a whole number from 0 (worst) to 5 (best).'
)
_OBJECT = re.compile(r"\{[^{}]*\}")
_SCORE = re.compile(r"score['\"]*\s*[:=]\s*['\"]?(\d+(?:\.\d+)?)", re.IGNORECASE)
_PRED = re.compile(r"pred['\"]*\s*[:=]\s*['\"]?(yes|no)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A reply, read."""

    score: int  # 0 to 5
    is_match: bool | None = None  # of `match`


def prompt_for(kind: Kind, answers: Sequence[Answered]) -> tuple[str, str]:
    """The system's and the user's message about an answer; of `consistency` about two."""
    lines = []
    for number, answer in enumerate(answers, start=1):
        which = f" {number}" if len(answers) > 1 else ""
        lines += [f"Question{which}: {answer.question}"]
    lines += [f"Right answer: {' / or: '.join(answers[0].references)}"]
    for number, answer in enumerate(answers, start=1):
        which = f" to question {number}" if len(answers) > 1 else ""
        lines += [f"Given answer{which}: {answer.said}"]
    form = _FORMAT_MATCH if kind == "match" else _FORMAT_SCORE
    return f"{_ROLE} {_RULES[kind]}", "\n".join([*lines, "", form])


def read_verdict(kind: Kind, reply: str) -> Verdict | None:
    """None where the reply says nothing that can be counted. A score with a fraction is cut, as the protocol does."""
    values = _object_in(reply)
    score = _number(values.get("score")) if values else None
    pred = str(values.get("pred", "")) if values else ""
    if score is None and (found := _SCORE.search(reply)):
        score = float(found[1])
    if not pred and (found := _PRED.search(reply)):
        pred = found[1]
    if score is None or not 0 <= score <= 5:
        return None
    if kind != "match":
        return Verdict(int(score))
    said = pred.strip().lower()
    return Verdict(int(score), said == "yes") if said in ("yes", "no") else None


def _object_in(reply: str) -> dict[str, object]:
    """As JSON or as Python writes it: models give either, whatever they are asked for."""
    for found in _OBJECT.findall(reply):
        for read in (json.loads, ast.literal_eval):
            try:
                values = read(found)
            except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
                continue
            if isinstance(values, dict):
                return {str(name).strip().lower(): value for name, value in values.items()}
    return {}


def _number(value: object) -> float | None:
    try:
        return None if isinstance(value, bool) or value is None else float(str(value))
    except ValueError:
        return None
