"""Time and memory of filter, check and stats on a big file of labels: `python -m benchmarks.labels_table [--rows N]`.

The labels are generated: captions of about 50 words and answers of a few, a tenth with flags, some said of many clips.
Each command runs as a user would run it, in a process of its own with its children; peak memory is of the whole tree of
processes, sampled. Beside each stands the baseline, measured in the same way: reading the file's columns with pyarrow
and writing them again, which is what any tool that copies labels must do at least. Goal: filter and stats of a million
labels in 60 s and 2 GiB.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from vidlabel.jsonl import json_lines
from vidlabel.labels import LABEL_SCHEMA
from vidlabel.readers import parquet_batches

WORDS = [
    "man",
    "woman",
    "dog",
    "child",
    "street",
    "car",
    "house",
    "tree",
    "river",
    "kitchen",
    "table",
    "bread",
    "guitar",
    "camera",
    "light",
    "water",
    "hand",
    "door",
    "window",
    "bicycle",
    "horse",
    "field",
    "mountain",
    "beach",
    "crowd",
    "stage",
    "dancer",
    "runner",
    "ball",
    "red",
    "blue",
    "green",
    "white",
    "small",
    "large",
    "old",
    "young",
    "walks",
    "runs",
    "sits",
    "stands",
    "turns",
    "opens",
    "holds",
    "looks",
    "moves",
    "jumps",
    "plays",
    "slowly",
    "quickly",
    "while",
    "behind",
    "through",
    "over",
    "a",
    "the",
    "and",
    "with",
    "of",
    "in",
    "on",
    "into",
    "from",
    "near",
]
BASELINE = (
    "import sys, pyarrow.parquet as pq\n"
    "f = pq.ParquetFile(sys.argv[1])\n"
    "w = pq.ParquetWriter(sys.argv[2], f.schema_arrow, compression='zstd')\n"
    "[w.write_batch(batch) for batch in f.iter_batches(50_000)]\n"
    "w.close()"
)
VIDLABEL = "import typer; from vidlabel.cli_labels import register; app = typer.Typer(); register(app); app()"
# the command, and what it is given after the file and before --out
RUNS: list[tuple[str, tuple[str, ...]]] = [
    ("filter", ("--drop-flags", "all", "--min-logprob", "-1.5", "--max-duplicates", "3", "--min-words", "3")),
    ("filter", ("--drop-flags", "truncated,repetitive")),
    ("filter", ("--strip-openings", "--drop-flags", "all")),
    ("stats", ("--json",)),
    ("check", ()),
]


def make_labels(path: Path, num_rows: int, seed: int = 0) -> None:
    """Three captions and one answer a clip, two clips a video."""
    draw = random.Random(seed)
    # rare words as in real text: a vocabulary of some 20,000
    words = WORDS * 40 + [f"{a}{b}" for a, b in itertools.product(WORDS, WORDS)]
    phrases = [" ".join(draw.choices(words, k=draw.randint(4, 9))) for _ in range(20_000)]
    with pq.ParquetWriter(path, _schema(), compression="zstd", write_page_checksum=True) as writer:
        for start in range(0, num_rows, 50_000):
            numbers = range(start, min(start + 50_000, num_rows))
            writer.write_batch(_batch(numbers, phrases, draw))


def _schema() -> pa.Schema:
    return LABEL_SCHEMA.with_metadata({"vidlabel.settings": "{}", "vidlabel.version": "0"})


def _batch(numbers: range, phrases: list[str], draw: random.Random) -> pa.RecordBatch:
    clips = [number // 4 for number in numbers]
    is_qa = [number % 4 == 3 for number in numbers]
    texts = [_text(phrases, draw, is_answer=qa) for qa in is_qa]
    flags = [draw.choices([[], ["truncated"], ["short", "prefix"], ["damaged"]], (90, 5, 3, 2))[0] for _ in numbers]
    known: dict[str, list[object]] = {
        "label_id": [f"{number:016x}" for number in numbers],
        "clip_id": [f"video{clip // 2:07d}-{clip % 2}-9000" for clip in clips],
        "video_id": [f"video{clip // 2:07d}" for clip in clips],
        "video_path": [f"videos/{clip // 2000:04d}/{clip // 2:07d}.mp4" for clip in clips],
        "start_seconds": [float(clip % 2) for clip in clips],
        "end_seconds": [clip % 2 + 3 + clip % 17 / 2 for clip in clips],
        "task": ["qa" if qa else "caption" for qa in is_qa],
        "instruction": [phrases[number % 24] for number in numbers],
        "pool": ["qa" if qa else "caption" for qa in is_qa],
        "caption": [None if qa else text for qa, text in zip(is_qa, texts, strict=True)],
        "question": [phrases[number % 24] if qa else None for number, qa in zip(numbers, is_qa, strict=True)],
        "answer": [text if qa else None for qa, text in zip(is_qa, texts, strict=True)],
        "language": ["en"] * len(texts),
        "flags": list(flags),
        "mean_logprob": [-draw.random() * 2 for _ in numbers],
        "finish_reason": ["length" if of_row == ["truncated"] else "stop" for of_row in flags],
        "model": ["mistral"] * len(texts),
        "video_seconds": [9.5] * len(texts),
    }
    columns = [pa.array(known.get(column.name, [None] * len(texts)), column.type) for column in _schema()]
    return pa.RecordBatch.from_arrays(columns, schema=_schema())


def _text(phrases: list[str], draw: random.Random, *, is_answer: bool) -> str:
    if not is_answer and draw.random() < 0.02:
        return f"A {phrases[draw.randrange(20)]}."  # said of many clips
    text = " ".join(draw.choices(phrases, k=1 if is_answer else 8))
    opening = "The video shows a " if draw.random() < 0.1 else "A "
    return f"{opening}{text}."


def run_measured(command: list[str]) -> tuple[float, float, float]:
    """Seconds, CPU seconds and peak MiB of a command with all its processes."""
    started = time.perf_counter()
    peak, cpu = 0.0, dict[int, float]()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None:
            tree = [found for pid in _tree(process.pid) if (found := _process(pid)) is not None]
            peak = max(peak, sum(mib for _, mib, _ in tree))
            cpu |= {pid: seconds for pid, _, seconds in tree}  # a process that ended keeps what it last had
            time.sleep(0.05)
    if process.returncode:
        raise RuntimeError(f"{command} ended with {process.returncode}")
    return time.perf_counter() - started, sum(cpu.values()), peak


def _tree(root: int) -> list[int]:
    """A process and its descendants, from /proc."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError, ValueError):
            continue  # it ended in between
        children.setdefault(parent, []).append(int(folder.name))
    found, waiting = [], [root]
    while waiting:
        found.append(waiting.pop())
        waiting += children.get(found[-1], [])
    return found


