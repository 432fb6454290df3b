"""Folders, files and manifests -> the videos of a run.

All inputs are read and checked before any work starts: whatever is wrong with them is an InputError that names the
row. A file that is named but is not there is not wrong here; it fails later, alone. Millions of rows are not held.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Literal

from vidlabel.errors import InputError
from vidlabel.folders import find_videos
from vidlabel.inputs import Inputs
from vidlabel.manifest_rows import EXTENSIONS, NumberedRow, read_rows
from vidlabel.manifests.mention import Mention
from vidlabel.manifests.plain import COLUMNS, PlainColumns, plain_columns, plain_mention
from vidlabel.manifests.published import Tally, VideoRoots, published_mentions
from vidlabel.manifests.sets import ManifestFormat, recognise
from vidlabel.paths import Places, row_name
from vidlabel.remote import is_url, name_of, parent_url, remote_info
from vidlabel.remote_cache import local_file


def read_inputs(
    inputs: Sequence[str],
    *,
    root: str | None,
    lines: Iterable[str] | None,
    manifest_format: ManifestFormat = "auto",
    video_root: str | None = None,
) -> Inputs:
    """Any mix of folders, video files, manifests, and `-` for `lines`, one path a line."""
    places = Places(root)
    reader = _Reader(inputs, places, lines, manifest_format, VideoRoots(video_root, places))
    found = Inputs(reader.mentions)
    if inputs and video_root is not None and not reader.published:
        raise InputError(f"--video-root {video_root}: belongs to published manifests, and no input is one; use --root")
    if inputs and manifest_format not in ("auto", "plain") and not reader.published:
        raise InputError(f"--manifest-format {manifest_format}: none of the inputs is a manifest with rows")
    return found


class _Reader:
    """Inputs -> mentions, the same each time: what may change while a run lasts is kept, or checked."""

    def __init__(
        self,
        inputs: Sequence[str],
        places: Places,
        lines: Iterable[str] | None,
        manifest_format: ManifestFormat,
        roots: VideoRoots,
    ) -> None:
        self._inputs = inputs
        self._places = places
        self._lines = lines
        self._format = manifest_format
        self._roots = roots
        self._kinds: dict[str, Literal["folder", "file"]] = {}  # a file may go meanwhile: it fails later, alone
        self._folders: dict[str, list[str]] = {}
        self._states: dict[str, tuple[object, ...]] = {}  # of manifests
        self.published: set[str] = set()

    def mentions(self) -> Iterator[Mention]:
        for given in self._inputs:
            yield from self._of_input(given)

    def _of_input(self, given: str) -> Iterator[Mention]:
        if given == "-":
            return self._from_lines()
        if given not in self._kinds:
            self._kinds[given] = self._places.kind_of(given)
        if self._kinds[given] == "folder":
            return self._from_folder(given)
        if Path(name_of(given)).suffix.lower() in EXTENSIONS:
            return self._from_manifest(given)
        return iter([self._plain(given, (given, 0), given)])

    def _from_folder(self, folder: str) -> Iterator[Mention]:
        if folder not in self._folders:
            self._folders[folder] = find_videos(folder)
        for name in self._folders[folder]:
            yield self._plain(f"{folder}/{name}", (f"{folder}/{name}", 0), name)

    def _from_lines(self) -> Iterator[Mention]:
        if self._lines is None:
            raise ValueError("the input - needs lines")
        if not isinstance(self._lines, list):
            self._lines = _all_lines(self._lines)
        for number, line in enumerate(self._lines, start=1):
            path = line.rstrip("\r\n")
            if path.strip():
                yield self._plain(path, ("standard input", number), path, base=self._places.root)

    def _plain(self, path: str, where: tuple[str, int], name: str, base: str | None = None) -> Mention:
        location = self._places.locate(path, base=base or self._places.absolute("."), where=where)
        below_root = self._places.below_root(location)
        return Mention(where, location, identity=below_root or location, path=below_root or name)

    def _from_manifest(self, file: str) -> Iterator[Mention]:
        """By its header one of our own kind or a published one; the option overrules what `auto` sees."""
        self._check_unchanged(file)
        rows = read_rows(file, _stored(file))
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
        video_root, tally = self._roots.of(file), Tally()
        yield from published_mentions(file, rows, name, video_root, tally)
        if file not in self.published:  # told once
            self.published.add(file)
            tally.report(file, video_root)

    def _check_unchanged(self, file: str) -> None:
        if is_url(file):
            self._same(file, _remote_state(file))
            return
        try:
            status = Path(file).stat()
        except OSError as error:
            raise InputError(f"{file}: cannot be read: {error.strerror}") from error
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{file}: a manifest is read more than once, so it must be a regular file")
        self._same(file, (status.st_ino, status.st_size, status.st_mtime_ns))

    def _same(self, file: str, state: tuple[object, ...]) -> None:
        if self._states.setdefault(file, state) != state:
            raise InputError(f"{file}: has changed since this run began to read it; run the same command again")

    def _from_plain(self, file: str, rows: Iterator[NumberedRow]) -> Iterator[Mention]:
        parent = parent_url(file) if is_url(file) else self._places.absolute(str(Path(file).parent))
        base = self._places.root or parent
        known: dict[tuple[str, ...], PlainColumns] = {}  # which column is what; jsonl rows may differ
        for number, row in rows:
            names = tuple(row)
            columns = known.get(names)
            if columns is None:
                columns = known[names] = plain_columns(names, row_name(file, number))
            yield plain_mention(row, columns, (file, number), self._places, base)


def _stored(file: str) -> str:
    """Where a manifest's bytes are: a URL's in a local copy."""
    try:
        return str(local_file(file))
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror or error}") from error


def _remote_state(url: str) -> tuple[object, ...]:
    try:
        info = remote_info(url)
    except OSError as error:
        raise InputError(f"{url}: cannot be read: {error.strerror or error}") from error
    return info.version, info.num_bytes


def _all_lines(lines: Iterable[str]) -> list[str]:
    gathered: list[str] = []
    try:
        gathered.extend(lines)
    except UnicodeDecodeError as error:
        raise InputError(f"standard input, after line {len(gathered)}: not UTF-8") from error
    return gathered
