"""Time and memory of planning a run that is mostly done: `python -m benchmarks.planning [--rows N]`.

A manifest of a million rows, nine tenths of them labelled: in a finished output, or in the parts of a killed run.
Measured is the real command line with `--dry-run`, in a process of its own: it reads and checks every row, reads what
is done, and says what is left. Rows are spans (four a video, each with an id, a caption and a score) or whole videos.
Beside each case stands the baseline: pyarrow reading the same manifest and the two columns of the labels that a plan
needs. Goal: 60 s and 2 GiB for a million rows.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from vidlabel.asking import Asking
from vidlabel.config import Settings
from vidlabel.data import Span, Video, stable_id
from vidlabel.labels import LABEL_SCHEMA, PART_SCHEMA
from vidlabel.output_info import OutputInfo
from vidlabel.outputs import parse_output
from vidlabel.plan import failed_id, label_id_of
from vidlabel.prompts import load_pool

DONE_SHARE = 0.9
EXAMPLE = Path(__file__).parent.parent / "examples" / "videos"
BASELINE = (
    "import sys, pyarrow.parquet as pq, pyarrow.csv as pc, pathlib\n"
    "m = sys.argv[1]\n"
    "rows = pq.read_table(m) if m.endswith('.parquet') else pc.read_csv(m)\n"
    "for path in pathlib.Path(sys.argv[2]).glob('*.parquet'): pq.read_table(path, columns=['label_id', 'video_id'])\n"
)
LAUNCHER = (
    "import resource, subprocess, sys\n"
    "code = subprocess.call(sys.argv[1:])\n"
    "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
    "print('', used.ru_utime + used.ru_stime, used.ru_maxrss, sep='\\n')\n"
    "sys.exit(code)"
)


@dataclass(frozen=True, slots=True)
class Used:
    seconds: float
    cpu_seconds: float
    mib: float
    said: str  # on standard output


@dataclass(frozen=True, slots=True)
class Case:
    rows: str  # spans or whole
    kind: str  # of the manifest
    state: str  # of the output: finished or killed

    def __str__(self) -> str:
        return f"{self.rows}, {self.kind}, {self.state}"


CASES = [
    Case("spans", "parquet", "finished"),
    Case("spans", "csv", "finished"),
    Case("spans", "csv", "killed"),
    Case("whole", "parquet", "finished"),
    Case("whole", "csv", "finished"),
]


def manifest_rows(num_rows: int, rows: str) -> Iterator[dict[str, object]]:
    for number in range(num_rows):
        caption = f"a caption of some length for row {number}, as published sets have one, with 'quotes'"
        if rows == "whole":
            name = f"videos/{number // 1000:04d}/{stable_id(str(number))}.mp4"
            yield {"video": name, "caption": caption, "score": number % 97 / 97}
        else:
            video, at = divmod(number, 4)
            name = f"videos/{video // 1000:04d}/{stable_id(str(video))}.mp4"
            spans = {"id": f"clip{number:07d}", "start": at * 5.0, "end": at * 5.0 + 4.5}
            yield {"video": name, **spans, "caption": caption, "score": number % 97 / 97}


def batched(rows: Iterator[dict[str, object]], size: int) -> Iterator[list[dict[str, object]]]:
    while batch := list(islice(rows, size)):
        yield batch


def write_manifest(path: Path, rows: Iterator[dict[str, object]]) -> None:
    batches = batched(rows, 50_000)
    first = next(batches)
    if path.suffix == ".csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(first[0]))
            writer.writeheader()
            writer.writerows(first)
            for batch in batches:
                writer.writerows(batch)
        return
    table = pa.Table.from_pylist(first)
    with pq.ParquetWriter(path, table.schema) as writer:
        writer.write_table(table)
        for batch in batches:
            writer.write_table(pa.Table.from_pylist(batch, schema=table.schema))


def settings_of_the_command(folder: Path) -> Settings:
    """What the command line that is measured makes labels with: asked of a real run over an example."""
    out = folder / "example.parquet"
    command = [*caption_command(sorted(map(str, EXAMPLE.glob("*.mp4")))[0], out)]
    subprocess.run(command, check=True, capture_output=True)
    return Settings.from_json(pq.read_schema(out).metadata[b"vidlabel.settings"].decode())


def caption_command(given: str, out: Path) -> list[str]:
    return [sys.executable, "-m", "vidlabel", "caption", given, "--model", "echo", "--out", str(out)]


def label_rows(manifest: Path, rows: Iterator[dict[str, object]], settings: Settings) -> Iterator[dict[str, object]]:
    """The labels that a run would have made of these rows, as far as a plan looks at them."""
    asking = Asking(settings, (load_pool("caption"),))
    for row in rows:
        location = str(manifest.parent / str(row["video"]))
        span = Span(float(str(row["start"])), float(str(row["end"]))) if "start" in row else None
        clip_id = None if span is None else str(row["id"])
        video = Video(stable_id(location), str(row["video"]), location, span=span, clip_id=clip_id)
        for wanted in asking.wanted(failed_id(video), video):
            yield {
                "label_id": label_id_of(failed_id(video), wanted, settings),
                "clip_id": failed_id(video),
                "video_id": video.video_id,
                "video_path": video.path,
                "start_seconds": 0.0 if span is None else span.start_seconds,
                "end_seconds": 4.5 if span is None else span.end_seconds,
                "task": "caption",
                "instruction": wanted.key,
                "caption": row["caption"],
            }


def write_labels(out: Path, labels: Iterator[dict[str, object]], settings: Settings, case: Case) -> Path:
    """The finished output, or the parts of 5,000 rows that a killed run leaves; returns the folder they are in."""
    info = OutputInfo(settings.to_json(), has_spans=case.rows == "spans")
    if case.state == "finished":
        with pq.ParquetWriter(out, LABEL_SCHEMA.with_metadata(info.to_metadata()), compression="zstd") as writer:
            for batch in batched(labels, 50_000):
                writer.write_table(pa.Table.from_pylist(batch, schema=writer.schema))
        return out.parent
    work = parse_output(out).work
    work.mkdir()
    for number, batch in enumerate(batched(labels, 5_000)):
        table = pa.Table.from_pylist(batch, schema=PART_SCHEMA).replace_schema_metadata(
            {"vidlabel.settings": settings.to_json()}
        )
        pq.write_table(table, work / f"part-0-{number:05d}.parquet", compression="zstd", write_page_checksum=True)
    return work


def run_measured(command: list[str]) -> Used:
    """A small process starts the command, for a child begins with its parent's memory."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-S", "-c", LAUNCHER, *command], check=True, stdout=subprocess.PIPE, text=True
    )
    *said, cpu, kib = done.stdout.splitlines()
    return Used(time.perf_counter() - started, float(cpu), int(kib) / 1024, "".join(said))


