"""Folders, files and manifests -> the videos of a run, each file (or span of one) once, in the order of first mention.

All inputs are read and checked before any work starts: whatever is wrong with them is an InputError that names the
row. A file that is named but is not there is not wrong here; it fails later, alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from vidlabel.data import Question, Span, Video, stable_id
from vidlabel.errors import InputError
from vidlabel.folders import find_videos
from vidlabel.manifest_rows import EXTENSIONS, read_rows
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


@dataclass(frozen=True, slots=True)
class Mention:
    """A place in the inputs that asks for a video, or for a span of one."""

    where: tuple[str, int]  # file and line; line 0: the input itself
    location: str
    path: str
    span: Span | None = None
    row_id: str | None = None
    video_id: str | None = None
    subtitle: str | None = None
    question: Question | None = None
    extra: Mapping[str, object] = field(default_factory=dict)


def read_inputs(inputs: Sequence[str], *, root: str | None, lines: Iterable[str] | None) -> list[Video]:
    """Any mix of folders, video files, manifests, and `-` for `lines`, one path a line."""
    places = Places(root)
    found = _Found(places)
    for given in inputs:
        for mention in _mentions(given, places, lines):
            found.add(mention)
    return found.videos()


def _mentions(given: str, places: Places, lines: Iterable[str] | None) -> Iterator[Mention]:
    if given == "-":
        if lines is None:
            raise ValueError("the input - needs lines")
        return _from_lines(lines, places)
    kind = places.kind_of(given)
    if kind == "folder":
        return _from_folder(given, places)
    if Path(given).suffix.lower() in EXTENSIONS:
        return _from_manifest(given, places)
    return iter([_plain(given, (given, 0), given, places)])


def _from_folder(folder: str, places: Places) -> Iterator[Mention]:
    for name in find_videos(folder):
        yield _plain(f"{folder}/{name}", (f"{folder}/{name}", 0), name, places)


def _from_lines(lines: Iterable[str], places: Places) -> Iterator[Mention]:
    base = places.root or places.absolute(".")
    number = 0
    try:
        for number, line in enumerate(lines, start=1):
            path = line.rstrip("\r\n")
            if path.strip():
                yield _plain(path, ("standard input", number), path, places, base=base)
    except UnicodeDecodeError as error:
        raise InputError(f"standard input, after line {number}: not UTF-8") from error


def _plain(path: str, where: tuple[str, int], name: str, places: Places, base: str | None = None) -> Mention:
    location = places.locate(path, base=base or places.absolute("."), where=where)
    return Mention(where, location, places.below_root(location) or name)


def _from_manifest(file: str, places: Places) -> Iterator[Mention]:
    base = places.root or places.absolute(str(Path(file).parent))
    known: dict[tuple[str, ...], dict[str, str]] = {}  # which column is what; jsonl rows may differ
    for number, row in read_rows(file):
        names = tuple(row)
        columns = known.get(names)
        if columns is None:
            columns = known[names] = _columns(names, row_name(file, number))
        yield _from_row(row, columns, (file, number), places, base)


def _columns(names: Sequence[str], where: str) -> dict[str, str]:
    lower = {name.strip().lower(): name for name in reversed(names)} | {name: name for name in names}
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


def _from_row(
    row: Mapping[str, object], columns: Mapping[str, str], where: tuple[str, int], places: Places, base: str
) -> Mention:
    def text(role: str) -> str | None:
        return _text(row[columns[role]], role, where) if role in columns else None

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
    extra = {name: _cell(value) for name, value in row.items() if name not in taken}
    question = None
    if asked is not None:
        question = Question(asked, pool="manifest", task="qa", language=text("language") or "en", extra=extra)
    return Mention(
        where=where,
        location=location,
        path=places.below_root(location) or path,
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


def _text(value: object, role: str, where: tuple[str, int]) -> str | None:
    """A cell that must hold text; None when it is empty. Numbers will do, for ids are often numbers."""
    if isinstance(value, str):
        return value if value.strip() else None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # a table with gaps turns whole numbers into floats
    if _cell(value) is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError(f"{row_name(*where)}: {role} must be a text, got {value!r}")
    return str(value)


def _cell(value: object) -> object:
    """None for what means "nothing here": an empty text, NaN."""
    return None if value == "" or value != value else value


class _Found:
    """The videos so far. A file or span that is mentioned again only adds its questions."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._videos: list[Video] = []
        self._wheres: list[tuple[str, int]] = []
        self._index: dict[str | tuple[str, float, float | None], int] = {}
        self._by_id: dict[str, int] = {}
        self._by_video_id: dict[str, int] = {}
        self._questions: dict[int, dict[str, tuple[str | None, Question]]] = {}  # by text, with the row's id

    def add(self, mention: Mention) -> None:
        span, location = mention.span, mention.location
        key = location if span is None else (location, span.start_seconds, span.end_seconds)
        index = self._index.get(key)
        if index is None:
            index = self._index[key] = len(self._videos)
            self._videos.append(self._video(mention))
            self._wheres.append(mention.where)
        self._check_ids(mention, index)
        if mention.question is not None:
            asked = self._questions.setdefault(index, {})
            asked.setdefault(mention.question.text, (mention.row_id, mention.question))

    def _video(self, mention: Mention) -> Video:
        video_id = mention.video_id or stable_id(self._places.below_root(mention.location) or mention.location)
        return Video(
            video_id=mention.row_id or video_id if mention.span is None else video_id,
            path=mention.path,
            location=mention.location,
            span=mention.span,
            clip_id=None if mention.span is None else mention.row_id,
            subtitle=mention.subtitle,
            extra=mention.extra,
        )

    def _check_ids(self, mention: Mention, index: int) -> None:
        if mention.row_id is not None:
            other = self._by_id.setdefault(mention.row_id, index)
            if other != index:
                raise self._id_clash("id", mention.row_id, mention, other)
        if mention.video_id is not None:
            other = self._by_video_id.setdefault(mention.video_id, index)
            if self._videos[other].location != mention.location:
                raise self._id_clash("video_id", mention.video_id, mention, other)

    def _id_clash(self, column: str, value: str, mention: Mention, other: int) -> InputError:
        return InputError(
            f"{row_name(*mention.where)}: {column} {value!r} of {mention.path} is already that of "
            f"{self._videos[other].path} in {row_name(*self._wheres[other])}; it must name one video or span"
        )

    def videos(self) -> list[Video]:
        for index, asked in self._questions.items():
            video = self._videos[index]
            own_id = video.video_id if video.span is None else video.clip_id
            questions = tuple(question for _, question in asked.values())
            if any(row_id not in (None, own_id) for row_id, _ in asked.values()):
                # the ids are those of the questions: they stay with them, for one video has one id
                questions = tuple(replace(q, extra={"id": row_id, **q.extra}) for row_id, q in asked.values())
            self._videos[index] = replace(video, questions=questions)
        return self._videos
