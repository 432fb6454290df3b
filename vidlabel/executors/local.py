"""Feeds a captioner on this machine: decode workers ahead of it, a bounded number of clips in flight.

The captioner's pulling is the clock: workers run ahead until `capacity` clips are under way or ready, and then idle.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from vidlabel.config import Limits, SceneSettings, Settings
from vidlabel.data import AskedClip, Clip, Frames, Question, Stage, Video
from vidlabel.errors import VideoError
from vidlabel.executors.speech import SpeechStage
from vidlabel.executors.workers import DecodeWorkers, StageWorkers
from vidlabel.ledger import Ledger, Planned
from vidlabel.pipeline import Stages, find_wanted_clips, time_limit
from vidlabel.scenes_cache import ScenesCache
from vidlabel.selection import Rejection

TICK_SECONDS = 0.25  # how long a stop request may wait while nothing finishes
CHANGED = "the file changed while it was being read"  # frames of one film under the scenes of another would be worse


@dataclass(frozen=True, slots=True)
class Task:
    """What a worker is at: the scenes of a video, or (with `clip`) the frames of a clip."""

    video: Video
    clip: Clip | None = None
    questions: tuple[Question, ...] = ()
    file_key: str | None = None  # of the file as its scenes begin to be looked for


@dataclass(frozen=True, slots=True)
class SceneFailure:
    """Why a video has no clips."""

    stage: Stage
    error: VideoError


class LocalFeed:
    """Iterates over asked clips, once. Tells the ledger of everything that cannot be asked."""

    def __init__(
        self,
        videos: Iterable[Video],
        *,
        settings: Settings,
        limits: Limits,
        stages: Stages,
        workers: StageWorkers[Task],
        ledger: Ledger,
        speech: SpeechStage | None = None,
        on_tick: Callable[[], None],
    ) -> None:
        self._videos = iter(videos)
        self._settings = settings
        self._limits = limits
        self._stages = stages
        self._workers = workers
        self._ledger = ledger
        self._speech = speech
        self._on_tick = on_tick
        self._ready: deque[tuple[Clip, tuple[Question, ...]]] = deque()  # to be sampled
        self._arrived: deque[AskedClip] = deque()  # to be asked
        self._exhausted = False
        # enough to keep every worker busy while the captioner takes a whole batch at once
        self._capacity = 2 * limits.num_workers + limits.batch_size
        self.waited_seconds = 0.0  # time the captioner spent waiting for frames

    def __iter__(self) -> Iterator[AskedClip]:
        while (asked := self._next()) is not None:
            self._ledger.asked(asked)
            yield asked

    def start(self) -> None:
        """Let the workers begin, before anything is pulled."""
        self._submit()

    def close(self) -> None:
        """What has arrived is not wanted any more: it may be gigabytes, and an error's traceback may hold this feed."""
        self._arrived.clear()

    @property
    def num_ready(self) -> int:
        """Clips that are decoded and wait for the captioner."""
        return len(self._arrived)

    def would_wait(self) -> bool:
        """Whether the next clip is still being decoded, so that pulling it would block. See `captioner.Feed`."""
        if not self._arrived and not self._ledger.stopping():
            self._advance(0.0)
        return not self._arrived and self._under_way() and not self._ledger.stopping()

    def _next(self) -> AskedClip | None:
        """The next clip, or None when there are no more or the run is to stop."""
        began = time.monotonic()
        self._submit()
        while not self._arrived and self._under_way() and not self._ledger.stopping():
            self._advance(TICK_SECONDS)
        self.waited_seconds += time.monotonic() - began
        return self._arrived.popleft() if self._arrived and not self._ledger.stopping() else None

    def _advance(self, wait_seconds: float) -> None:
        """Take what has finished, waiting at most so long for a first one, and keep the workers busy."""
        if self._speech is not None:  # waited for where nothing else is under way
            self._ready.extend(self._speech.finished(0.0 if len(self._workers) else wait_seconds))
            self._submit()
            wait_seconds = wait_seconds if len(self._workers) else 0.0
        for task, outcome in self._workers.finished(wait_seconds):
            self._take(task, outcome)
        self._submit()
        self._on_tick()

    def _submit(self) -> None:
        """Fill the workers: clips first, but keep scenes coming while few clips are known."""
        while len(self._workers) + len(self._arrived) < self._capacity and not self._ledger.stopping():
            num_scene_tasks = sum(task.clip is None for task in self._workers.in_flight())
            num_planned = len(self._ready) + (0 if self._speech is None else len(self._speech))
            want_scenes = not self._exhausted and num_planned < self._capacity
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
            self._plan(video, self._ledger.plan(video, known))
            return
        seconds = seconds_for(video, self._limits)
        if isinstance(seconds, VideoError):
            self._ledger.video_failed(video, "open", seconds)
            return
        task = Task(video, file_key=self._ledger.file_key(video))
        find, scenes, selection = self._stages.find_clips, self._settings.scenes, self._ledger.selection
        if selection.asks_the_file and video.span is None and scenes.split == "scenes":
            self._workers.submit(task, find_wanted_clips, find, video, scenes, selection, seconds=seconds)
        else:
            self._workers.submit(task, find, video, scenes, seconds=seconds)

    def _plan(self, video: Video, planned: list[Planned]) -> None:
        """Clips that can be sampled, or that wait until their video's speech is known."""
        self._ready.extend(planned if self._speech is None else self._speech.add(video, planned))

    def _under_way(self) -> bool:
        return bool(len(self._workers)) or (self._speech is not None and len(self._speech) > 0)

    def _start_clip(self, clip: Clip, questions: tuple[Question, ...]) -> None:
        seconds = seconds_for(clip.video, self._limits)
        if isinstance(seconds, VideoError):  # it was there when its scenes were found
            self._ledger.clip_failed(clip, "open", seconds)
            return
        task = Task(clip.video, clip, questions)
        self._workers.sample(task, self._stages.sample_frames, clip, self._settings.frames, seconds=seconds)

    def _take(self, task: Task, outcome: list[Clip] | Rejection | Frames | VideoError) -> None:
        """Clips to be sampled, a clip to be asked, or a failure: whatever a worker has finished."""
        if task.clip is None:
            if isinstance(outcome, VideoError):
                self._ledger.video_failed(task.video, "scenes", outcome)
            elif self._ledger.file_key(task.video) != task.file_key:
                self._ledger.video_failed(task.video, "scenes", VideoError(CHANGED))
            elif isinstance(outcome, Rejection):
                self._ledger.video_skipped(task.video, outcome)
            else:
                assert isinstance(outcome, list)
                self._plan(task.video, self._ledger.found_clips(task.video, outcome))
            return
        if isinstance(outcome, VideoError):
            self._ledger.clip_failed(task.clip, "frames", outcome)
        elif not self._ledger.is_unchanged(task.video):
            self._ledger.clip_failed(task.clip, "frames", VideoError(CHANGED))
        else:
            assert isinstance(outcome, Frames)
            if self._ledger.is_skipped(task.clip, outcome):
                return
            frames = outcome if self._speech is None else self._speech.with_speech(task.clip, outcome)
            self._arrived.append(AskedClip(task.clip, frames, task.questions, self._settings.answers.seed))


