"""What is known of how clips look, from wherever it lies: columns of the labels, the file of embeddings beside them,
and files that are named. Each clip counts once; two that look different cannot have one id.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vidlabel.dedup.clips import Clips, Indexes, clip_keys
from vidlabel.dedup.hashes import ClipHashes
from vidlabel.dedup.vectors import Vectors
from vidlabel.embeddings import made_by
from vidlabel.errors import InputError
from vidlabel.outputs import parse_output
from vidlabel.readers import parquet_batches
from vidlabel.tables.reading import LabelTable, asked_batches, open_table

EMBEDDING, PHASH = "embedding", "phash"
_ROWS = 5_000


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    vectors: Vectors | None
    hashes: ClipHashes | None

    def known(self, num_clips: int) -> npt.NDArray[np.bool_]:
        """The clips of which anything is known."""
        known = np.zeros(num_clips, np.bool_)
        if self.vectors is not None:
            known |= self.vectors.row_of >= 0
        if self.hashes is not None:
            known |= self.hashes.counts > 0
        return known


def find_features(labels: Sequence[LabelTable], named: Sequence[Path]) -> list[LabelTable]:
    """The files that may say how the clips look."""
    sources = []
    for path in named:
        table = open_table(path)
        table.require("clip_id", "--features")
        if not {EMBEDDING, PHASH} & set(table.names):
            raise InputError(f"--features {path}: has neither a column {EMBEDDING} nor {PHASH}")
        sources.append(table)
    for table in labels:
        beside = None if table.form in ("csv", "tsv") else parse_output(table.path).embeddings
        if beside is not None and beside.exists():
            sources.append(open_table(beside))
        if {EMBEDDING, PHASH} & set(table.names):
            sources.append(table)
    return list({table.path.resolve(): table for table in sources}.values())


def read_hashes(clips: Clips, sources: Sequence[LabelTable], max_bits: float) -> ClipHashes | None:
    sources = [table for table in sources if PHASH in table.names]
    hashes = ClipHashes(len(clips)) if sources else None
    for table in sources:
        for batch in asked_batches(table, {"clip_id": pa.string(), PHASH: pa.string()}):
            assert hashes is not None
            found = clips.find(clip_keys(batch["clip_id"], table.path))
            try:
                differ = hashes.add(found, batch[PHASH].to_pylist(), max_bits)
            except ValueError as error:
                raise InputError(f"{table.path}: the column {PHASH} should hold hashes ({error})") from error
            _refuse_two_of_one_id(table, batch, differ)
    return hashes


def read_vectors(clips: Clips, sources: Sequence[LabelTable], folder: Path) -> Vectors | None:
    """The vectors, in a folder of their own."""
    sources = [table for table in sources if EMBEDDING in table.names]
    for table in sources:
        if table.form not in ("parquet", "folder"):
            raise InputError(f"{table.path}: embeddings are read from parquet files only")
    models = {model for table in sources if (model := made_by(table.files[0]).get("model_fingerprint"))}
    if len(models) > 1:
        named = " and ".join(str(table.path) for table in sources)
        raise InputError(f"{named} hold embeddings of different models, which cannot be compared")
    vectors: Vectors | None = None
    for table in sources:
        for batch, embeddings in _embeddings(table):
            if vectors is None:
                _check_space(folder, len(clips), embeddings.shape[1])
                vectors = Vectors(folder, embeddings.shape[1], len(clips))
            if embeddings.shape[1] != vectors.width:
                raise InputError(
                    f"{table.path}: embeddings of {embeddings.shape[1]} numbers, and others of {vectors.width}"
                )
            found = clips.find(clip_keys(batch["clip_id"], table.path))
            firsts = np.unique(found, return_index=True)[1]  # of a clip's labels in one file all say the same
            differ = vectors.add(found[firsts], embeddings[firsts])
            _refuse_two_of_one_id(table, batch, firsts[differ])
    return vectors


def _embeddings(table: LabelTable) -> Iterator[tuple[pa.RecordBatch, npt.NDArray[np.float32]]]:
    """Rows that have an embedding, and the embeddings (N, D)."""
    for file in table.files:
        for batch in parquet_batches(file, ["clip_id", EMBEDDING], batch_rows=_ROWS):
            batch = batch.filter(pc.is_valid(batch[EMBEDDING]))
            if not len(batch):
                continue
            column = batch[EMBEDDING]
            try:
                widths = pc.unique(pc.list_value_length(column)).to_pylist()
                numbers = pc.cast(column.flatten(), pa.float32())
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                raise InputError(f"{file}: the column {EMBEDDING} should hold lists of numbers ({error})") from error
            if len(widths) != 1 or numbers.null_count or not widths[0]:
                raise InputError(f"{file}: the column {EMBEDDING} should hold lists of equally many numbers")
            yield batch, numbers.to_numpy().reshape(len(batch), widths[0])


def _check_space(folder: Path, num_clips: int, width: int) -> None:
    needed, free = num_clips * 2 * (width + 128), shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(
            f"--temp {folder.parent}: {num_clips:,} embeddings take {needed / 1e9:.1f} GB there while they are "
            f"compared, and {free / 1e9:.1f} GB are free; name a folder with more room"
        )


def _refuse_two_of_one_id(table: LabelTable, batch: pa.RecordBatch, differ: Indexes) -> None:
    if len(differ):
        clip_id = batch["clip_id"][int(differ[0])].as_py()
        raise InputError(
            f"{table.path}: clip {clip_id} looks different from the clip of that id in an earlier file; give dedup "
            "files in which an id means one clip"
        )
