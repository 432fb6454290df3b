"""`--metrics-file`: the numbers of a run for Prometheus, as a textfile that node_exporter's collector reads.

Written whole, at most every few seconds while the run lasts and once at its end. Every series carries the output's
path, because the files of all runs on a machine are read together.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import vidlabel
from vidlabel.atomic import write_whole
from vidlabel.errors import InputError

logger = logging.getLogger(__name__)

WRITE_SECONDS = 5.0
MAX_REASONS = 20  # a series each; the rest is one more, "other"
_NUMBERS = re.compile(r"\d+(?:\.\d+)?")

Labels = Mapping[str, str]
Kind = Literal["counter", "gauge"]


@dataclass(frozen=True, slots=True)
class Counts:
    """Where a run is. Totals are of this run."""

    num_videos: int = 0  # finished, well or not
    num_videos_failed: int = 0
    num_videos_planned: int = 0
    num_clips: int = 0
    num_labels: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)
    skip_reasons: Mapping[str, int] = field(default_factory=dict)  # of clips that --where left out
    waited_seconds: float = 0.0  # the captioner's, for frames
    num_clips_ready: int = 0  # decoded, not yet taken by the captioner
    num_stages_in_flight: int = 0  # scenes and clips that decode workers have or are about to get


class Metrics:
    """The file of one run, to be used with `with`. Without a path it does nothing."""

    def __init__(self, path: Path | None, *, output: str, write_seconds: float = WRITE_SECONDS) -> None:
        self._path = path
        self._output = output
        self._write_seconds = write_seconds
        self._began = time.monotonic()
        self._began_at = time.time()
        self._written = -write_seconds  # so that the first is written at once
        self._counts = Counts()
        self._exit_code: int | None = None
        self._warned = False

    def __enter__(self) -> Self:
        self._write()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._exit_code is None:  # it ends by an error
            self._exit_code = 2 if isinstance(error, InputError) else 1
        self._write()

    def update(self, counts: Counts) -> None:
        self._counts = counts
        if self._path is not None and time.monotonic() - self._written >= self._write_seconds:
            self._write()

    def finish(self, counts: Counts, exit_code: int) -> None:
        """What `__exit__` is to write."""
        self._counts, self._exit_code = counts, exit_code

    def _write(self) -> None:
        if self._path is None:
            return
        self._written = time.monotonic()
        seconds = self._written - self._began
        text = render(self._counts, output=self._output, seconds=seconds, began=self._began_at, code=self._exit_code)
        try:
            write_whole(self._path, text)
        except OSError as error:  # labels matter more than their numbers
            if not self._warned:
                logger.warning("--metrics-file %s cannot be written: %s", self._path, error.strerror or error)
            self._warned = True


def check_metrics_file(path: Path) -> Path:
    """The collector reads only *.prom; a folder that is not there is found before any work."""
    if path.suffix != ".prom" or path.is_dir():
        raise InputError(f"--metrics-file {path}: the name ends in .prom, or Prometheus' collector does not read it")
    if not os.access(path.absolute().parent, os.W_OK | os.X_OK):
        raise InputError(f"--metrics-file {path}: {path.absolute().parent} is not a folder that can be written")
    return path


def render(counts: Counts, *, output: str, seconds: float, began: float, code: int | None) -> str:
    """Prometheus' text format."""
    lines: list[str] = []

    def add(name: str, kind: Kind, about: str, values: Iterable[tuple[Labels, float]]) -> None:
        lines.extend((f"# HELP vidlabel_{name} {about}", f"# TYPE vidlabel_{name} {kind}"))
        lines.extend(_sample(f"vidlabel_{name}", {"output": output} | dict(labels), value) for labels, value in values)

    def one(name: str, kind: Kind, about: str, value: float) -> None:
        add(name, kind, about, [({}, value)])

    add("info", "gauge", "The version that runs.", [({"version": vidlabel.__version__}, 1)])
    one("run_start_timestamp_seconds", "gauge", "When the run began.", began)
    one("run_last_update_timestamp_seconds", "gauge", "When this file was written.", time.time())
    one("run_active", "gauge", "1 while the run lasts, 0 when it has ended.", float(code is None))
    if code is not None:
        one("run_exit_code", "gauge", "Of the run that has ended.", code)
    one("run_seconds", "gauge", "How long the run has lasted.", seconds)
    one("videos_planned", "gauge", "Videos that this run is to do.", counts.num_videos_planned)
    one("videos_total", "counter", "Videos finished, well or not.", counts.num_videos)
    one("videos_failed_total", "counter", "Videos of which something failed.", counts.num_videos_failed)
    one("clips_total", "counter", "Clips labelled.", counts.num_clips)
    one("labels_total", "counter", "Labels made.", counts.num_labels)
    reasons = [({"reason": reason}, float(count)) for reason, count in reason_counts(counts.reasons).items()]
    add("failures_total", "counter", "Failures of videos and clips, by reason.", reasons)
    skips = [({"where": part}, float(count)) for part, count in counts.skip_reasons.items()]
    add("clips_skipped_total", "counter", "Clips left out by --where, by the part of it that they do not meet.", skips)
    one("clips_per_second", "gauge", "Clips labelled a second, over the whole run.", counts.num_clips / max(seconds, 1))
    one("captioner_waited_seconds_total", "counter", "Time the model waited for frames.", counts.waited_seconds)
    one("clips_ready", "gauge", "Clips decoded and waiting for the model.", counts.num_clips_ready)
    one("stages_in_flight", "gauge", "Calls that decode workers have or wait to get.", counts.num_stages_in_flight)
    one("resident_memory_bytes", "gauge", "Of the run's own process.", resident_bytes())
    used, total = [], []
    for gpu, used_bytes, total_bytes in _gpu_memory():
        used.append(({"gpu": gpu}, used_bytes))
        total.append(({"gpu": gpu}, total_bytes))
    if used:
        add("gpu_memory_used_bytes", "gauge", "GPU memory in use, by this run and others.", used)
        add("gpu_memory_total_bytes", "gauge", "GPU memory.", total)
    return "\n".join(lines) + "\n"


def reason_counts(reasons: Mapping[str, int]) -> dict[str, int]:
    """Reasons without their numbers, the most frequent ones: a series for every second of a video would be no use."""
    merged: Counter[str] = Counter()
    for reason, count in reasons.items():
        merged[_NUMBERS.sub("N", reason)] += count
    common = dict(merged.most_common(MAX_REASONS))
    other = merged.total() - sum(common.values())
    return common | ({"other": other} if other else {})


def resident_bytes() -> float:
    """0 where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0.0
    return float(pages * os.sysconf("SC_PAGE_SIZE"))


def _gpu_memory() -> Iterator[tuple[str, float, float]]:
    """Of the GPUs, if this process uses any: looking must not be what makes a CUDA context."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        yield str(index), float(total - free), float(total)


def _sample(name: str, labels: Labels, value: float) -> str:
    inside = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
    return f"{name}{{{inside}}} {int(value) if value == int(value) else repr(value)}"


def _escaped(text: str) -> str:
    text = text.encode("utf-8", "backslashreplace").decode()  # file names are bytes, not all of them UTF-8
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
