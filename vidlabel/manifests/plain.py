"""Manifests of our own kind: one row a video, a span or a question, with a column that names the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from vidlabel.data import Question, Span
from vidlabel.errors import InputError
from vidlabel.manifests.mention import Mention, cell, text_of
from vidlabel.paths import Places, row_name
from vidlabel.times import parse_time

# what each column may be called, the first that is there counts; upper and lower case are the same
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "video": ("video", "path", "file_name", "video_path"),
    "id": ("id", "clip_id"),
    "video_id": ("video_id",),  # in rows with a span; where whole files share one, it says something else
    "start": ("start", "start_seconds"),
    "end": ("end", "end_seconds"),
    "subtitle": ("subtitle",),
    "question": ("question",),
    "language": ("language",),
}


def lower_names(names: Sequence[str]) -> dict[str, str]:
    """The columns by their names in lower case; of two that differ in case alone the exact one counts."""
    return {name.strip().lower(): name for name in reversed(names)} | {name: name for name in names}


@dataclass(frozen=True, slots=True)
class PlainColumns:
    """Which column plays which part, and which are carried, for rows with these columns."""

    parts: Mapping[str, str]
    carried: Mapping[tuple[bool, bool], tuple[str, ...]]  # in rows that have a question, that have a span


def plain_columns(names: Sequence[str], where: str) -> PlainColumns:
    lower = lower_names(names)
    parts = {}
    for part, accepted in COLUMNS.items():
        for candidate in accepted:
            if candidate in lower:
                parts[part] = lower[candidate]
                break
    if "video" not in parts:
        accepted_names = ", ".join(COLUMNS["video"])
        raise InputError(
            f"{where}: no video column among {', '.join(map(str, names)) or 'no columns'}; "
            f"name one of them {accepted_names}"
        )
    carried = {}
    for asks, has_span in product((False, True), repeat=2):
        # columns that say nothing about a row are carried like any other
        taken = set(parts.values())
        if not asks:
            taken.discard(parts.get("language", ""))
        if not has_span:
            taken.discard(parts.get("video_id", ""))
        carried[asks, has_span] = tuple(name for name in names if name not in taken)
    return PlainColumns(parts, carried)


def plain_mention(
    row: Mapping[str, object], columns: PlainColumns, where: tuple[str, int], places: Places, base: str
) -> Mention:
    parts = columns.parts

    def text(part: str) -> str | None:
        return text_of(row[parts[part]], part, where) if part in parts else None

    path = text("video")
    if path is None:
        raise InputError(f"{row_name(*where)}: column {parts['video']} is empty; it must name a video file")
    location = places.locate(path, base=base, where=where)
    span, subtitle, asked, video_id = _span(row, parts, where), text("subtitle"), text("question"), text("video_id")
    extra = {name: cell(row[name]) for name in columns.carried[asked is not None, span is not None]}
    question = None
    if asked is not None:
        question = Question(asked, pool="manifest", task="qa", language=text("language") or "en", extra=extra)
    below_root = places.below_root(location)
    return Mention(
        where=where,
        location=location,
        identity=below_root or location,
        path=below_root or path,
        span=span,
        row_id=text("id"),
        video_id=None if span is None else video_id,
        subtitle=None if subtitle is None else places.locate(subtitle, base=base, where=where),
        question=question,
        extra=extra,
    )


def _span(row: Mapping[str, object], parts: Mapping[str, str], where: tuple[str, int]) -> Span | None:
    start, end = _time(row, parts.get("start"), where), _time(row, parts.get("end"), where)
    if start is None and end is None:
        return None
    if end is not None and end <= (start or 0.0):
        raise InputError(f"{row_name(*where)}: end {end:g} s is not after start {start or 0.0:g} s")
    return Span(start or 0.0, end)


def _time(row: Mapping[str, object], column: str | None, where: tuple[str, int]) -> float | None:
    try:
        return None if column is None else parse_time(row[column])
    except ValueError as error:
        raise InputError(f"{row_name(*where)}: {column} {error}") from error
