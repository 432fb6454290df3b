"""The flag `duplicate` in rows of labels: a run sets it as it merges its parts, `vidlabel check` as it reads a file.

Two passes: which texts are said of many clips is known only after the last row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from vidlabel.quality import Repeats, can_repeat

FLAG = "duplicate"
TEXT_COLUMNS = ("clip_id", "task", "caption", "answer")

Spoken: TypeAlias = tuple[str | None, str | None, str | None]  # clip_id, task, text


def count_texts(repeats: Repeats, rows: Iterable[Spoken], first_row: int = 0) -> None:
    """Rows without a clip id are clips of their own, told by their number."""
    for number, (clip_id, task, text) in enumerate(rows, start=first_row):
        if text and can_repeat(task or "caption", text):
            repeats.add(clip_id or f"row {number}", text)


def is_duplicate(repeats: Repeats, task: str | None, text: str | None) -> bool:
    return bool(text) and can_repeat(task or "caption", text or "") and repeats.is_duplicate(text or "")


def marked(flags: Sequence[str] | None, is_one: bool) -> list[str]:
    """The flags with `duplicate` at their end, or without it; the others stay as they are."""
    rest = [flag for flag in flags or () if flag != FLAG]
    return [*rest, FLAG] if is_one else rest


def spoken_rows(batch: pa.RecordBatch | pa.Table) -> Iterator[Spoken]:
    """Of labels that a run made, which have a caption or an answer."""
    columns = [batch[name].to_pylist() if name in batch.schema.names else [None] * len(batch) for name in TEXT_COLUMNS]
    for clip_id, task, caption, answer in zip(*columns, strict=True):
        yield clip_id, task, answer if caption is None else caption


def remark(batch: pa.RecordBatch | pa.Table, repeats: Repeats) -> pa.Array | None:
    """The column `flags` with `duplicate` on the rows that are and on no other; None where that changes nothing."""
    flags_type = pa.list_(pa.string())
    column = batch["flags"] if "flags" in batch.schema.names else pa.nulls(len(batch), flags_type)
    if not repeats.found and not pc.any(pc.equal(pc.list_flatten(column), FLAG)).as_py():
        return None
    old = column.to_pylist()
    rows = zip(old, spoken_rows(batch), strict=True)
    new = [marked(flags, is_duplicate(repeats, task, text)) for flags, (_, task, text) in rows]
    return None if new == [flags or [] for flags in old] else pa.array(new, flags_type)
