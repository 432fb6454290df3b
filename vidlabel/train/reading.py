"""Labels, manifests, published sets, test sets and folders of pairs -> examples, streamed: nothing is held but a row.

What is wrong with an input is an InputError that names file and row. Rows without a text are counted and left out,
and flagged labels are, unless they are asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

from vidlabel.data import Task
from vidlabel.errors import InputError
from vidlabel.manifest_rows import EXTENSIONS, NumberedRow, read_rows
from vidlabel.manifests.plain import COLUMNS, lower_names
from vidlabel.manifests.published import VideoRoots
from vidlabel.manifests.sets import ManifestFormat, recognise
from vidlabel.outputs import label_files, parse_output
from vidlabel.paths import Places
from vidlabel.remote import is_url, name_of, parent_url
from vidlabel.remote_cache import local_file
from vidlabel.report.places import video_root as labels_root
from vidlabel.train.conversations import holds_conversations, is_conversation, json_entries, plain_rows
from vidlabel.train.examples import Example, ExampleTally, NoTextsError
from vidlabel.train.layout_examples import layout_examples
from vidlabel.train.layouts import is_layout
from vidlabel.train.pairs import read_pairs
from vidlabel.train.rows import FLAGGED, Wish, plain_examples, published_examples

_FIRST_ROWS = 20  # that tell where the videos of labels are


def read_examples(
    paths: Sequence[str | Path],
    *,
    task: Task,
    root: str | None = None,
    video_root: str | None = None,
    manifest_format: ManifestFormat = "auto",
    text_column: str | None = None,
    keep_flagged: bool = False,
    subset: str | None = None,
    tally: ExampleTally | None = None,
) -> Iterator[Example]:
    """The examples of all inputs, in their order; an InputError at the end if there are none.

    `task` says which texts: captions, or answers to questions. `subset` is what the column `split`, or a published set,
    calls its part. Who gives a `tally` tells the user himself what was
    left out; else a warning does.
    """
    counted = tally or ExampleTally()
    places = Places(root)
    reader = _Reader(Wish(task, text_column, keep_flagged, subset), places, video_root, manifest_format)
    for path in paths:
        for example in reader.examples(str(path), counted):
            counted.num_given += 1
            yield example
    if not counted.num_given:
        raise NoTextsError(f"no {_named(task)} in {', '.join(map(str, paths))}{_why(counted)}")
    if tally is None:
        counted.report()


class _Reader:
    def __init__(self, wish: Wish, places: Places, video_root: str | None, manifest_format: ManifestFormat) -> None:
        self._wish, self._places, self._format = wish, places, manifest_format
        self._video_root, self._roots = video_root, VideoRoots(video_root, places)

    def examples(self, given: str, tally: ExampleTally) -> Iterator[Example]:
        if self._places.kind_of(given) == "folder":
            files = [] if is_url(given) else label_files(parse_output(given))
            if files:
                for file in map(str, files):
                    yield from self._of_rows(file, read_rows(file), tally, labels=given)
            elif self._wish.task == "qa":
                raise NoTextsError(
                    f"{given}: a folder of pairs holds captions; questions and answers are in a manifest"
                )
            else:
                yield from read_pairs(given.rstrip("/") or "/", self._places, tally)
        elif not is_url(given) and given.lower().endswith(".json") and holds_conversations(given):
            yield from self._of_rows(given, json_entries(given), tally, labels=given)
        elif not is_url(given) and is_layout(given):
            yield from layout_examples(given, self._wish, self._places, self._video_root, tally)
        elif Path(name_of(given)).suffix.lower() in EXTENSIONS:
            yield from self._of_rows(given, read_rows(given, _stored(given)), tally, labels=given)
        else:
            raise InputError(
                f"{given}: examples are in a {', '.join(EXTENSIONS)} or .json file, or a folder of labels or of pairs"
            )

    def _of_rows(
        self, file: str, rows: Iterator[NumberedRow], tally: ExampleTally, *, labels: str
    ) -> Iterator[Example]:
        """By its header a manifest of our own kind or a published one; the option overrules what `auto` sees."""
        first = list(islice(rows, _FIRST_ROWS))
        if not first:
            return
        name: str | None = self._format
        every: Iterator[NumberedRow] = chain(first, rows)
        if is_conversation(first[0][1]):
            name, every = None, plain_rows(file, every, self._wish.task, tally)
        elif name == "auto":
            name = recognise(first[0][1], (*COLUMNS["video"], "image"))
        if name is None or name == "plain":
            base = self._base(labels, first)
            yield from plain_examples(file, every, self._wish, self._places, base, tally)
        else:
            yield from published_examples(file, every, name, self._wish, self._roots.of(file), tally)

    def _base(self, given: str, first: Sequence[NumberedRow]) -> str:
        """What relative paths start from: a manifest's own folder; of labels, where their first videos are."""
        if self._places.root is not None:
            return self._places.root
        if is_url(given):
            return parent_url(given)
        if is_conversation(first[0][1]) and self._video_root is not None:
            return self._places.absolute(self._video_root)
        columns = lower_names(list(first[0][1]))
        if "label_id" not in columns:
            return self._places.absolute(str(Path(given).parent))
        name = next((columns[one] for one in COLUMNS["video"] if one in columns), None)
        paths = [str(row.get(name)) for _, row in first if name is not None and row.get(name)]
        return str(labels_root(None, Path(given), paths))


def _stored(given: str) -> str:
    try:
        return str(local_file(given))
    except OSError as error:
        raise InputError(f"{given}: cannot be read: {error.strerror or error}") from error


def _named(task: Task) -> str:
    return "captions" if task == "caption" else "questions with answers"


def _why(tally: ExampleTally) -> str:
    if not tally.left_out:
        return ""
    hint = "; --keep-flagged takes the flagged ones" if tally.left_out[FLAGGED] else ""
    return f": {tally.reasons}{hint}"
