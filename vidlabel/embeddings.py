"""The file of embeddings beside the labels: one row a clip, however many labels it has.

While a run lasts they are parts in its work folder, saved no later than the labels of their clips; its end merges them.
A file of another model's vectors is never added to: they could not be compared.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vidlabel.atomic import whole_file
from vidlabel.config import AnswerSettings
from vidlabel.data import Clip, ClipFeatures
from vidlabel.errors import InputError
from vidlabel.labels import escape_name
from vidlabel.outputs import Output
from vidlabel.parts import DamagedPartError, PartSaver, in_chunks, part_paths, read_part, set_aside
from vidlabel.resume import Existing

logger = logging.getLogger(__name__)

METADATA = b"vidlabel.embeddings"  # what the vectors are of
_PREFIX = "embeddings"
_CHUNK_ROWS = 50_000  # of 1408 numbers: 280 MB


@dataclass(frozen=True, slots=True, eq=False)
class ClipEmbedding:
    """One row."""

    clip: Clip
    num_frames: int
    features: ClipFeatures


def embedding_schema(width: int) -> pa.Schema:
    return pa.schema(
        [
            ("clip_id", pa.string()),
            ("video_id", pa.string()),
            ("video_path", pa.string()),
            ("start_seconds", pa.float64()),
            ("end_seconds", pa.float64()),
            ("num_frames", pa.int32()),
            ("temporal_consistency", pa.float32()),
            ("embedding", pa.list_(pa.float32(), width)),
        ]
    )


def embedding_writer(folder: Path, settings: AnswerSettings, *, flush_seconds: float) -> PartSaver[ClipEmbedding]:
    """Saves rows as `embeddings-*.parquet`."""
    of = json.dumps({"model": settings.model, "model_fingerprint": settings.model_fingerprint})

    def to_table(rows: list[ClipEmbedding]) -> pa.Table:
        return _table(rows).replace_schema_metadata({METADATA: of})

    return PartSaver(folder, _PREFIX, to_table, flush_seconds=flush_seconds)


def check_embeddings(output: Output, existing: Existing, settings: AnswerSettings, *, replacing: bool) -> None:
    """Before a run that is to make embeddings."""
    if replacing:
        return
    files = embedding_files(output.embeddings)
    if not files:
        if len(existing.done_label_ids):
            logger.warning("--embeddings: clips that are labelled already get none; --overwrite makes all anew")
        return
    model = made_by(files[0]).get("model_fingerprint")
    if model != settings.model_fingerprint:
        raise InputError(
            f"--embeddings: {output.embeddings} holds those of another model; move it away, or take another --out"
        )


def embedding_files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(path.glob("part-*.parquet"))
    return [path] if path.exists() else []


def made_by(path: Path) -> dict[str, Any]:
    """What its metadata says of the vectors of a file; empty where another tool made it."""
    try:
        metadata = pq.read_schema(path).metadata or {}
        return dict(json.loads(metadata.get(METADATA, b"{}")))
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise InputError(f"{path} is not a whole file of embeddings ({error}); restore it, or move it away") from error


def merge_embeddings(output: Output, *, replacing: bool) -> None:
    """The parts in the work folder become rows of the file, each clip once; then the parts go."""
    paths = part_paths(output.work, _PREFIX)
    parts = {path: keys for path in paths if (keys := _keys(path)) is not None}
    if not parts:
        return
    old = [] if replacing else embedding_files(output.embeddings)
    chunks = _chunks(parts, old)
    if output.kind == "folder":
        output.embeddings.mkdir(exist_ok=True)
        number = max((int(path.stem[5:]) for path in embedding_files(output.embeddings)), default=-1) + 1
        for at, chunk in enumerate(chunks):
            with whole_file(output.embeddings / f"part-{number + at:06d}.parquet") as beside:
                _write(beside, iter([chunk]), chunk.schema)
        for path in embedding_files(output.embeddings) if replacing else ():
            if int(path.stem[5:]) < number:
                path.unlink()
    else:
        schema = pq.read_schema(next(iter(parts)))
        with whole_file(output.embeddings) as beside:
            _write(beside, (table for tables in (_tables(old), chunks) for table in tables), schema)
    for path in paths:
        path.unlink(missing_ok=True)


def _table(rows: list[ClipEmbedding]) -> pa.Table:
    vectors = np.stack([row.features.embedding for row in rows])
    clips = [row.clip for row in rows]
    columns: list[Any] = [
        [escape_name(clip.clip_id) for clip in clips],
        [escape_name(clip.video.video_id) for clip in clips],
        [escape_name(clip.video.path) for clip in clips],
        [clip.start_seconds for clip in clips],
        [clip.end_seconds for clip in clips],
        [row.num_frames for row in rows],
        [row.features.temporal_consistency for row in rows],
    ]
    schema = embedding_schema(vectors.shape[1])
    arrays = [pa.array(values, kind) for values, kind in zip(columns, schema.types[:-1], strict=True)]
    arrays.append(pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1]))
    return pa.Table.from_arrays(arrays, schema=schema)


def _keys(path: Path) -> npt.NDArray[np.int64] | None:
    """Of a part's clips; None where it is damaged: they have labels, are not asked again and get none."""
    try:
        return _numbers(read_part(path, ["clip_id"]))
    except DamagedPartError as error:
        logger.warning("%s; set aside, its clips have no embeddings", error)
        set_aside(path)
        return None


def _numbers(table: pa.Table) -> npt.NDArray[np.int64]:
    """64 bits for each clip's id, good within this process: ten million ids as strings would be a gigabyte."""
    return np.fromiter(map(hash, table["clip_id"].to_pylist()), np.int64, len(table))


def _chunks(parts: Mapping[Path, npt.NDArray[np.int64]], old: list[Path]) -> Iterator[pa.Table]:
    """New rows, each clip once; in order of video and time within a chunk, so the order of work does not show."""
    everything = np.concatenate(list(parts.values()))
    new = np.zeros(len(everything), np.bool_)
    new[np.unique(everything, return_index=True)[1]] = True
    for table in _tables(old, ["clip_id"]):
        new &= ~np.isin(everything, _numbers(table))
    masks = np.split(new, np.cumsum([len(keys) for keys in parts.values()])[:-1])
    tables = (read_part(path).filter(pa.array(mask)) for path, mask in zip(parts, masks, strict=True))
    return map(_sorted, in_chunks(tables, _CHUNK_ROWS))


def _sorted(table: pa.Table) -> pa.Table:
    keys = [(name, "ascending") for name in ("video_path", "start_seconds", "clip_id")]
    return table.take(pc.sort_indices(table.drop_columns("embedding"), sort_keys=keys))


def _tables(paths: list[Path], columns: list[str] | None = None) -> Iterator[pa.Table]:
    for path in paths:
        with pq.ParquetFile(path, pre_buffer=False) as file:
            for batch in file.iter_batches(batch_size=10_000, columns=columns):
                yield pa.Table.from_batches([batch])


def _write(path: Path, tables: Iterator[pa.Table], schema: pa.Schema) -> None:
    packed = dict.fromkeys([name for name in schema.names if name != "embedding"], "zstd")
    packed["embedding.list.element"] = "none"  # vectors hardly compress
    with pq.ParquetWriter(
        path, schema, compression=packed, use_dictionary=["video_id", "video_path"], write_page_checksum=True
    ) as writer:
        for table in tables:
            writer.write_table(table.cast(schema), row_group_size=10_000)
