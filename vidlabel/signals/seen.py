"""What the signals of a clip are measured from, as it was seen while the clip's frames were sampled."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from vidlabel.signals.bars import Box
    from vidlabel.signals.flow import Flow

Pixels = npt.NDArray[np.uint8]
Seconds = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """Two grey pictures (h, w) of moments so near to each other that what moves can be followed."""

    first: Pixels
    second: Pixels
    at_seconds: float  # of the first
    seconds: float  # from one to the other


@dataclass(frozen=True, eq=False)
class Seen:
    """Of one clip. What no signal needs is left empty."""

    images: Pixels  # (T, h, w, 3) RGB: thumbnails of sampled frames, each once, their shape kept
    glances: Pixels  # (N, gh, gw): a few pixels' luma of every frame of the clip that was decoded
    glance_seconds: Seconds  # (N,)
    pairs: tuple[Pair, ...] = ()
    pages: tuple[Pixels, ...] = field(default=())  # (H, W, 3): some frames, large enough to read

    @property
    def tall(self) -> Pixels:
        """(T * h, w, 3): the thumbnails one below the other, for what is done to single pixels."""
        return self.images.reshape(-1, *self.images.shape[2:])

    @cached_property
    def luma(self) -> Pixels:
        """(T, h, w)"""
        import cv2

        return np.asarray(cv2.cvtColor(self.tall, cv2.COLOR_RGB2GRAY), np.uint8).reshape(self.images.shape[:3])

    @cached_property
    def flows(self) -> tuple[Flow, ...]:
        """Of the pairs that show one scene: not of those with a cut or a flash between."""
        from vidlabel.signals.flow import flows_of

        return flows_of(self.pairs)

    @cached_property
    def content(self) -> Box:
        """What is inside the bars."""
        from vidlabel.signals.bars import content_of

        return content_of(self.luma)

    @cached_property
    def flashes(self) -> Seconds:
        """When each begins."""
        from vidlabel.signals.changes import flashes_of

        return flashes_of(self.glances, self.glance_seconds)

    @cached_property
    def shares(self) -> Seconds:
        """(N,): the share of the clip's time that each glance stands for."""
        if len(self.glance_seconds) < 2:
            return np.ones(len(self.glance_seconds))
        steps = np.diff(self.glance_seconds)
        steps = np.append(steps, np.median(steps))
        shares: Seconds = steps / steps.sum()
        return shares
