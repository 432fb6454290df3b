"""How much of one stage's work is done at once. Out of memory halves it, the same work is tried again, and the
smaller budget stays. What does not fit by itself is handed back; everything else is done."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

logger = logging.getLogger(__name__)
Item = TypeVar("Item")


class Budget:
    """`size` counts `unit`s (tokens, frames, rows)."""

    def __init__(self, size: int, unit: str, device: torch.device) -> None:
        self.size = max(1, size)
        self.unit = unit
        self._device = device

    def spend(
        self, items: Sequence[Item], cost: Callable[[Item], int], work: Callable[[Sequence[Item]], None]
    ) -> list[Item]:
        """Does `work` on batches of neighbouring items within the budget; gives back those that cannot be done.

        An item over the budget goes alone. `work` must leave nothing changed when memory runs out.
        """
        failed: list[Item] = []
        start = 0
        while start < len(items):
            batch = self._batch(items[start:], cost)
            try:
                work(batch)
                done = True
            except torch.OutOfMemoryError:
                done = False  # go on below, where the traceback no longer holds the tensors that did not fit
            if done:
                start += len(batch)
                continue
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
            if len(batch) == 1:
                failed.append(batch[0])
                start += 1
            else:
                self.size = max(1, sum(map(cost, batch)) // 2)
                logger.warning("out of memory: from now on %d %s at a time", self.size, self.unit)
        return failed

    def _batch(self, items: Sequence[Item], cost: Callable[[Item], int]) -> Sequence[Item]:
        total = 0
        for count, item in enumerate(items):
            total += cost(item)
            if total > self.size and count > 0:
                return items[:count]
        return items
