"""What dedup writes: the labels of the clips that stay, in the form and with the metadata that they had, and who went
for whom."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import vidlabel
from vidlabel.atomic import whole_file
from vidlabel.columns import Kinds, unify_columns
from vidlabel.dedup.alike import Pairs
from vidlabel.dedup.clips import Clips, Indexes, clip_keys
from vidlabel.dedup.report import DedupReport, DedupRules
from vidlabel.errors import InputError
from vidlabel.tables.reading import LabelTable, Rows, asked_batches, chunks, form_of, row_schema
from vidlabel.tables.writing import taken, write_rows

_PLACE = {"clip_id": pa.string(), "video_path": pa.string(), "start_seconds": pa.float64(), "end_seconds": pa.float64()}


def check_groups_out(groups: Path, out: Path, tables: Sequence[LabelTable]) -> None:
    if groups.suffix != ".parquet":
        raise InputError(f"--groups {groups}: groups are written to a .parquet file")
    if not groups.resolve().parent.is_dir():
        raise InputError(f"--groups {groups}: there is no folder {groups.resolve().parent}")
    if groups.resolve() in {out.resolve(), *(table.path.resolve() for table in tables)}:
        raise InputError(f"--groups {groups}: is a file that is read or written for its labels; name another")


def write_kept(
    out: Path, tables: Sequence[LabelTable], clips: Clips, leader: Indexes, rules: DedupRules, report: DedupReport
) -> None:
    step: dict[str, Any] = {
        "command": "dedup",
        "version": vidlabel.__version__,
        "rules": asdict(rules),
        "files": [str(table.path) for table in tables],
        "rows": report.num_labels,
        "kept": report.num_kept_labels,
        "dropped": dict(report.dropped_labels),
    }
    as_lines = form_of(out) == "jsonl" and all(table.form == "jsonl" for table in tables)
    if as_lines:
        schema = tables[0].schema
    elif len(tables) == 1:
        schema = row_schema(tables[0])
    else:
        schema = _common_schema(tables)
    rows = _kept_rows(tables, clips, leader, None if as_lines or len(tables) == 1 else schema, as_lines=as_lines)
    write_rows(out, rows, schema, _as_one(tables), step)


def _as_one(tables: Sequence[LabelTable]) -> LabelTable:
    """What is said of the labels as a whole: where they were made with different settings, nothing."""
    first, *others = tables
    infos = [table.info for table in tables if table.info is not None]
    if not others:
        return first
    if len(infos) < len(tables) or len({info.settings_json for info in infos}) > 1:
        return replace(first, info=None, steps=(), schema=first.schema.with_metadata(None))
    kinds: Kinds = {}
    for info in infos:
        kinds = unify_columns(kinds, info.kinds)
    whole = replace(
        infos[0],
        incomplete_videos=frozenset().union(*(info.incomplete_videos for info in infos)),
        kinds=kinds,
        has_spans=any(info.has_spans for info in infos),
    )
    return replace(first, info=whole)


def _common_schema(tables: Sequence[LabelTable]) -> pa.Schema:
    try:
        schemas = [row_schema(table) for table in tables]
        schema = pa.unify_schemas(schemas, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        named = ", ".join(str(table.path) for table in tables)
        raise InputError(f"{named}: a column has types that cannot be one ({error})") from error
    return schema.with_metadata(_as_one(tables).schema.metadata)


def _kept_rows(
    tables: Sequence[LabelTable], clips: Clips, leader: Indexes, schema: pa.Schema | None, *, as_lines: bool
) -> Iterator[Rows]:
    for table in tables:
        for chunk in chunks(table, {"clip_id": pa.string()}, as_lines=as_lines):
            of = clips.find(clip_keys(chunk.asked["clip_id"], table.path))
            rows = taken(chunk.rows, pa.array(leader[of] == of))
            yield rows if schema is None or isinstance(rows, list) else _cast(rows, schema)


def _cast(rows: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    columns = [
        rows[field.name].cast(field.type) if field.name in rows.schema.names else pa.nulls(len(rows), field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def write_groups(path: Path, tables: Sequence[LabelTable], clips: Clips, pairs: Pairs) -> None:
    """A row for each clip of a group, the one that stays first, then from the most to the least like it."""
    members = np.concatenate([pairs.first, np.unique(pairs.second)])
    places = _places(tables, clips, members)
    at = np.full(len(clips), -1)
    at[members] = np.arange(len(members))
    leaders = np.concatenate([pairs.second, np.unique(pairs.second)])
    num_leaders = len(members) - len(pairs.first)
    stays = np.arange(len(members)) >= len(pairs.first)

    def of_dropped(values: Any, kind: pa.DataType) -> pa.Array:
        numbers = np.concatenate([values.astype(np.float64), np.full(num_leaders, np.nan)])
        return pa.array(numbers, pa.float64(), from_pandas=True).cast(kind)

    group = np.unique(leaders, return_inverse=True)[1]
    reason = np.concatenate([np.where(pairs.by_hash, "phash", "embedding"), np.full(num_leaders, "")])
    table = pa.table(
        {
            "group": pa.array(group, pa.int64()),
            "clip_id": places["clip_id"],
            "video_path": places["video_path"],
            "start_seconds": places["start_seconds"],
            "end_seconds": places["end_seconds"],
            "kept": pa.array(stays),
            "kept_clip_id": places["clip_id"].take(pa.array(at[leaders])),
            "reason": pc.if_else(pa.array(stays), None, pa.array(reason.astype(object), pa.string())),
            "similarity": of_dropped(pairs.cosines, pa.float32()),
            "hash_bits": of_dropped(pairs.bits, pa.float32()),
            "num_labels": pa.array(clips.num_labels[members], pa.int32()),
        }
    )
    order = [("group", "ascending"), ("kept", "descending"), ("similarity", "descending"), ("hash_bits", "ascending")]
    with whole_file(path) as beside:
        pq.write_table(table.sort_by([*order, ("clip_id", "ascending")]), beside, compression="zstd")


def _places(tables: Sequence[LabelTable], clips: Clips, members: Indexes) -> pa.Table:
    """Where these clips are, in their order."""
    wanted = np.zeros(len(clips), np.bool_)
    wanted[members] = True
    found: list[pa.Table] = []
    order: list[Indexes] = [np.empty(0, np.int64)]
    for table in tables:
        for batch in asked_batches(table, _PLACE):
            of = clips.find(clip_keys(batch["clip_id"], table.path))
            firsts = np.sort(np.unique(of, return_index=True)[1])
            firsts = firsts[wanted[of[firsts]]]
            wanted[of[firsts]] = False
            found.append(pa.Table.from_batches([batch.take(pa.array(firsts))]))
            order.append(of[firsts])
    place = np.full(len(clips), -1)
    clips_found = np.concatenate(order)
    place[clips_found] = np.arange(len(clips_found))
    schema = pa.schema(list(_PLACE.items()))
    return pa.concat_tables([schema.empty_table(), *found]).take(pa.array(place[members])).combine_chunks()
