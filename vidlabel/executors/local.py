"""Feeds a captioner on this machine: decode workers ahead of it, a bounded number of clips in flight.

A generator, so the captioner's pulling is the clock: workers run ahead until `capacity` clips are ready and then idle.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vidlabel.config import Limits, SceneSettings, Settings
from vidlabel.data import AskedClip, Clip, Question, Video
from vidlabel.errors import VideoError
from vidlabel.executors.workers import DecodeWorkers
from vidlabel.ledger import Ledger
from vidlabel.pipeline import Stages, time_limit
from vidlabel.scenes_cache import ScenesCache

TICK_SECONDS = 0.25  # how long a stop request may wait while nothing finishes


@dataclass(frozen=True, slots=True)
class Task:
    """What a worker is at: the scenes of a video, or (with `clip`) the frames of a clip."""

    video: Video
    clip: Clip | None = None
    questions: tuple[Question, ...] = ()


class LocalFeed:
    """Iterates over asked clips, once. Tells the ledger of everything that cannot be asked."""

    def __init__(
        self,
        videos: Iterable[Video],
        *,
        settings: Settings,
        limits: Limits,
        stages: Stages,
        workers: DecodeWorkers[Task],
        ledger: Ledger,
        on_tick: Callable[[], None],
    ) -> None:
        self._videos = iter(videos)
        self._settings = settings
        self._limits = limits
        self._stages = stages
        self._workers = workers
        self._ledger = ledger
        self._on_tick = on_tick
        self._ready: deque[tuple[Clip, tuple[Question, ...]]] = deque()
        self._exhausted = False
        # enough to keep every worker busy while the captioner takes a whole batch at once
        self._capacity = 2 * limits.num_workers + limits.batch_size
        self.waited_seconds = 0.0  # time the captioner spent waiting for frames

    def __iter__(self) -> Iterator[AskedClip]:
        pulled = time.monotonic()
        while not self._ledger.stopping():
            self._submit()
            if not len(self._workers):
                break
            for task, outcome in self._workers.finished(TICK_SECONDS):
                asked = self._take(task, outcome)
                if asked is not None and not self._ledger.stopping():
                    self._ledger.asked(asked)
                    self.waited_seconds += time.monotonic() - pulled
                    yield asked
                    pulled = time.monotonic()
            self._on_tick()
        self.waited_seconds += time.monotonic() - pulled

    def _submit(self) -> None:
        """Fill the workers: clips first, but keep scenes coming while few clips are known."""
        while len(self._workers) < self._capacity:
            num_scene_tasks = sum(task.clip is None for task in self._workers.in_flight())
            want_scenes = not self._exhausted and len(self._ready) < self._capacity
            if want_scenes and (num_scene_tasks == 0 or not self._ready):
                self._next_video()
            elif self._ready:
                self._start_clip(*self._ready.popleft())
            else:
                return

    def _next_video(self) -> None:
        video = next(self._videos, None)
        if video is None:
            self._exhausted = True
            return
        known = self._ledger.known_clips(video)
        if known is not None:
            self._ready.extend(self._ledger.plan(video, known))
            return
        seconds = seconds_for(video, self._limits)
        if isinstance(seconds, VideoError):
            self._ledger.video_failed(video, "open", seconds)
            return
        self._workers.submit(Task(video), self._stages.find_clips, video, self._settings.scenes, seconds=seconds)

    def _start_clip(self, clip: Clip, questions: tuple[Question, ...]) -> None:
        seconds = seconds_for(clip.video, self._limits)
        if isinstance(seconds, VideoError):  # it was there when its scenes were found
            self._ledger.clip_failed(clip, questions, "open", seconds)
            return
        task = Task(clip.video, clip, questions)
        self._workers.submit(task, self._stages.sample_frames, clip, self._settings.frames, seconds=seconds)

    def _take(self, task: Task, outcome: object) -> AskedClip | None:
        """The asked clip, if that is what a worker has finished."""
        if isinstance(outcome, VideoError):
            if task.clip is None:
                self._ledger.video_failed(task.video, "scenes", outcome)
            else:
                self._ledger.clip_failed(task.clip, task.questions, "frames", outcome)
            return None
        if task.clip is None:
            self._ready.extend(self._ledger.found_clips(task.video, outcome))  # type: ignore[arg-type]
            return None
        return AskedClip(task.clip, outcome, task.questions, self._settings.answers.seed)  # type: ignore[arg-type]


def each_scenes(
    videos: Sequence[Video],
    *,
    settings: SceneSettings,
    limits: Limits,
    stages: Stages,
    workers: DecodeWorkers[int],
    cache: ScenesCache,
    stopping: Callable[[], bool],
) -> Iterator[tuple[int, list[Clip] | VideoError]]:
    """The clips of each video, or why there are none, by index and as they are found."""
    waiting = deque(range(len(videos)))
    while (waiting or len(workers)) and not stopping():
        while waiting and len(workers) < 2 * limits.num_workers:
            index = waiting.popleft()
            video = videos[index]
            known = cache.get(video)
            if known is not None:
                yield index, known
                continue
            seconds = seconds_for(video, limits)
            if isinstance(seconds, VideoError):
                yield index, seconds
            else:
                workers.submit(index, stages.find_clips, video, settings, seconds=seconds)
        for index, outcome in workers.finished(TICK_SECONDS):
            if not isinstance(outcome, VideoError):
                cache.put(videos[index], outcome)
            yield index, outcome


def seconds_for(video: Video, limits: Limits) -> float | VideoError:
    """How long a stage of this video may take; or that there is no such file."""
    try:
        return time_limit(Path(video.location), limits.seconds_per_video)
    except FileNotFoundError:
        return VideoError("no such file")
    except OSError as error:
        return VideoError(f"cannot be opened: {error.strerror}")
