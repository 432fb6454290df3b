"""Labels -> answers to examples: by video, start, task and question, never by position."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from vidlabel.data import Span, Task
from vidlabel.errors import InputError
from vidlabel.evaluation.answered import Answered
from vidlabel.evaluation.losses import REFERENCE
from vidlabel.evaluation.questions import Asked, Key, place_of
from vidlabel.quality import Said, flags_of
from vidlabel.tables.reading import asked_batches, open_table
from vidlabel.tables.values import FLAGS_TYPE
from vidlabel.train.examples import Example

_TEXT = pa.string()
_COLUMNS = {
    **dict.fromkeys(
        ["video_id", "video_path", "task", "instruction", "question", "caption", "answer", REFERENCE], _TEXT
    ),
    **dict.fromkeys(["start_seconds", "end_seconds", "video_seconds"], pa.float64()),
    "mean_logprob": pa.float64(),
    "num_tokens": pa.int64(),
    "flags": FLAGS_TYPE,
}
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Likelihood:
    """Of one reference."""

    num_tokens: int
    mean_logprob: float


def read_answers(labels: Path, asked: Asked) -> list[Answered]:
    """The labels that answer examples. A caption of a clip answers every example that asked for no special one."""
    rows: dict[Key, Row] = {}
    captions: dict[str, Row] = {}  # the first of each clip
    for key, row in _rows(labels, asked):
        if key in rows:
            raise InputError(f"{labels}: answers {key[2]!r} twice about {row['video_path']}; one file is of one model")
        rows[key] = row
        if key[1] == "caption":
            captions.setdefault(key[0], row)
    found = []
    for key, examples in asked.examples.items():
        for example in examples:
            answer = rows.get(key)
            if answer is None and example.question is None:
                answer = captions.get(key[0])
            if answer is not None:
                found.append(_answered(example, key, answer))
    return found


def read_likelihoods(labels: Path, asked: Asked) -> dict[tuple[Key, str], Likelihood]:
    """Of every question's references, from the labels that a scorer made."""
    found = {}
    for key, row in _rows(labels, asked):
        if row["mean_logprob"] is not None and row[REFERENCE] is not None:
            found[key, row[REFERENCE]] = Likelihood(row["num_tokens"], row["mean_logprob"])
    return found


def mean_loss(asked: Asked, likelihoods: Mapping[tuple[Key, str], Likelihood], ids: Sequence[str]) -> float | None:
    """Over all tokens of all references of these examples; None where nothing is known."""
    wanted, total, num_tokens = frozenset(ids), 0.0, 0
    for key, examples in asked.examples.items():
        for example in examples:
            if example.example_id not in wanted:
                continue
            for reference in (example.answer, *example.references):
                if (one := likelihoods.get((key, reference))) is not None:
                    total -= one.num_tokens * one.mean_logprob
                    num_tokens += one.num_tokens
    return total / num_tokens if num_tokens else None


def _answered(example: Example, key: Key, row: Row) -> Answered:
    said = row["caption"] if example.task == "caption" else row["answer"]
    flags = row["flags"]
    if flags is None:  # of another tool
        flags = flags_of(Said(text=said, task=example.task, question=key[2], language=example.language))
    return Answered(
        example_id=example.example_id,
        task=example.task,
        question=example.question or row["instruction"] or "",
        references=(example.answer, *example.references),
        said=said,
        language=example.language,
        group=example.group,
        pair=example.pair,
        flags=tuple(flags),
    )


def _rows(labels: Path, asked: Asked) -> Iterator[tuple[Key, Row]]:
    """Those about the videos that are asked, whoever made them."""
    table = open_table(labels)
    table.require("video_path", "joining answers to their videos")
    ids = {video.video_id for video in asked.videos}
    for batch in asked_batches(table, _COLUMNS):
        for row in batch.to_pylist():
            task: Task = (
                "qa" if row["task"] == "qa" or (row["task"] is None and row["answer"] is not None) else "caption"
            )
            place = row["video_id"] if row["video_id"] in ids else asked.places.get(_place(row))
            if place is None or (row["answer"] if task == "qa" else row["caption"]) is None:
                continue
            question = (row["question"] or row["instruction"]) if task == "qa" else row["instruction"]
            yield (place, task, question or ""), row


def _place(row: Row) -> tuple[str, int | None]:
    """Of a clip that is all of its video, the whole: that is how data without spans ask for it."""
    start, end, length = row["start_seconds"] or 0.0, row["end_seconds"], row["video_seconds"]
    is_whole = (start == 0 and end is None) or (end is not None and length is not None and end - start >= length - 0.05)
    return place_of(row["video_path"], None if is_whole else Span(start))
