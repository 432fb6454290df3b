"""Answers of any model in files that hold the right answers too: what evaluation scripts of published models leave.

    [{"video_name", "Q", "A", "pred"}]   [{"id", "question", "answer", "pred"}]   [{"Q1", "Q2", "A", "pred1", "pred2"}]

as .json, or rows with these columns as .jsonl, .csv, .tsv or .parquet; captions have `caption` and `pred`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from vidlabel.data import Task, stable_id
from vidlabel.errors import InputError
from vidlabel.evaluation.answered import Answered
from vidlabel.manifest_rows import EXTENSIONS, read_rows
from vidlabel.manifests.mention import text_of
from vidlabel.paths import row_name
from vidlabel.quality import Said, flags_of
from vidlabel.train.examples import language_of
from vidlabel.train.layouts import CONSISTENCY, GENERIC, TEMPORAL

Row = Mapping[str, object]

_PRED = ("pred", "prediction")
_QUESTION, _RIGHT = ("question", "q"), ("answer", "a", "caption", "reference", "references")
_ID = ("id", "question_id", "qid")


def read_predictions(file: Path) -> list[Answered]:
    """All of them; an InputError names the entry that lacks something."""
    found: list[Answered] = []
    for number, row in _rows(file):
        where = row_name(str(file), number) if file.suffix.lower() != ".json" else f"{file}, entry {number}"
        lower = {str(name).strip().lower(): value for name, value in row.items()}
        if {"q1", "q2", "pred1", "pred2"} <= lower.keys():
            for place in ("1", "2"):
                one = {**lower, "q": lower[f"q{place}"], "pred": lower[f"pred{place}"], "id": f"{where}, {place}"}
                found.append(_answered(one, where, CONSISTENCY, pair=where))
        else:
            found.append(_answered(lower, where, _group(lower, file)))
    if not found:
        raise InputError(f"{file}: no answers in it")
    return found


def _answered(row: Row, where: str, group: str, pair: str = "") -> Answered:
    said = _text(row, _PRED, where)
    if said is None:
        raise InputError(f"{where}: no pred; it holds what the model said, beside question and answer, or caption")
    question, right = _text(row, _QUESTION, where), _right(row, where)
    task: Task = "caption" if question is None else "qa"
    language = text_of(row.get("language"), "language", (where, 0)) or language_of(right[0])
    return Answered(
        example_id=_text(row, _ID, where) or stable_id(where, question or "", right[0]),
        task=task,
        question=question or "",
        references=right,
        said=said,
        language=language,
        group=group,
        pair=pair,
        flags=flags_of(Said(text=said, task=task, question=question or "", language=language)),
    )


def _right(row: Row, where: str) -> tuple[str, ...]:
    value = next((row[name] for name in _RIGHT if row.get(name) is not None), None)
    values = value if isinstance(value, list) else [value]
    texts = [text_of(one, "answer", (where, 0)) for one in values]
    right = tuple(text for text in texts if text)
    if not right:
        raise InputError(f"{where}: no answer (or A, or caption); it holds what would have been right")
    return right


def _group(row: Row, file: Path) -> str:
    own = row.get("group")
    if isinstance(own, str) and own:
        return own
    return next((name for name in (TEMPORAL, GENERIC) if name in file.stem.lower()), "")


def _text(row: Row, names: tuple[str, ...], where: str) -> str | None:
    """Empty is an answer too, where the model said nothing."""
    value = next((row[name] for name in names if name in row), None)
    return value if isinstance(value, str) else text_of(value, names[0], (where, 0))


def _rows(file: Path) -> Iterator[tuple[int, Row]]:
    if file.suffix.lower() in EXTENSIONS:
        yield from read_rows(str(file))
        return
    if file.suffix.lower() != ".json":
        raise InputError(f"{file}: answers are in a .json, {', '.join(EXTENSIONS)} file")
    try:
        values = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: cannot be read as JSON: {error}") from error
    if not isinstance(values, list) or not all(isinstance(one, dict) for one in values):
        raise InputError(f"{file}: should be a list of objects, one an answer")
    yield from enumerate(values, start=1)
