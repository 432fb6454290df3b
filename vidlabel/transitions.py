"""Where one scene gives way to the next, in frame numbers, and the short memory of tiny pictures to judge it by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, order=True)
class Transition:
    """Frames [start, end) belong to neither scene; at a hard cut there are none and both are the new scene's first."""

    start: int
    end: int

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.end:
            raise ValueError(f"a transition ends after it starts, got {self.start = }, {self.end = }")


class Thumbs:
    """The last `reach` pictures as rows of floats, numbered from the first ever taken; older ones are forgotten."""

    def __init__(self, reach: int, size: int) -> None:
        self.reach = reach
        self._rows = np.empty((2 * reach, size), np.float32)  # twice: so that any stretch lies in one piece
        self._filled = 0
        self.count = 0

    def take(self, picture: npt.NDArray[np.uint8]) -> None:
        if self._filled == len(self._rows):
            self._rows[: self.reach] = self._rows[self.reach :]
            self._filled = self.reach
        self._rows[self._filled] = picture.reshape(-1)
        self._filled += 1
        self.count += 1

    def between(self, first: int, last: int) -> npt.NDArray[np.float32]:
        """The pictures `first` to `last`, both included: (last - first + 1, size)."""
        oldest = self.count - min(self._filled, self.reach)
        assert oldest <= first <= last < self.count, f"remembers {oldest}..{self.count - 1}, asked {first}..{last}"
        offset = self._filled - self.count
        return self._rows[first + offset : last + offset + 1]
