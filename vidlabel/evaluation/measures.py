"""Everything that is said of a set of answers in numbers, for the whole and for its parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from vidlabel.evaluation.accuracy import holds_answer, is_exact, is_right
from vidlabel.evaluation.answered import Answered, mean_over
from vidlabel.evaluation.likeness import Likeness, likeness
from vidlabel.quality.words import words_of


@dataclass(frozen=True, slots=True)
class Measures:
    """Of one set of answers. Shares are 0 to 1."""

    num_answers: int
    loss: float | None  # of the references
    exact: float
    right: float  # after normalisation
    holds: float  # the right answer stands in it
    likeness: Likeness
    mean_words: float  # Chinese characters are words
    mean_reference_words: float
    flagged: float
    flags: Mapping[str, int] = field(default_factory=dict, hash=False)  # flag -> answers that have it


def measure(answers: Sequence[Answered], loss: float | None) -> Measures:
    flags = Counter(flag for answer in answers for flag in answer.flags)
    return Measures(
        num_answers=len(answers),
        loss=loss,
        exact=mean_over(answers, is_exact),
        right=mean_over(answers, is_right),
        holds=mean_over(answers, holds_answer),
        likeness=likeness(answers),
        mean_words=mean_over(answers, lambda answer: len(words_of(answer.said))),
        mean_reference_words=mean_over(answers, lambda answer: len(words_of(answer.references[0]))),
        flagged=mean_over(answers, lambda answer: bool(answer.flags)),
        flags=dict(flags.most_common()),
    )


def parts(answers: Sequence[Answered]) -> dict[str, list[Answered]]:
    """By task, and where a set has parts by these, as `qa` and `qa, colour`; whole tasks first."""
    found: dict[str, list[Answered]] = {}
    for answer in answers:
        found.setdefault(answer.task, []).append(answer)
        if answer.group:
            found.setdefault(f"{answer.task}, {answer.group}", []).append(answer)
    return dict(sorted(found.items()))
