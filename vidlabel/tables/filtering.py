"""`vidlabel filter`: keeps the labels that meet the rules, and says how many were dropped by which.

Two passes: the first reads the columns that the rules look at and decides every row at one byte each, the second copies
the rows that stay. So memory is bounded, and a wrong rule is refused before anything is written.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

import vidlabel
from vidlabel.errors import InputError
from vidlabel.quality import FLAGS, strip_opening
from vidlabel.tables.filter_rules import FilterReport, FilterRules
from vidlabel.tables.reading import LabelTable, Rows, asked_batches, chunks, form_of, open_table, row_schema
from vidlabel.tables.reviews import Decided, require_reviews
from vidlabel.tables.texts import languages_of, num_words, said, said_types, text_column_of, text_keys
from vidlabel.tables.values import FLAGS_TYPE
from vidlabel.tables.where_rule import WhereRule
from vidlabel.tables.writing import changed, changed_schema, check_out, taken, write_rows

Mask = npt.NDArray[np.bool_]

# flags that come from elsewhere than the checks of a text
OTHER_FLAGS = ("damaged", "subtitles_shortened")


def filter_labels(path: Path, out: Path, rules: FilterRules) -> FilterReport:
    table = open_table(path)
    check_out(out, table)
    decided = _decisions_for(table, rules)
    where = WhereRule(table, rules.where)
    types = where.types | _asked_types(table, rules)
    keep, report = _decide(table, types, rules, decided, where)
    as_lines = form_of(out) == "jsonl" and table.form == "jsonl"
    schema = table.schema if as_lines else row_schema(table)
    if rules.changes_text:
        names = {text_column_of(task, rules.text_column) for task in ("caption", "qa")} & set(table.names)
        replaced = dict.fromkeys(sorted(names), pa.string())
        if "flags" in table.names:
            replaced["flags"] = FLAGS_TYPE
        schema = changed_schema(schema, replaced)
    step = {
        "command": "filter",
        "version": vidlabel.__version__,
        "rules": json.loads(json.dumps(rules.asked())),
        "rows": report.num_rows,
        "kept": report.num_kept,
        "dropped": dict(report.dropped),
    }
    write_rows(out, _kept_rows(table, types, rules, decided, keep, as_lines=as_lines), schema, table, step)
    return report


def _decisions_for(table: LabelTable, rules: FilterRules) -> Decided | None:
    option = rules.reviews_option
    if option is None:
        return None
    table.require("label_id", option)
    return Decided(require_reviews(table.path, option))


def _asked_types(table: LabelTable, rules: FilterRules) -> dict[str, pa.DataType]:
    """The columns that the rules look at; an InputError names the first that is not there."""
    types: dict[str, pa.DataType] = {}
    if rules.drop_flags:
        table.require("flags", "--drop-flags (vidlabel check adds it)")
    if "flags" in table.names:
        types["flags"] = FLAGS_TYPE
    for name, (option, _) in rules.scores.items():
        table.require(name, option)
        types[name] = pa.float64()
    if rules.min_agreement is not None:
        types["task"] = pa.string()
    for name, option, asked in (("language", "--language", rules.languages), ("task", "--task", rules.task)):
        if asked:
            table.require(name, option)
            types[name] = pa.string()
    if rules.reviews_option is not None:
        types["label_id"] = pa.string()
    return types | dict(said_types(table, rules.text_column) if rules.reads_text or rules.changes_text else {})


def _decide(
    table: LabelTable, types: Mapping[str, pa.DataType], rules: FilterRules, decided: Decided | None, where: WhereRule
) -> tuple[Mask, FilterReport]:
    masks: list[Mask] = []
    keys: list[npt.NDArray[np.int64]] = []
    dropped: Counter[str] = Counter()
    alone: Counter[str] = Counter()
    seen_flags: set[str] = set()
    stripped: list[Mask] = []
    edited: list[Mask] = []
    for raw in asked_batches(table, types):
        batch, by_reviewers, cut = _reworked(raw, rules, decided)
        edited.append(by_reviewers)
        stripped.append(cut)
        reasons = _reasons(batch, rules) | _decisions(batch, rules, decided) | where.reasons(batch)
        num_reasons = np.sum([*reasons.values(), np.zeros(len(batch), np.bool_)], axis=0)
        for reason, mask in reasons.items():
            dropped[reason] += int(mask.sum())
            alone[reason] += int((mask & (num_reasons == 1)).sum())
        masks.append(num_reasons == 0)
        if rules.max_duplicates is not None:
            keys.append(text_keys(said(batch, rules.text_column)))
        if rules.drop_flags:
            seen_flags.update(pc.unique(batch["flags"].flatten()).to_pylist())
    _refuse_unknown(table, rules, seen_flags)
    keep = np.concatenate([np.zeros(0, np.bool_), *masks])
    if rules.max_duplicates is not None and keys:
        reason = f"more than {rules.max_duplicates} labels with the same text"
        surplus = keep.copy()
        surplus[keep] = ~first_of_each(np.concatenate(keys)[keep], rules.max_duplicates)
        dropped[reason] = alone[reason] = int(surplus.sum())
        keep &= ~surplus
    num_stripped, num_edited = (int(keep[np.concatenate(masks)].sum()) if masks else 0 for masks in (stripped, edited))
    counts = (len(keep), int(keep.sum()), num_stripped, num_edited)
    return keep, FilterReport(*counts, _above_zero(dropped), _above_zero(alone))


def _decisions(batch: pa.RecordBatch, rules: FilterRules, decided: Decided | None) -> dict[str, Mask]:
    if decided is None:
        return {}
    reasons = {"rejected by a reviewer": decided.are(batch["label_id"], "reject")}
    if rules.reviewed:
        reasons["not reviewed"] = ~decided.are(batch["label_id"], "accept", "edit", "reject")
    return reasons


def _reworked(batch: pa.RecordBatch, rules: FilterRules, decided: Decided | None) -> tuple[pa.RecordBatch, Mask, Mask]:
    """The rows as the rules see them, and they are written: which have a reviewer's text, which lost an opening."""
    edited = stripped = np.zeros(len(batch), np.bool_)
    if decided is not None:
        batch, edited = decided.edited(batch, rules.text_column)
    if rules.strip_openings and len(batch):
        batch, stripped = _without_openings(batch, rules)
    return batch, edited, stripped


