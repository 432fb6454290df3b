"""Clip -> Frames: exactly T frames of a clip, spread evenly over its time, at the model's resolution.

Every picture comes from inside the clip's half-open span; the last one is repeated when the clip has fewer than T.
The same clip and settings always give the same pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vidlabel.config import FrameSettings
from vidlabel.data import Clip, Cue, Frames, Video
from vidlabel.decoders import Damage, TimedFrame, decord, pyav, reference_facts
from vidlabel.decoders.memory import is_memory_fault, memory_error
from vidlabel.errors import VideoError
from vidlabel.picking import even_targets, every, nearest
from vidlabel.reference_sampling import reference_interval
from vidlabel.remote import is_url
from vidlabel.resizing import Resizer
from vidlabel.signals.watching import Watch
from vidlabel.subtitles import cut_cues, find_cues

if TYPE_CHECKING:
    import numpy.typing as npt

DECODERS = {"pyav": pyav.decode_span, "decord": decord.decode_span}
WHOLE_SECONDS = 0.01  # a clip that much shorter than its video is still all of it


def sample_frames(clip: Clip, settings: FrameSettings) -> Frames:
    """Decodes the clip's frames and finds its subtitles. VideoError when not one frame of the span can be decoded."""
    damage = Damage()
    take = _take_reference if settings.sampling == "reference" else _take_evenly
    try:
        taken = take(clip, settings, damage)
        if not taken.seconds:
            span = f"{clip.start_seconds:.3f} and {clip.end_seconds:.3f} s"
            raise VideoError(
                f"no frame could be decoded between {span}" + (f" ({damage.reason})" if damage.reason else "")
            )
        images, seconds = taken.filled(settings.num_frames)
        signals = {} if taken.watch is None else taken.watch.signals()
    except (MemoryError, RuntimeError) as error:
        if not is_memory_fault(error):
            raise
        raise memory_error() from error
    cues, source = _cues(clip, settings)
    return Frames(images, seconds, cues, source, damaged=taken.is_damaged, signals=signals)


@dataclass(slots=True)
class _Taken:
    """The frames taken so far, each once, and how many times each is to appear."""

    resizer: Resizer
    damage: Damage  # of the file, so far
    seconds: list[float] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    num_seen: int = 0  # frames of the clip that were decoded, taken or not
    watch: Watch | None = None  # where signals are asked for
    is_damaged: bool = False  # up to the last frame that was needed

    def read(self, hits: Iterator[tuple[TimedFrame, int]], *, until: int, at_least: int = 0) -> None:
        """Takes no more as soon as `until` are taken and `at_least` were seen."""
        num_taken = 0
        for frame, times in hits:
            self.num_seen += 1
            if times:
                self.resizer.add(frame.rgb())
                self.seconds.append(frame.seconds)
                self.times.append(times)
                num_taken += times
            if self.watch is not None:
                self.watch.see(frame, taken=times > 0)
            if num_taken >= until and self.num_seen >= at_least:
                break
        self.is_damaged = self.damage.reason is not None
        if self.watch is not None and self.watch.sees_all:
            for frame, _ in hits:
                self.watch.see(frame, taken=False)

    def filled(self, count: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64]]:
        """Images and seconds of exactly `count` frames, the last repeated."""
        order = np.repeat(np.arange(len(self.times)), self.times)
        order = np.pad(order, (0, max(0, count - len(order))), mode="edge")[:count]
        return self.resizer.result()[order], np.array(self.seconds, np.float64)[order]


def _taken(clip: Clip, settings: FrameSettings, damage: Damage) -> _Taken:
    watch = None
    if settings.signals:
        watch = Watch(settings.signals, settings.num_frames, clip.start_seconds, clip.end_seconds)
    return _Taken(Resizer(settings.image_size), damage, watch=watch)


def _take_evenly(clip: Clip, settings: FrameSettings, damage: Damage) -> _Taken:
    """The frames nearest to the middles of T equal parts of the clip; all frames where there are fewer than T.

    Always exact. Skipping the frames that no other frame refers to would take two thirds of the time, but a sample
    would then land up to two frames off, or many at scene cuts, by how the file happens to be coded.
    """
    count = settings.num_frames
    taken = _taken(clip, settings, damage)
    targets = even_targets(clip.start_seconds, clip.end_seconds, count)
    taken.read(nearest(_span(clip, settings, damage), targets), until=count, at_least=count)
    if taken.num_seen < count and len(taken.times) == taken.num_seen:
        taken.times = [1] * taken.num_seen
    elif taken.num_seen < count:  # some were too close to others to be nearest to anything: again, to take all
        taken = _taken(clip, settings, damage)
        taken.read(every(_span(clip, settings, damage), 1), until=count)
    return taken


def _take_reference(clip: Clip, settings: FrameSettings, damage: Damage) -> _Taken:
    """The reference's indices; for a whole video from its container's length, as there, else from the clip's."""
    container_seconds, fps = reference_facts(clip.video.location)
    whole = clip.seconds > clip.info.video_seconds - WHOLE_SECONDS
    interval = reference_interval(
        duration_seconds=container_seconds if whole else clip.seconds,
        fps=fps or clip.info.fps or 25.0,
        max_frames=settings.num_frames,
    )
    taken = _taken(clip, settings, damage)
    taken.read(every(_span(clip, settings, damage), interval), until=settings.num_frames)
    return taken


def _span(clip: Clip, settings: FrameSettings, damage: Damage) -> Iterator[TimedFrame]:
    return DECODERS[settings.decoder](
        clip.video.location, start_seconds=clip.start_seconds, end_seconds=clip.end_seconds, damage=damage
    )


def _cues(clip: Clip, settings: FrameSettings) -> tuple[tuple[Cue, ...], str]:
    if settings.subtitles == "none":
        return (), "none"
    location = clip.video.location
    cues, source = _all_cues(clip.video, 0 if is_url(location) else Path(location).stat().st_mtime_ns)
    return cut_cues(cues, clip.start_seconds, clip.end_seconds), source


# the clips of a video follow each other, and a text track is found only by reading the whole file
@lru_cache(maxsize=4)
def _all_cues(video: Video, changed_ns: int) -> tuple[tuple[Cue, ...], str]:
    return find_cues(video)
