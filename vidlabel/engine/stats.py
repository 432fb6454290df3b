"""What the engine did and how long each stage took. On a GPU the seconds mean something only with `measure`, which
waits for the device around every stage; without it nothing here ever waits."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch

TimedStage = Literal["vision", "prefill", "extend", "step", "score"]


@dataclass(slots=True)
class EngineStats:
    """Counts of useful work alone: no padding, no row that has ended."""

    vision_frames: int = 0
    vision_seconds: float = 0.0
    prefill_tokens: int = 0
    prefill_seconds: float = 0.0
    extend_tokens: int = 0
    extend_seconds: float = 0.0
    score_tokens: int = 0
    score_seconds: float = 0.0
    steps: int = 0
    step_seconds: float = 0.0
    row_steps: int = 0  # tokens that steps gave to answers, counted as answers leave
    slot_steps: int = 0  # slots with a live row, summed over steps
    num_slots: int = 0  # at the latest allocation
    measure: bool = False

    @contextmanager
    def timed(self, stage: TimedStage, device: torch.device) -> Iterator[None]:
        """Adds the time spent inside to the stage."""
        wait = self.measure and device.type == "cuda"
        if wait:
            torch.cuda.synchronize(device)
        start = time.perf_counter()
        try:
            yield
        finally:
            if wait:
                torch.cuda.synchronize(device)
            name = f"{stage}_seconds"
            setattr(self, name, getattr(self, name) + time.perf_counter() - start)
