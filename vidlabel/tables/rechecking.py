"""`vidlabel check`: the flags of labels that are there, made anew from what the labels say.

Two passes: which texts are said of many clips is known only after the last row. Flags that a text cannot tell, such as
`damaged`, stay as they are, and so does every other column.
"""

from __future__ import annotations

import multiprocessing
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

import vidlabel
from vidlabel.duplicates import FLAG, count_texts, is_duplicate
from vidlabel.quality import FLAGS, Repeats, Said, flags_of
from vidlabel.tables.reading import Chunk, LabelTable, Rows, asked_batches, chunks, form_of, open_table, row_schema
from vidlabel.tables.texts import languages_of, said, said_types
from vidlabel.tables.values import FLAGS_TYPE
from vidlabel.tables.writing import changed, changed_schema, check_out, write_rows

POOL_ROWS = 20_000  # fewer are done sooner than worker processes have started

_JUDGED = ("tasks", "questions", "texts", "languages", "finish_reasons", "subtitles")


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a check found: how many labels have each flag now, and had before."""

    num_rows: int
    num_clean: int
    now: Mapping[str, int] = field(default_factory=dict, hash=False)
    before: Mapping[str, int] = field(default_factory=dict, hash=False)

    def to_text(self) -> str:
        names = [*FLAGS, *sorted({*self.now, *self.before} - set(FLAGS))]
        width = max(map(len, names)) + 2
        lines = [f"{'flag':{width}}{'labels':>12}{'share':>9}{'before':>12}"]
        for name in names:
            now, before = self.now.get(name, 0), self.before.get(name, 0)
            if now or before:
                lines.append(f"{name:{width}}{now:>12,}{now / self.num_rows:>9.2%}{before:>12,}")
        lines.append(f"{'clean':{width}}{self.num_clean:>12,}{self.num_clean / (self.num_rows or 1):>9.2%}")
        return "\n".join(lines)


def check_labels(path: Path, out: Path, *, text_column: str | None = None, num_workers: int = 1) -> CheckReport:
    table = open_table(path)
    check_out(out, table)
    types = dict(said_types(table, text_column))
    types |= dict.fromkeys(("clip_id", "instruction", "finish_reason", "subtitles"), pa.string())
    repeats, num_rows = _repeats(table, types, text_column)
    as_lines = form_of(out) == "jsonl" and table.form == "jsonl"
    schema = table.schema if as_lines else changed_schema(row_schema(table), {"flags": FLAGS_TYPE})
    now: Counter[str] = Counter()
    before: Counter[str] = Counter()

    def rows() -> Iterator[Rows]:
        with _judge(num_workers if num_rows >= POOL_ROWS else 1) as pool:
            for chunk, found in _judged(
                chunks(table, types | {"flags": FLAGS_TYPE}, as_lines=as_lines), pool, text_column
            ):
                flags = _with_rest(table, chunk, found, repeats, text_column)
                before.update(pc.drop_null(chunk.asked["flags"].flatten()).to_pylist())
                now.update(flag for of_row in flags for flag in of_row)
                now[""] += sum(not of_row for of_row in flags)
                yield changed(chunk.rows, {"flags": pa.array(flags, FLAGS_TYPE)})

    write_rows(out, rows(), schema, table, {"command": "check", "version": vidlabel.__version__})
    num_clean = now.pop("", 0)
    return CheckReport(num_rows, num_clean, dict(now), dict(before))


def _repeats(table: LabelTable, types: Mapping[str, pa.DataType], text_column: str | None) -> tuple[Repeats, int]:
    repeats, num_rows = Repeats(), 0
    for batch in asked_batches(table, types):
        spoken = said(batch, text_column)
        rows = (batch["clip_id"].to_pylist(), spoken.tasks.to_pylist(), spoken.texts.to_pylist())
        count_texts(repeats, zip(*rows, strict=True), num_rows)
        num_rows += len(batch)
    return repeats, num_rows


def _judge(num_workers: int) -> AbstractContextManager[ProcessPoolExecutor | None]:
    if num_workers <= 1:
        return nullcontext()
    return ProcessPoolExecutor(num_workers, mp_context=multiprocessing.get_context("forkserver"))


def _judged(
    source: Iterator[Chunk], pool: ProcessPoolExecutor | None, text_column: str | None
) -> Iterator[tuple[Chunk, list[tuple[str, ...]]]]:
    """The chunks in their order, each with the flags that its texts alone tell."""
    waiting: deque[tuple[Chunk, list[Future[list[tuple[str, ...]]]]]] = deque()
    for chunk in source:
        columns = _judged_columns(chunk.asked, text_column)
        if pool is None:
            yield chunk, flags_of_rows(columns)
            continue
        slices = [columns.slice(at, 5_000) for at in range(0, len(columns), 5_000)]
        # a slice would be sent with all the rows it was cut from
        waiting.append((chunk, [pool.submit(flags_of_rows, pa.concat_batches([part])) for part in slices]))
        if len(waiting) > 1:
            done, futures = waiting.popleft()
            yield done, [flags for future in futures for flags in future.result()]
    for done, futures in waiting:
        yield done, [flags for future in futures for flags in future.result()]


def _judged_columns(asked: pa.RecordBatch, text_column: str | None) -> pa.RecordBatch:
    spoken = said(asked, text_column)
    questions = pc.coalesce(spoken.questions, asked["instruction"])
    columns = [spoken.tasks, questions, spoken.texts, languages_of(spoken), asked["finish_reason"], asked["subtitles"]]
    return pa.RecordBatch.from_arrays(columns, list(_JUDGED))


def flags_of_rows(columns: pa.RecordBatch) -> list[tuple[str, ...]]:
    """Runs in a worker too."""
    rows = zip(*(columns[name].to_pylist() for name in _JUDGED), strict=True)
    return [
        flags_of(
            Said(
                text=text or "",
                task="qa" if task == "qa" else "caption",
                question=question or "",
                language=language or "en",
                finish_reason=_finish_reason(finish_reason),
                subtitles=subtitles or "",
            )
        )
        for task, question, text, language, finish_reason, subtitles in rows
    ]


def _finish_reason(text: str | None) -> Any:
    return text if text in ("stop", "length") else None  # other tools have other words


def _with_rest(
    table: LabelTable, chunk: Chunk, found: list[tuple[str, ...]], repeats: Repeats, text_column: str | None
) -> list[list[str]]:
    """With `duplicate`, and with those of the flags there were that these columns cannot tell."""
    cannot_tell = {"truncated"} if "finish_reason" not in table.names else set()
    if "subtitles" not in table.names:
        cannot_tell.add("subtitle_copy")
    spoken = said(chunk.asked, text_column)
    rows = zip(found, chunk.asked["flags"].to_pylist(), spoken.tasks.to_pylist(), spoken.texts.to_pylist(), strict=True)
    result = []
    for own, old, task, text in rows:
        flags = {*own}
        if is_duplicate(repeats, task, text):
            flags.add(FLAG)
        rest = [flag for flag in dict.fromkeys(old or ()) if flag not in FLAGS]
        flags |= cannot_tell & {*(old or ())}
        result.append([flag for flag in FLAGS if flag in flags] + rest)
    return result
