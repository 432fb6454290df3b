"""What a model is taught or examined on: one picture or video, what is asked of it, and what is right to say."""

from __future__ import annotations

import logging
import re
from collections import Counter
from dataclasses import dataclass, field

from vidlabel.data import Task, Video
from vidlabel.errors import InputError

logger = logging.getLogger(__name__)

NO_TEXT, NO_VIDEO = "have no text", "have no video of their name there"  # why a row is left out
_HAN = re.compile(r"[\u3400-\u9fff]")


@dataclass(frozen=True, slots=True)
class Example:
    """One question to one video, or span of it, or picture, with the answer that is right.

    `example_id` is the same for the same example wherever it stands, and so for one that stands there twice.
    """

    example_id: str
    video: Video | None  # exactly one of video and image
    image: str | None  # of a still picture: an absolute path
    question: str | None  # None: an instruction is to be drawn from a pool
    answer: str
    language: str = "en"  # BCP-47, of the answer
    task: Task = "caption"
    references: tuple[str, ...] = ()  # further answers that are right, to be measured against
    group: str = ""  # of a test set in parts: the part, say an aspect or a kind of question
    pair: str = ""  # of two questions that mean the same: what both have here

    def __post_init__(self) -> None:
        if (self.video is None) == (self.image is None):
            raise ValueError(f"an example has a video or an image, got {self.video = }, {self.image = }")
        if not self.example_id or not self.answer.strip():
            raise ValueError(f"an example has an id and an answer, got {self.example_id = }, {self.answer = }")
        if self.question is not None and not self.question.strip():
            raise ValueError(f"a question needs text, got {self.question = }")
        if not all(reference.strip() for reference in self.references):
            raise ValueError(f"a reference needs text, got {self.references = }")

    @property
    def source(self) -> str:
        """The file."""
        return self.image if self.video is None else self.video.location  # type: ignore[return-value]  # see above


class NoTextsError(InputError):
    """The inputs may be right, but hold no texts of the task that was asked for."""


@dataclass(slots=True)
class ExampleTally:
    """What became of the rows of some inputs; complete when they have been gone through."""

    num_given: int = 0
    left_out: Counter[str] = field(default_factory=Counter)  # reason -> rows
    places: dict[str, str] = field(default_factory=dict)  # reason -> the first such row

    def leave_out(self, reason: str, where: str) -> None:
        self.left_out[reason] += 1
        self.places.setdefault(reason, where)

    def add(self, other: ExampleTally, *, but: str | None = None) -> None:
        """What became of further rows, without those whose reason begins as `but` does."""
        self.num_given += other.num_given
        for reason, count in other.left_out.items():
            if but is None or not reason.startswith(but):
                self.left_out[reason] += count
                self.places.setdefault(reason, other.places[reason])

    @property
    def reasons(self) -> str:
        return "; ".join(f"{count} {reason} (first: {self.places[reason]})" for reason, count in self.left_out.items())

    def report(self) -> None:
        """Warn of what is left out."""
        if self.left_out:
            logger.warning("%d examples are read; left out: %s", self.num_given, self.reasons)


def language_of(text: str) -> str:
    """Of the two that vidlabel speaks, by the script; for where nobody says."""
    return "zh" if _HAN.search(text) else "en"
