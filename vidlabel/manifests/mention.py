"""A place in the inputs that asks for a video, and how the cells that name it are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from vidlabel.data import Question, Span
from vidlabel.errors import InputError
from vidlabel.paths import row_name


@dataclass(frozen=True, slots=True)
class Mention:
    """A place in the inputs that asks for a video, or for a span of one."""

    where: tuple[str, int]  # file and line; line 0: the input itself
    location: str
    identity: str  # what the video's id is made of, where it has none of its own: the path from the root
    path: str
    span: Span | None = None
    row_id: str | None = None
    video_id: str | None = None
    subtitle: str | None = None
    question: Question | None = None
    extra: Mapping[str, object] = field(default_factory=dict)


def text_of(value: object, role: str, where: tuple[str, int]) -> str | None:
    """A cell that must hold text; None when it is empty. Numbers will do, for ids are often numbers."""
    if isinstance(value, str):
        return value if value.strip() else None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # a table with gaps turns whole numbers into floats
    if cell(value) is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError(f"{row_name(*where)}: {role} must be a text, got {value!r}")
    return str(value)


def cell(value: object) -> object:
    """None for what means "nothing here": an empty text, NaN."""
    return None if value == "" or value != value else value
