"""Manifests of our own kind: one row a video, a span or a question, with a column that names the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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


def plain_columns(names: Sequence[str], where: str) -> dict[str, str]:
    """Which column plays which part."""
    lower = lower_names(names)
    columns = {}
    for role, accepted in COLUMNS.items():
        for candidate in accepted:
            if candidate in lower:
                columns[role] = lower[candidate]
                break
    if "video" not in columns:
        accepted_names = ", ".join(COLUMNS["video"])
        raise InputError(
            f"{where}: no video column among {', '.join(map(str, names)) or 'no columns'}; "
            f"name one of them {accepted_names}"
        )
    return columns


def plain_mention(
    row: Mapping[str, object], columns: Mapping[str, str], where: tuple[str, int], places: Places, base: str
) -> Mention:
    def text(role: str) -> str | None:
        return text_of(row[columns[role]], role, where) if role in columns else None

    path = text("video")
    if path is None:
        raise InputError(f"{row_name(*where)}: column {columns['video']} is empty; it must name a video file")
    location = places.locate(path, base=base, where=where)
    span, subtitle, asked, video_id = _span(row, columns, where), text("subtitle"), text("question"), text("video_id")
    # columns that say nothing about this row are carried like any other
    taken = set(columns.values())
    if asked is None:
        taken.discard(columns.get("language", ""))
    if span is None:
        taken.discard(columns.get("video_id", ""))
    extra = {name: cell(value) for name, value in row.items() if name not in taken}
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


def _span(row: Mapping[str, object], columns: Mapping[str, str], where: tuple[str, int]) -> Span | None:
    times: list[float | None] = []
    for role in ("start", "end"):
        try:
            times.append(parse_time(row[columns[role]]) if role in columns else None)
        except ValueError as error:
            raise InputError(f"{row_name(*where)}: {columns[role]} {error}") from error
    start, end = times
    if start is None and end is None:
        return None
    if end is not None and end <= (start or 0.0):
        raise InputError(f"{row_name(*where)}: end {end:g} s is not after start {start or 0.0:g} s")
    return Span(start or 0.0, end)
