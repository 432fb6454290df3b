"""Frames for the rows that come next, made ahead in the decode workers of labelling: a file that hangs or crashes a
decoder costs its worker and itself, and not the training."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from vidlabel.config import FrameSettings
from vidlabel.data import Frames
from vidlabel.errors import VideoError
from vidlabel.executors.workers import DecodeWorkers
from vidlabel.pipeline import time_limit
from vidlabel.train.examples import Example
from vidlabel.train.footage import frames_of
from vidlabel.train.turns import clip_name

Decode = Callable[[Example, FrameSettings], Frames]  # a function of a module: it is pickled by name
SECONDS_PER_VIDEO = 300.0
_AHEAD = 4  # clips for each worker: as one hangs, the others go on


def _always(example: Example) -> bool:
    return True


@dataclass(slots=True)
class Decoders:
    """Workers that several share, and what came out of them, by whose it is and clip."""

    workers: DecodeWorkers[tuple[str, str]]
    num_workers: int
    arrived: dict[tuple[str, str], Frames | VideoError] = field(default_factory=dict)

    def take(self, wait_seconds: float) -> None:
        if len(self.workers):
            self.arrived.update(self.workers.finished(wait_seconds))


class Decoding:
    """For one set of rows. Every row asks once for its clip, in the order that was announced: `frames`, or `skip` if
    it needs none. What was not announced can be asked for too.

    Without decoders, frames are made here and when they are asked for.
    """

    def __init__(
        self,
        name: str,
        settings: FrameSettings,
        decoders: Decoders | None,
        *,
        seconds_per_video: float = SECONDS_PER_VIDEO,
        decode: Decode = frames_of,
    ) -> None:
        self._name, self._settings, self._decoders, self._decode = name, settings, decoders, decode
        self._depth = 0 if decoders is None else _AHEAD * decoders.num_workers
        self._seconds_per_video = seconds_per_video
        self._next: Iterator[Example] = iter(())
        self._needs: Callable[[Example], bool] = _always
        self._ahead: deque[str] = deque()  # the clips of the rows that will ask next
        self._waiting: set[str] = set()  # clips that are with the decoders, or have come back

    def announce(self, examples: Iterable[Example], needs: Callable[[Example], bool] = _always) -> None:
        """One example of each row that will ask, in order; `needs` says whether frames are worth making ahead."""
        self._next, self._needs = iter(examples), needs
        self._ahead.clear()

    def frames(self, example: Example) -> Frames:
        """VideoError where there are none."""
        if self._decoders is None:
            return self._decode(example, self._settings)
        clip = clip_name(example)
        self._look_ahead(self._decoders)
        self._submit(self._decoders, clip, example)
        while (self._name, clip) not in self._decoders.arrived:
            self._decoders.take(1.0)
        found = self._decoders.arrived[self._name, clip]
        self.skip(example)
        if isinstance(found, VideoError):
            raise found
        return found

    def skip(self, example: Example) -> None:
        """The row has what it needs."""
        if self._decoders is None:
            return
        clip = clip_name(example)
        if self._ahead:
            self._ahead.popleft()
        else:
            next(self._next, None)
        if clip not in self._ahead and self._decoders.arrived.pop((self._name, clip), None) is not None:
            self._waiting.discard(clip)

    def _look_ahead(self, decoders: Decoders) -> None:
        while len(self._ahead) < self._depth and (example := next(self._next, None)) is not None:
            clip = clip_name(example)
            self._ahead.append(clip)
            if self._needs(example):
                self._submit(decoders, clip, example)

    def _submit(self, decoders: Decoders, clip: str, example: Example) -> None:
        if clip in self._waiting:
            return
        self._waiting.add(clip)
        try:
            seconds = time_limit(example.source, self._seconds_per_video)
        except OSError as error:
            reason = f"cannot be opened: {(error.strerror or str(error)).lower()}"
            decoders.arrived[self._name, clip] = VideoError(reason)
            return
        decoders.workers.submit((self._name, clip), self._decode, example, self._settings, seconds=seconds)
