"""Time and memory of exporting a million labels: `python -m benchmarks.export [--rows N]`.

Every label is the caption of a clip of its own, a whole video, so nothing is saved by leaving labels out. Measured are
finetrainers, without videos and with a link to each, and webdataset without videos; each runs as a user runs it, in
a process of its own. The baseline is what any such script must do at least: pyarrow reads the columns, `json.dumps`
writes a line a row. Goal: 2 minutes and 2 GiB.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.labels_table import make_labels, run_measured
from vidlabel.readers import parquet_batches

VIDEOS = 1000
BASELINE = (
    "import sys, json, pyarrow.parquet as pq\n"
    "file = open(sys.argv[2], 'w')\n"
    "for batch in pq.ParquetFile(sys.argv[1]).iter_batches(50_000, columns=['clip_id', 'video_path', 'caption']):\n"
    "    file.writelines(json.dumps(row) + '\\n' for row in batch.to_pylist())\n"
)
RUNS: list[tuple[str, ...]] = [
    ("--to", "finetrainers", "--no-videos"),
    ("--to", "finetrainers", "--symlink"),
    ("--to", "webdataset", "--no-videos"),
]


def make_captions(path: Path, num_rows: int) -> None:
    """The labels of the other benchmark, each turned into the caption of a whole video."""
    mixed = path.with_name("mixed.parquet")
    make_labels(mixed, num_rows)
    writer = None
    for batch in parquet_batches(mixed):
        texts = pc.coalesce(batch["caption"], batch["answer"])
        number = [int(label_id, 16) for label_id in batch["label_id"].to_pylist()]
        changed = {
            "clip_id": batch["label_id"],
            "video_path": pa.array([f"{n % VIDEOS:04d}.mp4" for n in number]),
            "start_seconds": pa.array([0.0] * len(number)),
            "end_seconds": batch["video_seconds"],
            "task": pa.array(["caption"] * len(number)),
            "caption": texts,
            "question": pa.nulls(len(number), pa.string()),
            "answer": pa.nulls(len(number), pa.string()),
        }
        columns = [changed.get(name, batch[name]) for name in batch.schema.names]
        made = pa.RecordBatch.from_arrays(columns, schema=batch.schema)
        writer = writer or pq.ParquetWriter(path, made.schema, compression="zstd", write_page_checksum=True)
        writer.write_batch(made)
    assert writer is not None
    writer.close()
    mixed.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        labels, videos = Path(temporary) / "labels.parquet", Path(temporary) / "videos"
        make_captions(labels, options.rows)
        videos.mkdir()
        for number in range(VIDEOS):
            (videos / f"{number:04d}.mp4").write_bytes(b"a video, as far as a link to it goes")
        timed = [("pyarrow and json.dumps", [sys.executable, "-c", BASELINE, str(labels), f"{temporary}/lines.jsonl"])]
        for number, arguments in enumerate(RUNS):
            command = [sys.executable, "-m", "vidlabel", "export", str(labels), *arguments, "--root", str(videos)]
            timed.append((" ".join(arguments), [*command, "--out", f"{temporary}/set{number}"]))
        print(f"{options.rows:,} labels, {labels.stat().st_size / 2**20:,.0f} MiB of parquet")
        print(f"{'':40}{'s':>8}{'CPU s':>8}{'peak MiB':>10}{'CPU ratio':>13}")
        first = None
        for title, command in timed:
            seconds, cpu, peak = run_measured(command)
            first = first or cpu
            print(f"{title:40}{seconds:>8.1f}{cpu:>8.1f}{peak:>10,.0f}{cpu / first:>12.1f}x", flush=True)


if __name__ == "__main__":
    main()
