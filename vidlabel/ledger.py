"""What a run has asked, got answered and failed. Every answer finds its clip here, by id and question, never by
position: an answer that nobody waits for is a bug of the captioner and stops the run before it can become a label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from vidlabel.config import Settings
from vidlabel.data import Answer, AskedClip, Clip, Question, Stage, Video
from vidlabel.errors import VideoError
from vidlabel.failures import FailureLog
from vidlabel.labels import Label, make_label
from vidlabel.parts import PartSaver
from vidlabel.plan import RetryPolicy, failed_id, failure_of, label_id_of, questions_for
from vidlabel.prompts import Pool
from vidlabel.resume import LabelIds
from vidlabel.scenes_cache import ScenesCache

Planned = tuple[Clip, tuple[Question, ...]]


@dataclass(slots=True)
class _Waiting:
    """One clip that is with the captioner."""

    asked: AskedClip
    num_open: int
    failed: bool = False


class Ledger:
    """Books of one run. Not thread-safe: feed and captioner take turns in one thread."""

    def __init__(
        self,
        *,
        settings: Settings,
        pool: Pool | None,
        done_label_ids: LabelIds,
        failures: FailureLog,
        parts: PartSaver[Label],
        scenes: ScenesCache,
        policy: RetryPolicy,
        stopping: Callable[[], bool],
    ) -> None:
        self._settings = settings
        self._pool = pool
        self._done = done_label_ids
        self._failures = failures
        self._parts = parts
        self._scenes = scenes
        self._policy = policy
        self.stopping = stopping
        self._claimed: set[str] = set()
        self._waiting: dict[tuple[str, Question], _Waiting] = {}
        self._num_open: dict[Video, int] = {}  # videos begun: questions still to be answered
        self.num_videos = 0  # finished, well or not
        self.num_clips = 0
        self.num_labels = 0
        self.num_given_up = 0  # clips that failed before and are left alone
        self.reasons: Counter[str] = Counter()

    # ---- from the feed -------------------------------------------------------------------------------------------

    def known_clips(self, video: Video) -> list[Clip] | None:
        """The clips of a video whose scenes an earlier, unfinished run has found."""
        return self._scenes.get(video)

    def found_clips(self, video: Video, clips: list[Clip]) -> list[Planned]:
        self._scenes.put(video, clips)
        if video.span is None:  # failures of clips that a changed file no longer has go too
            current = {clip.clip_id for clip in clips}
            for failure in self._failures.of_video(video.video_id):
                if failure.id not in current:
                    self._failures.remove(failure.id)
        return self.plan(video, clips)

    def plan(self, video: Video, clips: Iterable[Clip]) -> list[Planned]:
        """The clips of a video that are still to be asked something, with what they are to be asked."""
        planned = [(clip, questions) for clip in clips if (questions := self._open_questions(clip))]
        self._num_open[video] = sum(len(questions) for _, questions in planned)
        if not planned:
            self.num_videos += 1
        return planned

    def asked(self, asked: AskedClip) -> None:
        """The captioner has taken this clip."""
        waiting = _Waiting(asked, len(asked.questions))
        for question in asked.questions:
            self._waiting[asked.clip.clip_id, question] = waiting

    def video_failed(self, video: Video, stage: Stage, error: VideoError) -> None:
        self._record(failed_id(video), video, stage, error)
        self._num_open[video] = 0
        self.num_videos += 1

    def clip_failed(self, clip: Clip, questions: tuple[Question, ...], stage: Stage, error: VideoError) -> None:
        self._record(clip.clip_id, clip.video, stage, error)
        self._questions_closed(clip.video, len(questions))

    # ---- from the captioner --------------------------------------------------------------------------------------

    def answered(self, answer: Answer) -> None:
        """Turn an answer into a label of the clip that it names."""
        waiting = self._waiting.pop((answer.clip_id, answer.question), None)
        if waiting is None:
            raise RuntimeError(
                f"the captioner answered a question that is not open: {answer.clip_id = }, {answer.question.text = }"
            )
        waiting.num_open -= 1
        clip = waiting.asked.clip
        if answer.error is not None:
            waiting.failed = True
            self._record(clip.clip_id, clip.video, "answer", VideoError(answer.error))
        else:
            self._parts.add(make_label(waiting.asked, answer, self._settings))
            self.num_labels += 1
        if waiting.num_open == 0:
            self.num_clips += not waiting.failed
            if not waiting.failed:
                self._failures.remove(clip.clip_id)
        self._questions_closed(clip.video, 1)

    def unanswered(self) -> None:
        """The captioner is done. What it was asked and did not answer is a failure, not a silent hole."""
        for (clip_id, _), waiting in list(self._waiting.items()):
            if not waiting.failed:
                waiting.failed = True
                error = VideoError("the model gave no answer")
                self._record(clip_id, waiting.asked.clip.video, "answer", error)
            self._questions_closed(waiting.asked.clip.video, 1)
        self._waiting.clear()

    def unfinished_video_ids(self) -> set[str]:
        """Videos of this run that have labels to come."""
        return {video.video_id for video, num_open in self._num_open.items() if num_open}

    def finished_video_ids(self) -> set[str]:
        return {video.video_id for video, num_open in self._num_open.items() if not num_open}

    @property
    def num_failures(self) -> int:
        return self.reasons.total()

    # ---- books ---------------------------------------------------------------------------------------------------

    def _open_questions(self, clip: Clip) -> tuple[Question, ...]:
        if self._policy.gives_up(self._failures, clip.clip_id, clip.video.location):
            self.num_given_up += 1
            return ()
        questions = questions_for(clip.clip_id, clip.video, self._settings, self._pool)
        return tuple(question for question in questions if self._claim(clip, question))

    def _claim(self, clip: Clip, question: Question) -> bool:
        label_id = label_id_of(clip.clip_id, question, self._settings)
        if label_id in self._done or label_id in self._claimed:
            return False
        self._claimed.add(label_id)
        return True

    def _questions_closed(self, video: Video, count: int) -> None:
        self._num_open[video] -= count
        if self._num_open[video] == 0:
            self.num_videos += 1

    def _record(self, failed: str, video: Video, stage: Stage, error: VideoError) -> None:
        self.reasons[error.reason] += 1
        self._failures.add(failure_of(failed, video, stage, error))
