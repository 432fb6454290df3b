"""Published manifests as they are -> mentions of the local files that their rows speak of, and how many have none.

A clip that was cut already is a whole video; where only its source is there, the clip is a span of it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vidlabel.data import Question
from vidlabel.errors import InputError
from vidlabel.manifest_rows import NumberedRow
from vidlabel.manifests.index import FileIndex
from vidlabel.manifests.literals import PublishedRow
from vidlabel.manifests.mention import Mention, cell
from vidlabel.manifests.plain import lower_names
from vidlabel.manifests.sets import SETS, PublishedSet, Wanted
from vidlabel.paths import Places, row_name, shown
from vidlabel.remote import is_url

logger = logging.getLogger(__name__)

NUM_EXAMPLES = 3


class VideoRoots:
    """The folders that hold the files of published manifests, each walked once in a run."""

    def __init__(self, video_root: str | None, places: Places) -> None:
        if video_root is not None and is_url(video_root):
            raise InputError(f"--video-root {video_root}: must be a local folder")
        if video_root is not None and not Path(video_root).is_dir():
            raise InputError(f"--video-root {video_root}: no such folder")
        self._video_root = video_root
        self._places = places
        self._roots: dict[str, VideoRoot] = {}

    def of(self, file: str) -> VideoRoot:
        """`--video-root`, or `--root`, or the folder that the manifest is in."""
        if is_url(file) and self._video_root is None and self._places.root is None:
            raise InputError(f"{file}: give --video-root, the folder that holds the files of this published manifest")
        given = self._video_root or self._places.root or str(Path(file).parent)
        folder = self._places.absolute(given)
        if folder not in self._roots:
            places = self._places
            if places.root is None:
                places = Places(folder, option="--video-root")
            else:
                places.locate(folder, base=folder, where=(f"--video-root {folder}", 0))
            is_given = self._video_root is not None or self._places.root is not None
            self._roots[folder] = VideoRoot(folder, places, FileIndex(folder), is_given)
        return self._roots[folder]


@dataclass(frozen=True, slots=True)
class VideoRoot:
    """A folder of videos, and what may not be left."""

    folder: str
    places: Places
    index: FileIndex
    is_given: bool  # and so the only one of the run: ids are made of paths from here


@dataclass(slots=True)
class Tally:
    """What became of the rows of one manifest."""

    num_rows: int = 0
    num_rows_without_file: int = 0
    num_clips: int = 0  # of rows that have a file
    num_clips_without_file: int = 0  # among these
    num_empty: int = 0  # spans without length
    num_ambiguous: int = 0
    examples: list[str] = field(default_factory=list)
    empty_example: str = ""
    ambiguous_example: str = ""

    def add_row_without_file(self, row: PublishedRow, tried: str) -> None:
        self.num_rows_without_file += 1
        if len(self.examples) < NUM_EXAMPLES:
            self.examples.append(f"{row_name(*row.where)} (looked for {shown(tried)})")

    def report(self, file: str, root: VideoRoot) -> None:
        """Warn of what will not be labelled."""
        name = shown(file)
        if self.num_rows_without_file:
            logger.warning(
                "%s: %d of %d rows found no file among the %d videos below %s, e.g. %s",
                name,
                self.num_rows_without_file,
                self.num_rows,
                root.index.num_files,
                shown(root.folder),
                "; ".join(self.examples),
            )
        if self.num_clips_without_file:
            logger.warning(
                "%s: %d of %d clips found no file, of rows where others have one",
                name,
                self.num_clips_without_file,
                self.num_clips,
            )
        if self.num_empty:
            logger.warning(
                "%s: %d clips have no length and are left out, e.g. %s", name, self.num_empty, self.empty_example
            )
        if self.num_ambiguous:
            logger.warning(
                "%s: %d clips have several files of their name; the one nearest to the top counts, e.g. %s",
                name,
                self.num_ambiguous,
                self.ambiguous_example,
            )


def published_mentions(
    file: str, rows: Iterator[NumberedRow], name: str, root: VideoRoot, tally: Tally
) -> Iterator[Mention]:
    """The mentions of all rows; `tally` is complete when they have been gone through."""
    published = SETS[name]
    known: dict[tuple[str, ...], Mapping[str, str]] = {}
    for number, cells in rows:
        names = tuple(cells)
        columns = known.get(names)
        if columns is None:
            columns = known[names] = lower_names(names)
            if missing := sorted(published.needs - columns.keys()):
                raise InputError(
                    f"{row_name(file, number)}: {name} has a column {missing[0]}, which is missing among "
                    f"{', '.join(names) or 'no columns'}"
                )
        yield from _of_row(PublishedRow(cells, columns, (file, number)), published, root, tally)


def _of_row(row: PublishedRow, published: PublishedSet, root: VideoRoot, tally: Tally) -> Iterator[Mention]:
    tally.num_rows += 1
    if published.begins is not None and not root.index.may_hold(begins := row.need(published.begins)):
        tally.add_row_without_file(row, f"{begins}...")
        return
    num_found = num_missing = 0
    tried: tuple[str, ...] = ()
    for wanted in published.wanted(row):
        paths = root.index.find(wanted.cut)
        is_cut = bool(paths)
        if not paths:
            paths = root.index.find(wanted.source)
        if not paths:
            num_missing += 1
            tried = tried or (*wanted.cut, *wanted.source)
            continue
        num_found += 1
        if len(paths) > 1:
            tally.num_ambiguous += 1
            tally.ambiguous_example = tally.ambiguous_example or f"{shown(paths[0])} and {shown(paths[1])}"
        if not is_cut and wanted.is_empty:
            tally.num_empty += 1
            tally.empty_example = tally.empty_example or row_name(*row.where)
            continue
        yield _mention(row, published, wanted, paths[0], root, is_cut=is_cut)
    if num_found:
        tally.num_clips += num_found + num_missing
        tally.num_clips_without_file += num_missing
    elif num_missing:
        tally.add_row_without_file(row, ", ".join(tried) or "nothing, for it names no video")


def _mention(
    row: PublishedRow, published: PublishedSet, wanted: Wanted, path: str, root: VideoRoot, *, is_cut: bool
) -> Mention:
    location = root.places.locate(path, base=root.folder, where=row.where)
    below_root = root.places.below_root(location) or path
    extra = _extra(row, published, wanted)
    asked = row.text("question")
    question = None
    if asked is not None:
        language = row.text("language") or "en"
        extra = {name: value for name, value in extra.items() if name.strip().lower() not in ("question", "language")}
        question = Question(asked, pool="manifest", task="qa", language=language, extra=extra)
    return Mention(
        where=row.where,
        location=location,
        identity=below_root if root.is_given else location,
        path=below_root,
        span=None if is_cut else wanted.span,
        row_id=None if is_cut else wanted.clip_id,
        video_id=None if is_cut else wanted.video_id,
        question=question,
        extra=extra,
    )


def _extra(row: PublishedRow, published: PublishedSet, wanted: Wanted) -> dict[str, object]:
    """All columns of the row; of those that hold a list, the clip's own part."""
    own = {row.columns.get(name, name): value for name, value in wanted.own().items()}
    extra: dict[str, object] = {}
    for column, value in row.cells.items():
        name = column.strip().lower()
        if column not in own and name not in published.unpacked:
            extra[column] = _number(value) if name in published.numbers else cell(value)
    return extra | own


def _number(value: object) -> object:
    """A score, which csv has as text; what is none is carried as it is."""
    try:
        return float(value) if isinstance(value, str) and value else cell(value)
    except ValueError:
        return value
