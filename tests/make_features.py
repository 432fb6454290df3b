"""Labels and what their clips look like, for the tests of dedup."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

Vectors = npt.NDArray[np.float64]


def write_labels(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    pq.write_table(pa.Table.from_pylist([{"caption": "A dog runs.", **row} for row in rows]), path)
    return path


def write_embeddings(path: Path, clip_ids: Sequence[str], vectors: Any, *, model: str = "a") -> Path:
    numbers = np.asarray(vectors, np.float32)
    column = pa.FixedSizeListArray.from_arrays(pa.array(numbers.ravel()), numbers.shape[1])
    table = pa.table({"clip_id": list(clip_ids), "embedding": column})
    pq.write_table(
        table.replace_schema_metadata({"vidlabel.embeddings": json.dumps({"model_fingerprint": model})}), path
    )
    return path


def write_both(
    folder: Path, vectors: Any, rows: Sequence[Mapping[str, Any]] | None = None, name: str = "labels"
) -> Path:
    """Labels of clips c0, c1, ..., a row each unless told, and their embeddings beside them."""
    clip_ids = [f"c{number}" for number in range(len(vectors))]
    write_embeddings(folder / f"{name}.embeddings.parquet", clip_ids, vectors)
    return write_labels(folder / f"{name}.parquet", rows or [{"clip_id": clip_id} for clip_id in clip_ids])


def units(count: int, width: int, seed: int = 0) -> Vectors:
    """Vectors in random directions, of length 1."""
    vectors = np.random.default_rng(seed).standard_normal((count, width))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def near(vectors: Vectors, cosine: float, seed: int = 1) -> Vectors:
    """Others, each of this cosine to its original."""
    noise = units(len(vectors), vectors.shape[1], seed)
    noise -= np.einsum("nd,nd->n", noise, vectors)[:, None] * vectors
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    return cosine * vectors + (1 - cosine**2) ** 0.5 * noise