def _reasons(batch: pa.RecordBatch, rules: FilterRules) -> dict[str, Mask]:
    """Reason to drop -> the rows that have it."""
    reasons: dict[str, Mask] = {}
    if rules.drop_flags:
        reasons |= _flagged(batch["flags"], rules)
    for name, (_, least) in rules.scores.items():
        missing = _mask(pc.or_kleene(pc.is_null(batch[name]), pc.is_nan(batch[name])))
        if name == "agreement":
            missing &= ~_mask(pc.equal(batch["task"], "caption"))  # only answers are asked for again
        reasons[f"no {name}"] = missing
        reasons[f"{name} below {least:g}"] = _mask(pc.less(batch[name], least))
    if rules.min_words is not None or rules.max_words is not None:
        counts = num_words(said(batch, rules.text_column).texts)
        if rules.min_words is not None:
            reasons[f"fewer than {rules.min_words} words"] = counts < rules.min_words
        if rules.max_words is not None:
            reasons[f"more than {rules.max_words} words"] = counts > rules.max_words
    if rules.languages:
        language = pc.utf8_lower(batch["language"])
        wanted = [_mask(pc.starts_with(pc.binary_join_element_wise(language, "", "-"), f"{tag.lower()}-"))
                  for tag in rules.languages]  # fmt: skip
        reasons[f"language is not {' or '.join(rules.languages)}"] = ~np.any(wanted, axis=0)
    if rules.task is not None:
        reasons[f"task is not {rules.task}"] = ~_mask(pc.equal(batch["task"], rules.task))
    return reasons


def _flagged(flags: pa.ListArray, rules: FilterRules) -> dict[str, Mask]:
    values, rows = flags.flatten(), pc.list_parent_indices(flags).to_numpy()
    reasons = {}
    for flag in pc.unique(values).drop_null().to_pylist():
        if flag not in rules.keep_flags and ("all" in rules.drop_flags or flag in rules.drop_flags):
            mask = np.zeros(len(flags), np.bool_)
            mask[rows[_mask(pc.equal(values, flag))]] = True
            reasons[f"flag {flag}"] = mask
    return reasons


