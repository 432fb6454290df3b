"""What people decided about labels, in `labels.review.parquet` beside `labels.parquet`; the labels stay as they are.

A decision is first a line of `labels.review.journal`, synced to disk, and is folded into the parquet file when
reviewing begins and ends: a crash costs nothing, and a decision takes milliseconds however many there are. Readers take
both, the journal last. One row a label: the latest decision counts.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Self, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vidlabel.atomic import whole_file
from vidlabel.errors import InputError, LockedError
from vidlabel.jsonl import json_line
from vidlabel.labels import clean_text
from vidlabel.quality import FLAGS
from vidlabel.tables.reading import form_of
from vidlabel.tables.values import FLAGS_TYPE

Decision = Literal["accept", "edit", "reject"]
Mask = npt.NDArray[np.bool_]

REVIEW_SCHEMA = pa.schema(
    [
        ("label_id", pa.string()),
        ("decision", pa.string()),
        ("text", pa.string()),
        ("reviewed_at", pa.timestamp("us", tz="UTC")),
    ]
)


@dataclass(frozen=True, slots=True)
class Review:
    """What somebody decided about one label."""

    label_id: str
    decision: Decision
    text: str | None  # the edited caption or answer
    reviewed_at: datetime

    def __post_init__(self) -> None:
        if not self.label_id:
            raise ValueError(f"a review is of a label, got {self.label_id = }")
        if self.decision not in get_args(Decision):
            raise ValueError(f"a decision is accept, edit or reject, got {self.decision = }")
        if (self.decision == "edit") != bool(self.text and self.text.strip()):
            raise ValueError(f"an edit has a text, and nothing else has, got {self.decision = }, {self.text = }")
        if self.reviewed_at.tzinfo is None:
            raise ValueError(f"a time needs its zone, got {self.reviewed_at = }")


def review_file(labels: Path) -> Path:
    """Where the decisions about these labels are; its journal beside it has the suffix `.journal`."""
    stem = labels.name if form_of(labels) == "folder" else labels.stem
    return labels.with_name(stem + ".review.parquet")


def require_reviews(labels: Path, option: str) -> dict[str, Review]:
    """The decisions about these labels; an InputError, naming the option that needs them, where nobody made any."""
    file = review_file(labels)
    reviews = read_reviews(file)
    if not reviews:
        raise InputError(f"{option}: {file} holds no decisions; vidlabel review {labels} is where they are made")
    return reviews


def read_reviews(file: Path) -> dict[str, Review]:
    """Label id -> the latest decision, those of a session that still lasts or was killed too."""
    reviews = {review.label_id: review for review in _stored(file)}
    for label_id, review in _journal_lines(_journal_of(file)):
        if review is None:
            reviews.pop(label_id, None)
        else:
            reviews[label_id] = review
    return reviews


class ReviewLog:
    """The decisions, open for more, to be used with `with`. One at a time: a second one is a LockedError."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._journal = -1
        self.reviews: dict[str, Review] = {}

    def __enter__(self) -> Self:
        self._journal = _lock_journal(_journal_of(self._file))
        try:
            self._fold()
        except BaseException:
            os.close(self._journal)
            raise
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self._fold()
            _journal_of(self._file).unlink()
        finally:
            os.close(self._journal)

    def decide(self, label_id: str, decision: Decision, text: str | None = None) -> Review:
        """On disk when this returns."""
        review = Review(label_id, decision, None if text is None else clean_text(text), datetime.now(UTC))
        self._append(_row(review))
        self.reviews[label_id] = review
        return review

    def withdraw(self, label_id: str) -> None:
        """As if nothing had been decided about it."""
        if label_id in self.reviews:
            self._append({"label_id": label_id, "decision": None, "text": None, "reviewed_at": datetime.now(UTC)})
            del self.reviews[label_id]

    def _append(self, values: dict[str, object]) -> None:
        line, size = json_line(values).encode(), os.fstat(self._journal).st_size
        try:
            if os.write(self._journal, line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(_journal_of(self._file)))
            os.fsync(self._journal)
        except OSError:
            os.ftruncate(self._journal, size)  # half a line would spoil the next
            raise

    def _fold(self) -> None:
        """The parquet file first, so that a crash between the two leaves lines that say the same again."""
        self.reviews = read_reviews(self._file)
        if os.fstat(self._journal).st_size:
            rows = [_row(review) for _, review in sorted(self.reviews.items())]
            with whole_file(self._file) as beside:
                pq.write_table(pa.Table.from_pylist(rows, REVIEW_SCHEMA), beside, compression="zstd")
            os.ftruncate(self._journal, 0)


