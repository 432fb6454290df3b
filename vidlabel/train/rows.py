"""Rows of manifests, of labels and of published sets -> examples. Columns go by their names, in any case."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from vidlabel.data import Task, Video, stable_id
from vidlabel.errors import InputError
from vidlabel.labels import unescape_name
from vidlabel.manifest_rows import NumberedRow
from vidlabel.manifests.mention import Mention, cell, text_of
from vidlabel.manifests.plain import COLUMNS, PlainColumns, lower_names, plain_columns, plain_mention
from vidlabel.manifests.published import Tally, VideoRoot, published_mentions
from vidlabel.paths import Places, row_name
from vidlabel.tables.values import split_flags
from vidlabel.train.examples import NO_TEXT, Example, ExampleTally, NoTextsError, language_of

FLAGGED = "are flagged"
# where each published set has its captions, the first that is there counts
CAPTIONS: Mapping[str, tuple[str, ...]] = {
    "panda70m": ("caption",),
    "internvid": ("caption",),
    "webvid": ("name",),
    "koala36m": ("caption",),
    "openvid": ("caption",),
    "miradata": ("dense_caption", "short_caption"),
    "video2dataset": ("caption", "text"),
}
_IMAGE = "image"


@dataclass(frozen=True, slots=True)
class Wish:
    """Which rows are wanted, and where their texts are."""

    task: Task
    text_column: str | None = None
    keep_flagged: bool = False
    subset: str | None = None  # of those that the column `split` names


def plain_examples(
    file: str, rows: Iterator[NumberedRow], wish: Wish, places: Places, base: str, tally: ExampleTally
) -> Iterator[Example]:
    """Of a manifest of our own kind, or labels: a column names the video or the image, others hold the texts."""
    known: dict[tuple[str, ...], _Columns] = {}  # rows of jsonl may differ
    for number, row in rows:
        names, where = tuple(row), (file, number)
        columns = known.get(names)
        if columns is None:
            columns = known[names] = _columns(names, wish, row_name(*where))
        reason = _unwanted(row, columns, wish)
        answer = text_of(row[columns.answer], columns.answer, where)
        question = None if columns.question is None else text_of(row[columns.question], columns.question, where)
        if reason is None and (answer is None or (wish.task == "qa" and question is None)):
            reason = NO_TEXT
        if reason is not None:
            tally.leave_out(reason, row_name(*where))
            continue
        assert answer is not None
        if question is not None and "\n" in question and wish.task == "caption":
            question = None  # the instructions of several captions that were made into one
        language = None if columns.language is None else text_of(row[columns.language], columns.language, where)
        if columns.video is None:
            yield _of_image(row, columns, where, places, base, question, answer, language, wish.task)
            continue
        if columns.is_own:
            row = {**row, "video_path": unescape_name(str(row["video_path"]))}
        mention = plain_mention(row, columns.video, where, places, base)
        own_id = None if columns.id is None else text_of(row[columns.id], columns.id, where)
        yield example_of(mention, question, answer, language, own_id, task=wish.task)


def published_examples(
    file: str, rows: Iterator[NumberedRow], name: str, wish: Wish, root: VideoRoot, tally: ExampleTally
) -> Iterator[Example]:
    """Of a published set: what its rows find below `root`."""
    accepted = (wish.text_column,) if wish.text_column else CAPTIONS.get(name, ())
    if wish.task == "qa":
        accepted = (wish.text_column or "answer",)
    if not accepted:
        raise NoTextsError(f"{file}: {name} has no captions; say with --text-column which column holds the texts")
    found = Tally()
    for mention in published_mentions(file, rows, name, root, found):
        extra = mention.question.extra if mention.question is not None else mention.extra
        lower = lower_names(list(extra))
        if wish.subset is not None and extra.get(lower.get("split", "")) != wish.subset:
            tally.leave_out(f"are not of {wish.subset}", row_name(*mention.where))
            continue
        column = next((lower[one.lower()] for one in accepted if one.lower() in lower), None)
        if column is None:
            raise NoTextsError(
                f"{row_name(*mention.where)}: no column {' or '.join(accepted)} for the text among {', '.join(extra)}; "
                "say with --text-column which it is"
            )
        answer = text_of(extra[column], column, mention.where)
        question = None if mention.question is None else mention.question.text
        if answer is None or (wish.task == "qa" and question is None):
            tally.leave_out(NO_TEXT, row_name(*mention.where))
            continue
        yield example_of(mention, question if wish.task == "qa" else None, answer, None, task=wish.task)
    found.report(file, root)


def example_of(
    mention: Mention,
    question: str | None,
    answer: str,
    language: str | None,
    own_id: str | None = None,
    *,
    task: Task,
    group: str = "",
    pair: str = "",
) -> Example:
    """The video's id is made of its path and no other: what a file calls an id is often that of a row."""
    video_id, span = stable_id(mention.identity), mention.span
    spanned = "" if span is None else f"{span.start_seconds}-{span.end_seconds}"
    return Example(
        example_id=own_id or stable_id(video_id, spanned, question or "", answer),
        video=Video(video_id, mention.path, mention.location, span, subtitle=mention.subtitle),
        image=None,
        question=question,
        answer=answer,
        language=language or language_of(answer),
        task=task,
        group=group,
        pair=pair,
    )