def _process(pid: int) -> tuple[int, float, float] | None:
    """Its MiB of memory (of what it shares, its part) and its CPU seconds; None if it ended in between."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    except OSError:
        return None
    kib = sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    return pid, kib / 1024, sum(map(int, times)) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--jsonl", action="store_true", help="measure JSON lines instead of parquet")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        labels = Path(temporary) / "labels.parquet"
        make_labels(labels, options.rows)
        timed = [
            ("pyarrow: read and write", [sys.executable, "-c", BASELINE, str(labels), f"{temporary}/copy.parquet"])
        ]
        if options.jsonl:
            lines = labels.with_suffix(".jsonl")
            with lines.open("w") as file:
                file.writelines(json_lines(batch) for batch in parquet_batches(labels))
            labels = lines
        for name, arguments in RUNS:
            out = () if name == "stats" else ("--out", f"{temporary}/out{labels.suffix}")
            command = [sys.executable, "-c", VIDLABEL, name, str(labels), *arguments, *out]
            timed.append((" ".join([name, *arguments]), command))
        print(f"{options.rows:,} labels, {labels.stat().st_size / 2**20:,.0f} MiB of {labels.suffix}")
        print(f"{'':90}{'s':>8}{'CPU s':>8}{'peak MiB':>10}{'CPU ratio':>13}")
        first = None
        for title, command in timed:
            seconds, cpu, peak = run_measured(command)
            first = first or cpu
            print(f"{title:90}{seconds:>8.1f}{cpu:>8.1f}{peak:>10,.0f}{cpu / first:>12.1f}x", flush=True)


if __name__ == "__main__":
    main()
