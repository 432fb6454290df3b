"""Folders, files and manifests -> the videos of a run, each file (or span of one) once, in the order of first mention.

All inputs are read and checked before any work starts: whatever is wrong with them is an InputError that names the
row. A file that is named but is not there is not wrong here; it fails later, alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

from vidlabel.data import Question, Video, stable_id
from vidlabel.errors import InputError
from vidlabel.folders import find_videos
from vidlabel.manifest_rows import EXTENSIONS, NumberedRow, read_rows
from vidlabel.manifests.mention import Mention
from vidlabel.manifests.plain import COLUMNS, plain_columns, plain_mention
from vidlabel.manifests.published import Tally, VideoRoots, published_mentions
from vidlabel.manifests.sets import ManifestFormat, recognise
from vidlabel.paths import Places, row_name


def read_inputs(
    inputs: Sequence[str],
    *,
    root: str | None,
    lines: Iterable[str] | None,
    manifest_format: ManifestFormat = "auto",
    video_root: str | None = None,
) -> list[Video]:
    """Any mix of folders, video files, manifests, and `-` for `lines`, one path a line."""
    places = Places(root)
    reader = _Reader(places, lines, manifest_format, VideoRoots(video_root, places))
    found = _Found()
    for given in inputs:
        for mention in reader.mentions(given):
            found.add(mention)
    if inputs and video_root is not None and not reader.num_published:
        raise InputError(f"--video-root {video_root}: belongs to published manifests, and no input is one; use --root")
    if inputs and manifest_format not in ("auto", "plain") and not reader.num_published:
        raise InputError(f"--manifest-format {manifest_format}: none of the inputs is a manifest with rows")
    return found.videos()


class _Reader:
    """Inputs -> mentions."""

    def __init__(
        self, places: Places, lines: Iterable[str] | None, manifest_format: ManifestFormat, roots: VideoRoots
    ) -> None:
        self._places = places
        self._lines = lines
        self._format = manifest_format
        self._roots = roots
        self.num_published = 0

    def mentions(self, given: str) -> Iterator[Mention]:
        if given == "-":
            if self._lines is None:
                raise ValueError("the input - needs lines")
            return self._from_lines(self._lines)
        if self._places.kind_of(given) == "folder":
            return self._from_folder(given)
        if Path(given).suffix.lower() in EXTENSIONS:
            return self._from_manifest(given)
        return iter([self._plain(given, (given, 0), given)])

    def _from_folder(self, folder: str) -> Iterator[Mention]:
        for name in find_videos(folder):
            yield self._plain(f"{folder}/{name}", (f"{folder}/{name}", 0), name)

    def _from_lines(self, lines: Iterable[str]) -> Iterator[Mention]:
        number = 0
        try:
            for number, line in enumerate(lines, start=1):
                path = line.rstrip("\r\n")
                if path.strip():
                    yield self._plain(path, ("standard input", number), path, base=self._places.root)
        except UnicodeDecodeError as error:
            raise InputError(f"standard input, after line {number}: not UTF-8") from error

    def _plain(self, path: str, where: tuple[str, int], name: str, base: str | None = None) -> Mention:
        location = self._places.locate(path, base=base or self._places.absolute("."), where=where)
        below_root = self._places.below_root(location)
        return Mention(where, location, identity=below_root or location, path=below_root or name)

    def _from_manifest(self, file: str) -> Iterator[Mention]:
        """By its header one of our own kind or a published one; the option overrules what `auto` sees."""
        rows = read_rows(file)
        first = next(rows, None)
        if first is None:
            return
        rows = chain([first], rows)
        name: str | None = self._format
        if name == "auto":
            name = recognise(first[1], COLUMNS["video"])
        if name is None or name == "plain":
            yield from self._from_plain(file, rows)
            return
        self.num_published += 1
        video_root, tally = self._roots.of(file), Tally()
        yield from published_mentions(file, rows, name, video_root, tally)
        tally.report(file, video_root)

    def _from_plain(self, file: str, rows: Iterator[NumberedRow]) -> Iterator[Mention]:
        base = self._places.root or self._places.absolute(str(Path(file).parent))
        known: dict[tuple[str, ...], dict[str, str]] = {}  # which column is what; jsonl rows may differ
        for number, row in rows:
            names = tuple(row)
            columns = known.get(names)
            if columns is None:
                columns = known[names] = plain_columns(names, row_name(file, number))
            yield plain_mention(row, columns, (file, number), self._places, base)


class _Found:
    """The videos so far. A file or span that is mentioned again only adds its questions."""

    def __init__(self) -> None:
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
        video_id = mention.video_id or stable_id(mention.identity)
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