def each_scenes(
    videos: Sequence[Video],
    *,
    settings: SceneSettings,
    limits: Limits,
    stages: Stages,
    workers: DecodeWorkers[int],
    cache: ScenesCache,
    stopping: Callable[[], bool],
) -> Iterator[tuple[int, list[Clip] | SceneFailure]]:
    """The clips of each video, or why there are none, by index and as they are found."""
    waiting = deque(range(len(videos)))
    keys: dict[int, str | None] = {}  # of the files under way, as their scenes begin to be looked for
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
                yield index, SceneFailure("open", seconds)
            else:
                keys[index] = cache.key(video)
                workers.submit(index, stages.find_clips, video, settings, seconds=seconds)
        for index, outcome in workers.finished(TICK_SECONDS):
            key = keys.pop(index)
            if isinstance(outcome, VideoError):
                yield index, SceneFailure("scenes", outcome)
            elif cache.key(videos[index]) != key:
                yield index, SceneFailure("scenes", VideoError(CHANGED))
            else:
                cache.put(videos[index], outcome)
                yield index, outcome


def seconds_for(video: Video, limits: Limits) -> float | VideoError:
    """How long a stage of this video may take; or that there is no such file."""
    try:
        return time_limit(video.location, limits.seconds_per_video)
    except FileNotFoundError:
        return VideoError("no such file")
    except OSError as error:
        return VideoError(f"cannot be opened: {error.strerror}")