def measure(case: Case, num_rows: int, settings: Settings, folder: Path) -> None:
    manifest, out = folder / f"manifest.{case.kind}", folder / "out" / "labels.parquet"
    out.parent.mkdir(parents=True)
    write_manifest(manifest, manifest_rows(num_rows, case.rows))
    num_done = int(num_rows * DONE_SHARE)
    labels = label_rows(manifest, manifest_rows(num_done, case.rows), settings)
    stored = write_labels(out, labels, settings, case)
    least = run_measured([sys.executable, "-c", BASELINE, str(manifest), str(stored)])
    plan = run_measured([*caption_command(str(manifest), out), "--dry-run"])
    expected = f"{num_rows - num_done} videos to label, {num_done} done, 0 given up"
    if plan.said != expected:
        raise RuntimeError(f"the plan says {plan.said!r}, not {expected!r}")
    ratios = f"{plan.cpu_seconds / least.cpu_seconds:>8.1f}x{plan.mib / least.mib:>8.1f}x"
    print(f"{case!s:26}{_figures(plan)}{_figures(least)}{ratios}", flush=True)


def _figures(used: Used) -> str:
    return f"{used.seconds:>8.1f}{used.cpu_seconds:>8.1f}{used.mib:>8,.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--only", help="cases that hold this text, such as csv")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        settings = settings_of_the_command(Path(temporary))
        print(
            f"{options.rows:,} rows, {DONE_SHARE:.0%} done: vidlabel caption --dry-run, beside pyarrow reading the same"
        )
        print(f"{'':26}{'plan: s':>8}{'CPU s':>8}{'MiB':>8}{'pyarrow':>8}{'CPU s':>8}{'MiB':>8}{'CPU':>9}{'memory':>9}")
        for number, case in enumerate(CASES):
            if options.only is None or options.only in str(case):
                measure(case, options.rows, settings, Path(temporary) / str(number))


if __name__ == "__main__":
    main()
