"""One answer and what it should have been: what all measures here take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vidlabel.data import Task


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer to an example, and all that is known of both."""

    example_id: str
    task: Task
    question: str
    references: tuple[str, ...]  # that are right, the first one the example's own
    said: str
    language: str = "en"
    group: str = ""
    pair: str = ""
    flags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.references:
            raise ValueError(f"an answer needs a reference, got none for {self.example_id = }")


def mean_over(answers: Sequence[Answered], measure: Callable[[Answered], float]) -> float:
    return sum(map(measure, answers)) / len(answers)