def _refuse_unknown(table: LabelTable, rules: FilterRules, seen: set[str]) -> None:
    """A flag that is neither vidlabel's nor in the file is a slip of the pen that would drop nothing."""
    known = {*FLAGS, *OTHER_FLAGS, *seen, "all"}
    for option, flags in (("--drop-flags", rules.drop_flags), ("--keep-flags", rules.keep_flags)):
        for flag in flags:
            if flag not in known:
                names = ", ".join(sorted(name for name in known if name))
                raise InputError(f"{option} {flag}: no such flag, and none in {table.path}; there are {names}")


def first_of_each(keys: npt.NDArray[np.int64], num: int) -> Mask:
    """True for the first `num` rows of each key."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=ordered[:1] - 1)) if len(keys) else np.zeros(0, np.int64)
    rank = np.arange(len(keys)) - np.repeat(starts, np.diff(starts, append=len(keys)))
    mask = np.empty(len(keys), np.bool_)
    mask[order] = rank < num
    return mask


def _kept_rows(
    table: LabelTable,
    types: Mapping[str, pa.DataType],
    rules: FilterRules,
    decided: Decided | None,
    keep: Mask,
    *,
    as_lines: bool,
) -> Iterator[Rows]:
    at = 0
    for chunk in chunks(table, types, as_lines=as_lines):
        mask = pa.array(keep[at : at + len(chunk.asked)])
        at += len(chunk.asked)
        if len(mask) < len(chunk.asked):
            break
        rows, asked = taken(chunk.rows, mask), chunk.asked.filter(mask)
        if rules.changes_text:
            asked, edited, stripped = _reworked(asked, rules, decided)
            names = [name for name in ("caption", "answer", rules.text_column, "flags") if name in table.names]
            columns = {name: asked[name] for name in names if name in asked.schema.names}
            rows = changed(rows, columns, where=(edited | stripped).tolist())
        yield rows
    if at != len(keep):
        raise InputError(f"{table.path} was changed while it was being read; run the same command again")


def _without_openings(batch: pa.RecordBatch, rules: FilterRules) -> tuple[pa.RecordBatch, Mask]:
    """The rows with their openings off, and which those are; they lose the flag that says they had one."""
    spoken = said(batch, rules.text_column)
    texts = spoken.texts.to_pylist()
    languages = languages_of(spoken).to_pylist()
    new = [text and strip_opening(text, language) for text, language in zip(texts, languages, strict=True)]
    stripped = np.array([a != b for a, b in zip(texts, new, strict=True)], np.bool_)
    columns = {name: batch[name] for name in batch.schema.names}
    for task in ("caption", "qa"):
        name = text_column_of(task, rules.text_column)
        if name in columns:
            here = pc.and_(pa.array(stripped), pc.equal(spoken.tasks, task))
            columns[name] = pc.if_else(here, pa.array(new, pa.string()), columns[name])
    if "flags" in columns:
        flags = columns["flags"].to_pylist()
        columns["flags"] = pa.array(
            [[f for f in of_row if f != "prefix"] if cut and of_row else of_row
             for of_row, cut in zip(flags, stripped, strict=True)], FLAGS_TYPE)  # fmt: skip
    return pa.RecordBatch.from_arrays(list(columns.values()), list(columns)), stripped


def _mask(values: pa.BooleanArray) -> Mask:
    mask: Mask = pc.fill_null(values, False).to_numpy(zero_copy_only=False)
    return mask


def _above_zero(counts: Counter[str]) -> dict[str, int]:
    return {name: count for name, count in sorted(counts.items()) if count}


class RowFilter:
    """The rules that look at one label at a time, for who reads the labels by another way than to a file of labels."""

    def __init__(self, table: LabelTable, rules: FilterRules) -> None:
        self._table = table
        self._rules = rules
        self._seen_flags: set[str] = set()
        self._decided = _decisions_for(table, rules)
        self._where = WhereRule(table, rules.where)
        self.types = self._where.types | _asked_types(table, rules)

    def reworked(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """With what reviewers wrote, and without openings, as the rules say."""
        return _reworked(batch, self._rules, self._decided)[0]

    def reasons(self, batch: pa.RecordBatch) -> dict[str, Mask]:
        """Of a reworked batch: reason to drop -> the rows that have it."""
        if self._rules.drop_flags:
            self._seen_flags.update(pc.unique(batch["flags"].flatten()).to_pylist())
        return _reasons(batch, self._rules) | _decisions(batch, self._rules, self._decided) | self._where.reasons(batch)

    def finish(self) -> None:
        """After the last batch: refuses flags that nobody knows."""
        _refuse_unknown(self._table, self._rules, self._seen_flags)
