"""What is to be seen of a training: lines on stderr, `log.jsonl`, and TensorBoard's files where it is installed."""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vidlabel.atomic import write_whole
from vidlabel.progress import LINE_SECONDS, LogFormat, clock, say

LOG = "log.jsonl"


class TrainLog:
    """For the first process; the others have a silent one (`folder` None)."""

    def __init__(self, folder: Path | None, log_format: LogFormat, *, num_steps: int) -> None:
        self._folder, self._format, self._num_steps = folder, log_format, num_steps
        self._writer: Any = None
        self._first_step = 0
        self._started = self._said = time.monotonic()

    def begin(self, step: int) -> None:
        """Of a run that goes on after `step`: what was logged later than that belongs to steps that are done again."""
        self._first_step = step
        self._started = time.monotonic()
        if self._folder is None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / LOG
        if path.exists():
            kept = [line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if _step(line) <= step]
            write_whole(path, "".join(kept) if step else "")
        if importlib.util.find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self._folder), purge_step=step + 1)

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """Losses and rates. On stderr an evaluation always shows, other lines every 30 seconds."""
        if self._folder is None:
            return
        self._append({"step": step, **values})
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)
            self._writer.flush()
        now = time.monotonic()
        if "eval_loss" in values or step == self._num_steps or now - self._said >= LINE_SECONDS:
            self._said = now
            left = self._seconds_left(step, now)
            shown = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
            text = f"step {step} of {self._num_steps}: {shown}, about {clock(left)} left"
            say(text, {"event": "train", "step": step, "seconds_left": round(left), **values}, self._format)

    def sample(self, step: int, *, source: str, asked: str, said: str, right: str) -> None:
        if self._folder is None:
            return
        fields = {"step": step, "video": source, "asked": asked, "says": said, "right": right}
        self._append(fields)
        if self._writer is not None:
            self._writer.add_text(Path(source).name, f"{asked}\n\nsays: {said}\n\nright: {right}", step)
        say(
            f"step {step}, {Path(source).name}: {asked}\n  says:  {said}\n  right: {right}",
            {"event": "sample", **fields},
            self._format,
        )

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        sys.stderr.flush()

    def _append(self, values: Mapping[str, object]) -> None:
        assert self._folder is not None
        with (self._folder / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(values, ensure_ascii=False) + "\n")

    def _seconds_left(self, step: int, now: float) -> float:
        done = max(1, step - self._first_step)
        return (now - self._started) / done * (self._num_steps - step)


def _step(line: str) -> int:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return sys.maxsize  # a line that a kill cut off