@dataclass(frozen=True, slots=True)
class _Columns:
    """Which column plays which part, of rows with the same columns."""

    answer: str
    question: str | None  # of captions: the instruction
    language: str | None
    flags: str | None
    task: str | None
    split: str | None
    id: str | None  # of the row
    video: PlainColumns | None  # None: the rows are of images
    image: str | None
    is_own: bool  # paths are as vidlabel writes them


def _columns(names: tuple[str, ...], wish: Wish, where: str) -> _Columns:
    lower = lower_names(names)
    text = wish.text_column or ("caption" if wish.task == "caption" else "answer")
    answer = lower.get(text.lower())
    question = lower.get("instruction" if wish.task == "caption" else "question")
    shown = ", ".join(names) or "no columns"
    if answer is None:
        raise NoTextsError(
            f"{where}: no column {text} among {shown}; it holds the texts, or say with --text-column which does"
        )
    if question is None and wish.task == "qa":
        raise NoTextsError(f"{where}: no column question among {shown}; it holds what each answer answers")
    has_video = any(name in lower for name in COLUMNS["video"])
    if not has_video and _IMAGE not in lower:
        raise InputError(
            f"{where}: no video or image column among {shown}; name one of them {', '.join(COLUMNS['video'])}, image"
        )
    return _Columns(
        answer=answer,
        question=question,
        language=lower.get("language"),
        flags=lower.get("flags"),
        task=lower.get("task"),
        split=lower.get("split"),
        id=lower.get("label_id"),
        video=plain_columns(names, where) if has_video else None,
        image=lower.get(_IMAGE),
        is_own="label_id" in names and "video_path" in names,
    )


def _unwanted(row: Mapping[str, object], columns: _Columns, wish: Wish) -> str | None:
    """Why a row is left out, if it is."""
    if wish.subset is not None and (columns.split is None or row[columns.split] != wish.subset):
        return f"are not of {wish.subset}"
    if columns.task is not None and row[columns.task] not in (wish.task, None):
        return f"are not of the task {wish.task}"
    if columns.flags is None or wish.keep_flagged:
        return None
    flags = row[columns.flags]
    return FLAGGED if (split_flags(flags) if isinstance(flags, str) else flags) else None


def _of_image(
    row: Mapping[str, object],
    columns: _Columns,
    where: tuple[str, int],
    places: Places,
    base: str,
    question: str | None,
    answer: str,
    language: str | None,
    task: Task,
) -> Example:
    assert columns.image is not None
    path = text_of(cell(row[columns.image]), columns.image, where)
    if path is None:
        raise InputError(f"{row_name(*where)}: column {columns.image} is empty; it must name a picture")
    location = places.locate(path, base=base, where=where)
    identity = places.below_root(location) or location
    return Example(
        example_id=stable_id(identity, question or "", answer),
        video=None,
        image=location,
        question=question,
        answer=answer,
        language=language or language_of(answer),
        task=task,
    )
