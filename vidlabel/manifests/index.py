"""Where the videos of a folder are, by name: one walk, kept for the run at some 50 bytes a file and its name."""

from __future__ import annotations

import os
import re
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator

from vidlabel.folders import find_video_names, without_extension

_ID_LENGTH = 11  # of YouTube's ids
_IN_BRACKETS = re.compile(r"\[([^\[\]]+)\]\Z")  # the downloader's usual `Title [id].mp4`


class FileIndex:
    """The files with a video's extension. A name is found in any folder, or in the one that stands before it."""

    def __init__(self, folder: str) -> None:
        self.num_files = 0
        self._folders: list[str] = []
        self._folder_of = array("I")
        self._names = bytearray()
        self._ends = array("Q")
        hashes, files, beginnings = self._read(folder)
        self._hashes, self._files = _sorted(hashes, files)
        self._beginnings, _ = _sorted(beginnings, beginnings)

    def may_hold(self, video_id: str) -> bool:
        """Whether any name begins as an id of YouTube's length or longer does: asked first, for most sets are far
        larger than what is here of them."""
        if len(video_id) < _ID_LENGTH:
            return True
        number = _hash(video_id[:_ID_LENGTH])
        at = bisect_left(self._beginnings, number)
        return at < len(self._beginnings) and self._beginnings[at] == number

    def find(self, names: Iterable[str]) -> list[str]:
        """The paths, from the folder, of the first name that there is; the best of them first."""
        for name in names:
            folder, _, stem = name.rpartition("/")
            if paths := sorted(self._paths(folder, stem), key=lambda path: (path.count("/"), path)):
                return paths
        return []

    def _paths(self, folder: str, stem: str) -> Iterator[str]:
        number = _hash(stem)
        at = bisect_left(self._hashes, number)
        while at < len(self._hashes) and self._hashes[at] == number:
            file = self._files[at]
            at += 1
            above, name = self._folders[self._folder_of[file]], self._name(file)
            if stem in _keys(name) and (not folder or f"/{above}".endswith(f"/{folder}")):
                yield f"{above}/{name}" if above else name

    def _name(self, file: int) -> str:
        start = self._ends[file - 1] if file else 0
        return os.fsdecode(bytes(self._names[start : self._ends[file]]))

    def _read(self, folder: str) -> tuple[array[int], array[int], array[int]]:
        hashes, files, beginnings = array("Q"), array("Q"), array("Q")
        numbers: dict[str, int] = {}
        for path in find_video_names(folder):
            above, _, name = path.rpartition("/")
            self._folder_of.append(numbers.setdefault(above, len(numbers)))
            self._names += os.fsencode(name)
            self._ends.append(len(self._names))
            for key in _keys(name):
                hashes.append(_hash(key))
                beginnings.append(_hash(key[:_ID_LENGTH]))
                files.append(self.num_files)
            self.num_files += 1
        self._folders = list(numbers)
        return hashes, files, beginnings


def _keys(name: str) -> tuple[str, ...]:
    """What a file is looked for by: its name without the extension, and the id in brackets at its end."""
    stem = without_extension(name)
    found = _IN_BRACKETS.search(stem)
    return (stem,) if found is None else (stem, found[1])


def _hash(key: str) -> int:
    return hash(key) & 0xFFFFFFFFFFFFFFFF


def _sorted(hashes: array[int], files: array[int]) -> tuple[array[int], array[int]]:
    """By hash. In numpy, for a list of millions of pairs would take gigabytes."""
    import numpy as np

    keys, values = np.frombuffer(hashes, np.uint64), np.frombuffer(files, np.uint64)
    order = np.argsort(keys, kind="stable")
    return array("Q", keys[order].tobytes()), array("Q", values[order].tobytes())
