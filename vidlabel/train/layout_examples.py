"""Rows of published test sets -> examples: finds the files of their videos below one folder, by name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from vidlabel.data import Task
from vidlabel.errors import InputError
from vidlabel.folders import VIDEO_EXTENSIONS, find_files
from vidlabel.manifests.mention import Mention
from vidlabel.paths import Places, shown
from vidlabel.train.examples import NO_TEXT, NO_VIDEO, Example, ExampleTally
from vidlabel.train.layouts import LayoutRow, layout_rows
from vidlabel.train.rows import Wish, example_of

_EXTENSIONS = VIDEO_EXTENSIONS | {"gif", "ts"}  # TGIF's own files


def layout_examples(
    file: str, wish: Wish, places: Places, video_root: str | None, tally: ExampleTally
) -> Iterator[Example]:
    """The videos are below `--video-root`, or `--root`, or the folder of the file."""
    folder = places.absolute(video_root or places.root or str(Path(file).parent))
    if not Path(folder).is_dir():
        raise InputError(f"--video-root {video_root}: no such folder")
    index = FilesByName(folder)
    languages = {"en", "zh"}
    for row in layout_rows(file, wish.task):
        path = index.find(row.names)
        if wish.subset is not None and row.subset != wish.subset:
            tally.leave_out(f"are not of {wish.subset}", row.where)
        elif row.language is not None and row.language not in languages:
            tally.leave_out("are in other languages than English and Chinese", row.where)
        elif row.answer is None or (wish.task == "qa" and row.question is None):
            tally.leave_out(NO_TEXT, row.where)
        elif path is None:
            tally.leave_out(NO_VIDEO, f"{row.where}: looked below {shown(folder)} for {' or '.join(row.names)}")
        else:
            is_given = video_root is not None or places.root is not None
            yield _example(row, wish.task, path, folder, places, is_given=is_given)


def _example(row: LayoutRow, task: Task, path: str, folder: str, places: Places, *, is_given: bool) -> Example:
    location = places.locate(path, base=folder, where=(row.where, 0))
    below = places.below_root(location) or path
    mention = Mention((row.where, 0), location, identity=below if is_given else location, path=below)
    assert row.answer is not None
    return example_of(mention, row.question, row.answer, row.language, task=task, group=row.group, pair=row.pair)


class FilesByName:
    """The videos below a folder. A name is found in any folder, or in the one that stands before it."""

    def __init__(self, folder: str) -> None:
        self._paths: Mapping[str, list[str]] = defaultdict(list)
        for path in find_files(folder, _EXTENSIONS):
            self._paths[_stem(path.rpartition("/")[2])].append(path)

    def find(self, names: Sequence[str]) -> str | None:
        """The path, from the folder, of the first name that there is; of several the one nearest to the top."""
        for name in names:
            above, _, stem = name.rpartition("/")
            end = f"/{above}" if above else ""
            found = [path for path in self._paths.get(_stem(stem), ()) if f"/{path}".rpartition("/")[0].endswith(end)]
            if found:
                return min(found, key=lambda path: (path.count("/"), path))
        return None


def _stem(name: str) -> str:
    """Without a video's extension, if there is one: other dots belong to the name."""
    stem, dot, extension = name.rpartition(".")
    return stem if dot and extension.lower() in _EXTENSIONS else name
