"""What a person, a cron mail or a machine sees of a run while it lasts: a bar on a terminal, a line every 30 seconds
without one, JSON objects with `--log-format json`. All of it on stderr."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TextIO

if TYPE_CHECKING:
    from tqdm import tqdm

LogFormat = Literal["text", "json"]
LINE_SECONDS = 30.0


class Progress:
    """Counts videos against a known total; clips and failures ride along."""

    def __init__(self, *, total_videos: int, log_format: LogFormat = "text", stream: TextIO | None = None) -> None:
        self._total = total_videos
        self._format = log_format
        self._stream = stream if stream is not None else sys.stderr
        self._started = time.monotonic()
        self._printed = self._started
        self._bar: tqdm[Any] | None = None
        self._counts = (0, 0, 0, 0)

    def __enter__(self) -> Progress:
        if self._format == "text" and self._stream.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=self._total, unit="video", file=self._stream, dynamic_ncols=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.close()

    def update(self, *, num_videos: int, num_clips: int, num_failures: int, num_skipped: int = 0) -> None:
        """Totals so far, of this run."""
        now = time.monotonic()
        per_second = num_clips / max(now - self._started, 1e-9)
        skipped = f"{num_skipped} skipped, " if num_skipped else ""
        if self._bar is not None:
            counts = (num_videos, num_clips, num_failures, num_skipped)
            if counts != self._counts:
                self._counts = counts
                self._bar.set_postfix_str(f"{per_second:.2f} clips/s, {skipped}{num_failures} failed", refresh=False)
                self._bar.update(num_videos - self._bar.n)
            return
        if now - self._printed < LINE_SECONDS:
            return
        self._printed = now
        left = self._seconds_left(num_videos, now)
        if self._format == "json":
            event = {"event": "progress", "videos": num_videos, "total_videos": self._total, "clips": num_clips}
            self._write(
                event
                | {"failures": num_failures, "skipped": num_skipped}
                | {"clips_per_second": round(per_second, 3), "seconds_left": left}
            )
            return
        remaining = "" if left is None else f", about {clock(left)} left"
        self._stream.write(
            f"{num_videos} of {self._total} videos, {num_clips} clips, {skipped}{num_failures} failed, "
            f"{per_second:.2f} clips/s{remaining}\n"
        )
        self._stream.flush()

    def _write(self, fields: Mapping[str, object]) -> None:
        self._stream.write(json.dumps({"time": round(time.time(), 3), **fields}, ensure_ascii=False) + "\n")
        self._stream.flush()

    def _seconds_left(self, num_videos: int, now: float) -> int | None:
        if num_videos == 0:
            return None
        return round((now - self._started) / num_videos * (self._total - num_videos))


def say(text: str, fields: Mapping[str, object], log_format: LogFormat) -> None:
    """A message on stderr: `text` for people, `fields` for machines."""
    line = text if log_format == "text" else json.dumps({"time": round(time.time(), 3), **fields}, ensure_ascii=False)
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def clock(seconds: float) -> str:
    """3725 -> '1:02:05'."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
