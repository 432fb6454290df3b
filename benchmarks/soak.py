"""Does a long run's memory stay flat? Labels many small clips with the echo model and looks at memory on the way.

    python -m benchmarks.soak                     20,000 clips, some minutes
    python -m benchmarks.soak --clips 2000

Prints the resident memory of the run's own process in each quarter (the median of what was seen), that of all its
workers, and the ratio of the last quarter to the second. Exits 1 where that is more than 1.05.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.make_videos import noise_scene, write_video
from tests.runs import echo_settings, job
from vidlabel.captioner import EchoCaptioner
from vidlabel.config import Limits, SceneSettings
from vidlabel.data import Answer, AskedClip
from vidlabel.manifest import read_inputs
from vidlabel.metrics import resident_bytes
from vidlabel.run import run
from vidlabel.summary import Summary

ALLOWED = 1.05
FILES = 40  # different ones; each is there under many names
MEGABYTE = 2**20


class WatchingCaptioner:
    """An echo that notes the memory at every so many clips."""

    def __init__(self, every: int) -> None:
        self._every = every
        self.own: list[float] = []  # MB
        self.workers: list[float] = []

    def answer(self, clips: Iterable[AskedClip]) -> Iterator[Answer]:
        for number, asked in enumerate(clips, start=1):
            if number % self._every == 0:
                self.own.append(resident_bytes() / MEGABYTE)
                self.workers.append(worker_bytes() / MEGABYTE)
            yield from EchoCaptioner().answer([asked])


def worker_bytes() -> float:
    """Of the fork server and all decode workers: every process of this session but our own."""
    session, total = os.getsid(0), 0
    for status in Path("/proc").glob("[0-9]*"):
        try:
            fields = (status / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and int(status.name) != os.getpid() and _is_ours(status):
                total += int((status / "statm").read_text().split()[1])
        except OSError:
            continue  # it ended meanwhile
    return float(total * os.sysconf("SC_PAGE_SIZE"))


def _is_ours(process: Path) -> bool:
    return b"multiprocessing" in (process / "cmdline").read_bytes()


def make_folder(folder: Path, count: int) -> Path:
    """`count` tiny videos of one clip each."""
    files = [
        write_video(
            folder.parent / f"file{n:02}.mp4", noise_scene(6, (40 + 4 * n, 90, 120), width=32, height=32, seed=n)
        )
        for n in range(FILES)
    ]
    for number in range(count):
        link = folder / f"{number // 1000:03}" / f"{number:06}.mp4"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(files[number % FILES])
    return folder


def soak(folder: Path, out: Path, captioner: WatchingCaptioner, num_workers: int) -> Summary:
    settings = echo_settings()
    made = job(
        out,
        captioner=captioner,
        settings=type(settings)(settings.task, SceneSettings(split="none"), settings.frames, settings.answers),
        limits=Limits(num_workers=num_workers, flush_seconds=10.0),
    )
    return run(read_inputs([str(folder)], root=None, lines=None), made)


def quarters(values: list[float]) -> list[float]:
    """The median of each quarter."""
    size = len(values) // 4
    return [statistics.median(values[quarter * size : (quarter + 1) * size]) for quarter in range(4)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    captioner = WatchingCaptioner(every=max(1, options.clips // 200))
    with tempfile.TemporaryDirectory() as folder:
        videos = make_folder(Path(folder) / "videos", options.clips)
        began = time.monotonic()
        summary = soak(videos, Path(folder) / "labels.parquet", captioner, options.workers)
        seconds = time.monotonic() - began
    own, workers = quarters(captioner.own), quarters(captioner.workers)
    ratio = own[3] / own[1]
    print(f"{summary.num_clips} clips in {seconds:.0f} s, {summary.num_failures} failures")
    print("run, MB by quarter:     " + "  ".join(f"{value:.1f}" for value in own))
    print("workers, MB by quarter: " + "  ".join(f"{value:.1f}" for value in workers))
    print(f"last quarter / second:  {ratio:.3f} (allowed {ALLOWED})")
    return int(ratio > ALLOWED or summary.num_clips != options.clips)


if __name__ == "__main__":
    sys.exit(main())
