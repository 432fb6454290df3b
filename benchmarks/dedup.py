"""Time, memory and truth of finding duplicates by embedding: `python -m benchmarks.dedup [--rows N] [--workers 2]`.

Random vectors of 1,408 numbers, a clip each, one in a hundred of them a duplicate of another with noise on it (cosine
0.985 to 0.9999, so all above the default of 0.98) and one in two hundred a near miss (0.90 to 0.97). Measured is the
real command line in a process of its own, writing the labels that stay and the groups. Goal for a million on two cores:
99% of the duplicates, in 10 minutes and 8 GiB. Beside it stands the exact way, every vector with every other by one
matrix product in numpy, of which a part is timed and the whole counted up. Takes 9 GB of disk for a million.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.planning import Used, run_measured
from vidlabel.embeddings import embedding_schema
from vidlabel.outputs import parse_output

WIDTH = 1408
DUPLICATES, MISSES = 0.01, 0.005  # shares of the rows
CHUNK = 10_000
EXACT_ROWS = 20_000

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Planted:
    """Rows that are made from one another."""

    originals: npt.NDArray[np.int64]
    copies: npt.NDArray[np.int64]
    original: Vectors
    copy: Vectors


def scaled(vectors: npt.NDArray[np.float64]) -> Vectors:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def plant(rows: npt.NDArray[np.int64], least: float, most: float, rng: np.random.Generator) -> Planted:
    """Half of these rows from the other half, at cosines between these."""
    half = len(rows) // 2
    original = scaled(rng.standard_normal((half, WIDTH)))
    noise = rng.standard_normal((half, WIDTH))
    noise -= np.einsum("nd,nd->n", noise, original)[:, None] * original
    cosines = rng.uniform(least, most, half)[:, None]
    copy = cosines * original + (1 - cosines**2) ** 0.5 * scaled(noise)
    return Planted(rows[:half], rows[half : 2 * half], original, copy.astype(np.float32))


def write(labels: Path, num_rows: int) -> Planted:
    """Labels and embeddings of so many clips; gives the duplicates."""
    rng = np.random.default_rng(0)
    num_pairs, num_misses = int(num_rows * DUPLICATES), int(num_rows * MISSES)
    rows = rng.permutation(num_rows)
    pairs = plant(rows[: 2 * num_pairs], 0.985, 0.9999, rng)
    misses = plant(rows[2 * num_pairs : 2 * num_pairs + 2 * num_misses], 0.90, 0.97, rng)
    at = np.concatenate([pairs.originals, pairs.copies, misses.originals, misses.copies])
    vectors = np.concatenate([pairs.original, pairs.copy, misses.original, misses.copy])
    place = np.full(num_rows, -1)
    place[at] = np.arange(len(at))
    schema = embedding_schema(WIDTH)
    with pq.ParquetWriter(parse_output(labels).embeddings, schema, compression="none", use_dictionary=False) as writer:
        for start in range(0, num_rows, CHUNK):
            count = min(CHUNK, num_rows - start)
            chunk = rng.standard_normal((count, WIDTH), np.float32)
            chunk /= np.linalg.norm(chunk, axis=1, keepdims=True)
            own = place[start : start + count]
            chunk[own >= 0] = vectors[own[own >= 0]]
            names = pa.array([f"clip{row:08d}" for row in range(start, start + count)])
            columns = {name: pa.nulls(count, kind) for name, kind in zip(schema.names, schema.types, strict=True)}
            columns |= {"clip_id": names, "video_id": names, "video_path": names}
            columns["embedding"] = pa.FixedSizeListArray.from_arrays(pa.array(chunk.ravel()), WIDTH)
            writer.write_table(pa.table(columns, schema=schema), row_group_size=CHUNK)
    clip_ids = pa.array([f"clip{row:08d}" for row in range(num_rows)])
    pq.write_table(pa.table({"clip_id": clip_ids, "caption": clip_ids}), labels)
    return pairs


def found(groups: Path, planted: Planted) -> tuple[int, int]:
    """Of the planted pairs how many were found, and how many others."""
    table = pq.read_table(groups, columns=["clip_id", "kept_clip_id", "kept"])
    pairs = {frozenset((row["clip_id"], row["kept_clip_id"])) for row in table.to_pylist() if not row["kept"]}
    real = {
        frozenset((f"clip{one:08d}", f"clip{other:08d}"))
        for one, other in zip(planted.originals.tolist(), planted.copies.tolist(), strict=True)
    }
    return len(pairs & real), len(pairs - real)


def exact_hours(num_rows: int) -> float:
    """What all products of all pairs would take in numpy, counted up from a part."""
    vectors = np.random.default_rng(0).standard_normal((EXACT_ROWS, WIDTH), np.float32)
    started = time.perf_counter()
    for start in range(0, 1000, 500):
        (vectors[start : start + 500] @ vectors.T > 0.98).any()
    return (time.perf_counter() - started) * (num_rows / 1000) * (num_rows / EXACT_ROWS) / 2 / 3600


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--temp", type=Path, help="a folder with room; default: the system's")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.temp) as temporary:
        labels, groups = Path(temporary) / "labels.parquet", Path(temporary) / "groups.parquet"
        planted = write(labels, options.rows)
        command = [sys.executable, "-m", "vidlabel", "dedup", str(labels), "--groups", str(groups)]
        command += ["--out", str(labels.with_name("kept.parquet")), "--workers", str(options.workers)]
        used: Used = run_measured(command)
        num_found, num_others = found(groups, planted)
    num_planted, hours = len(planted.copies), exact_hours(options.rows)
    print(f"{options.rows:,} vectors of {WIDTH:,} numbers, {options.workers} threads")
    print(f"wall {used.seconds:.0f} s, CPU {used.cpu_seconds:.0f} s, peak memory {used.mib / 1024:.2f} GiB")
    print(f"duplicates found {num_found:,} of {num_planted:,} ({num_found / num_planted:.2%}), others {num_others:,}")
    print(f"all pairs in numpy would take {hours:.2f} h: {hours * 3600 / used.seconds:.1f}x")


if __name__ == "__main__":
    main()