class Decided:
    """Decisions to be looked up for whole columns of label ids."""

    def __init__(self, reviews: Mapping[str, Review]) -> None:
        self._ids = pa.array(list(reviews), pa.string())
        self._decisions = pa.array([review.decision for review in reviews.values()], pa.string())
        self._texts = pa.array([review.text for review in reviews.values()], pa.string())

    def are(self, label_ids: pa.Array, *decisions: Decision) -> Mask:
        """Which of these labels were decided so."""
        found = self._decisions.take(pc.index_in(label_ids, value_set=self._ids))
        mask: Mask = pc.fill_null(pc.is_in(found, value_set=pa.array(decisions)), False).to_numpy(zero_copy_only=False)
        return mask

    def edited(self, batch: pa.RecordBatch, text_column: str | None = None) -> tuple[pa.RecordBatch, Mask]:
        """The rows with the edited texts in place, and which those are.

        They lose the flags that spoke of the old text. Scores stay, and are still those of what the model said.
        """
        where = self.are(batch["label_id"], "edit")
        columns = {name: batch[name] for name in batch.schema.names}
        texts = self._texts.take(pc.index_in(batch["label_id"], value_set=self._ids))
        for name, rows in _text_columns(batch, text_column).items():
            columns[name] = pc.if_else(pc.and_(pa.array(where), rows), texts.cast(columns[name].type), columns[name])
        if "flags" in columns and where.any():
            flags = [
                [flag for flag in of_row if flag not in FLAGS] if is_edited and of_row else of_row
                for of_row, is_edited in zip(columns["flags"].to_pylist(), where, strict=True)
            ]
            columns["flags"] = pa.array(flags, FLAGS_TYPE).cast(columns["flags"].type)
        return pa.RecordBatch.from_arrays(list(columns.values()), schema=batch.schema), where


def apply_reviews(
    batches: Iterable[pa.RecordBatch], reviews: Mapping[str, Review], *, only_reviewed: bool
) -> Iterator[pa.RecordBatch]:
    """Rejected labels go, edited ones get their text; `only_reviewed`: what nobody looked at goes too.

    The batches need a column `label_id`, and `caption` or `answer` if an edit is to be seen.
    """
    decided = Decided(reviews)
    for batch in batches:
        ids = batch["label_id"]
        keep = decided.are(ids, "accept", "edit") if only_reviewed else ~decided.are(ids, "reject")
        yield decided.edited(batch.filter(pa.array(keep)))[0]


def _text_columns(batch: pa.RecordBatch, text_column: str | None) -> dict[str, pa.BooleanArray]:
    """Column -> the rows that say there what they say."""
    names = batch.schema.names
    if text_column is not None:
        return {text_column: pa.array(np.ones(len(batch), np.bool_))}
    is_qa = pc.is_valid(batch["answer"]) if "answer" in names else pa.array(np.zeros(len(batch), np.bool_))
    if "task" in names:
        is_qa = pc.coalesce(pc.equal(batch["task"].cast(pa.string()), "qa"), is_qa)
    rows = {"caption": pc.invert(is_qa), "answer": is_qa}
    return {name: mask for name, mask in rows.items() if name in names}


def _journal_of(file: Path) -> Path:
    return file.with_suffix(".journal")


def _stored(file: Path) -> Iterator[Review]:
    if not file.exists():
        return
    try:
        for row in pq.read_table(file, columns=REVIEW_SCHEMA.names).to_pylist():
            yield Review(**row)
    except (pa.ArrowInvalid, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{file} is not a file of reviews ({error}); mend it, or move it away") from error


def _journal_lines(journal: Path) -> Iterator[tuple[str, Review | None]]:
    if not journal.exists():
        return
    # what follows the last line end was being written when the machine stopped, and was never confirmed
    for number, line in enumerate(journal.read_bytes().split(b"\n")[:-1], start=1):
        try:
            values = json.loads(line)
            label_id = values["label_id"]
            if values["decision"] is None:
                yield label_id, None
            else:
                yield label_id, Review(**values | {"reviewed_at": datetime.fromisoformat(values["reviewed_at"])})
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(f"{journal}, line {number}: not a decision ({error}); mend or remove the line") from error


def _lock_journal(journal: Path) -> int:
    """Opens the journal for nobody else to open. The kernel lets go when this process ends, however it ends."""
    while True:
        try:
            descriptor = os.open(journal, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise InputError(f"{journal} cannot be written ({error.strerror}); decisions go there") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # the last holder may have removed it between the two calls
            if journal.exists() and os.path.samestat(os.fstat(descriptor), journal.stat()):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            raise LockedError(f"{journal} is held by another review of these labels") from None
        os.close(descriptor)


def _row(review: Review) -> dict[str, object]:
    return {name: getattr(review, name) for name in REVIEW_SCHEMA.names}
