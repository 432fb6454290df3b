"""What a run has asked, got answered and failed. Every answer finds its clip here, by id and question, never by
position: an answer that nobody waits for is a bug of the captioner and stops the run before it can become a label."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from vidlabel.asking import Asking, Wanted
from vidlabel.data import Answer, AskedClip, Clip, Frames, Question, Stage, Video
from vidlabel.embeddings import ClipEmbedding
from vidlabel.errors import VideoError
from vidlabel.failures import FailureLog
from vidlabel.interviews import Interview
from vidlabel.labels import Label
from vidlabel.parts import PartSaver
from vidlabel.plan import RetryPolicy, failed_id, failure_of, label_id_of
from vidlabel.resume import LabelIds
from vidlabel.scenes_cache import ScenesCache
from vidlabel.selection import Rejection, Selection
from vidlabel.skip_book import SkipBook

Planned = tuple[Clip, tuple[Question, ...]]


@dataclass(slots=True)
class _Waiting:
    """One clip that is with the captioner."""

    interview: Interview
    num_open: int  # labels still to be made
    failed: bool = False
    embedded: bool = False  # what the clip looks like is kept

    @property
    def clip(self) -> Clip:
        return self.interview.asked.clip


class Ledger:
    """Books of one run. Not thread-safe: feed and captioner take turns in one thread."""

    def __init__(
        self,
        *,
        asking: Asking,
        done_label_ids: LabelIds,
        failures: FailureLog,
        parts: PartSaver[Label],
        embeddings: PartSaver[ClipEmbedding] | None = None,
        scenes: ScenesCache,
        skips: SkipBook,
        policy: RetryPolicy,
        stopping: Callable[[], bool],
    ) -> None:
        self._asking = asking
        self._done = done_label_ids
        self._failures = failures
        self._parts = parts
        self._embeddings = embeddings
        self._scenes = scenes
        self._skips = skips
        self._policy = policy
        self.stopping = stopping
        self._claimed: set[str] = set()
        self._wanted: dict[tuple[Video, str], list[Wanted]] = {}  # of clips that are planned and not asked yet
        self._waiting: dict[tuple[str, Question], _Waiting] = {}
        self._num_open: dict[Video, int] = {}  # videos begun: labels still to be made
        self._finished: set[str] = set()  # ids alone: a run may be of millions
        self.follow_ups: deque[AskedClip] = deque()  # what answers have led to, to be asked before new clips
        self.num_videos = 0  # finished, well or not
        self.num_clips = 0
        self.num_labels = 0
        self.num_given_up = 0  # clips that failed before and are left alone
        self.reasons: Counter[str] = Counter()
        self._failed_video_ids: set[str] = set()  # wholly or in part

    # ---- from the feed -------------------------------------------------------------------------------------------

    @property
    def selection(self) -> Selection:
        """Which clips are wanted."""
        return self._skips.selection

    def known_clips(self, video: Video) -> list[Clip] | None:
        """The clips of a video whose scenes an earlier, unfinished run has found."""
        return self._scenes.get(video)

    def file_key(self, video: Video) -> str | None:
        """Differs when the file has changed."""
        return self._scenes.key(video)

    def is_unchanged(self, video: Video) -> bool:
        """Whether the file is still the one whose scenes were found."""
        return self._scenes.is_current(video)

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
        planned: list[Planned] = []
        num_open = 0
        for clip in clips:
            if wanted := self._open_labels(clip):
                self._wanted[video, clip.clip_id] = wanted
                planned.append((clip, self._asking.first_questions(clip.clip_id, wanted)))
                num_open += len(wanted)
        self._num_open[video] = num_open
        self._labels_closed(video, 0)
        return planned

    def asked(self, asked: AskedClip) -> None:
        """The captioner is given this clip."""
        wanted = self._wanted.pop((asked.clip.video, asked.clip.clip_id))
        waiting = _Waiting(Interview(asked, wanted, self._asking), len(wanted))
        for question in asked.questions:
            self._waiting[asked.clip.clip_id, question] = waiting

    def video_failed(self, video: Video, stage: Stage, error: VideoError) -> None:
        self._record(failed_id(video), video, stage, error)
        self._num_open[video] = 0
        self._labels_closed(video, 0)

    def never_opened(self, videos: Iterable[Video]) -> None:
        """Videos that are not wanted, which is known without a look at them: not among those that this run counts."""
        for video in videos:
            rejection = self.selection.reject_video(video)
            assert rejection is not None, "planned as rejected"
            self._failures.remove(failed_id(video))
            self._skips.skips_video(video, rejection)
            self._skips.finished(video)

    def video_skipped(self, video: Video, rejection: Rejection) -> None:
        """It is not wanted, which its file alone tells."""
        self._failures.remove(failed_id(video))
        self._skips.skips_video(video, rejection)
        self._num_open[video] = 0
        self._labels_closed(video, 0)

    def is_skipped(self, clip: Clip, frames: Frames) -> bool:
        """Whether the clip is not wanted, now that its signals are known. Then it is done with."""
        if not self._skips.skips_frames(clip, frames):
            return False
        self._failures.remove(clip.clip_id)
        self._labels_closed(clip.video, len(self._wanted.pop((clip.video, clip.clip_id))))
        return True

    def clip_failed(self, clip: Clip, stage: Stage, error: VideoError) -> None:
        self._record(clip.clip_id, clip.video, stage, error)
        self._labels_closed(clip.video, len(self._wanted.pop((clip.video, clip.clip_id))))

    # ---- from the captioner --------------------------------------------------------------------------------------

    def answered(self, answer: Answer) -> None:
        """Turn an answer into a label of the clip that it names."""
        waiting = self._waiting.pop((answer.clip_id, answer.question), None)
        if waiting is None:
            raise RuntimeError(
                f"the captioner answered a question that is not open: {answer.clip_id = }, {answer.question.text = }"
            )
        clip, following = waiting.clip, waiting.interview.take(answer)
        if following.error is not None:
            waiting.failed = True
            self._record(clip.clip_id, clip.video, "answer", VideoError(following.error))
        if self._embeddings is not None and answer.features is not None and not waiting.embedded:
            waiting.embedded = True
            self._embeddings.add(ClipEmbedding(clip, answer.num_frames, answer.features))  # before any label of it
        for label in following.labels:
            self._parts.add(label)
        self.num_labels += len(following.labels)
        if following.questions:
            self._follow(waiting, following.questions)
        if following.num_closed:
            waiting.num_open -= following.num_closed
            if waiting.num_open == 0:
                self.num_clips += not waiting.failed
                if not waiting.failed:
                    self._failures.remove(clip.clip_id)
            self._labels_closed(clip.video, following.num_closed)

    def _follow(self, waiting: _Waiting, questions: tuple[Question, ...]) -> None:
        asked = waiting.interview.asked
        for question in questions:
            self._waiting[asked.clip.clip_id, question] = waiting
        self.follow_ups.append(replace(asked, questions=questions, seed=asked.seed + 1))

    def unanswered(self) -> None:
        """The captioner is done. What it was asked and did not answer is a failure, not a silent hole."""
        for waiting in {id(one): one for one in self._waiting.values()}.values():
            if not waiting.failed:
                waiting.failed = True
                self._record(waiting.clip.clip_id, waiting.clip.video, "answer", VideoError("the model gave no answer"))
            self._labels_closed(waiting.clip.video, waiting.num_open)
        self._waiting.clear()

    def close(self) -> None:
        """Nothing more is to come: the frames of what is open go, whoever still holds this ledger."""
        self._waiting.clear()
        self.follow_ups.clear()

    def unfinished_video_ids(self) -> set[str]:
        """Videos of this run that have labels to come."""
        return {video.video_id for video in self._num_open}

    def finished_video_ids(self) -> set[str]:
        return self._finished

    @property
    def num_videos_failed(self) -> int:
        return len(self._failed_video_ids)

    @property
    def skip_reasons(self) -> Counter[str]:
        """Parts of the condition, and how many clips (and videos, where that was enough) they left out."""
        return self._skips.reasons

    @property
    def num_failures(self) -> int:
        return self.reasons.total()

    # ---- books ---------------------------------------------------------------------------------------------------

    def _open_labels(self, clip: Clip) -> list[Wanted]:
        open_labels: dict[str, Wanted] = {}
        for wanted in self._asking.wanted(clip.clip_id, clip.video):
            label_id = label_id_of(clip.clip_id, wanted, self._asking.settings)
            if label_id not in self._done and label_id not in self._claimed:
                open_labels.setdefault(label_id, wanted)
        if open_labels and self._skips.skips_clip(clip):
            self._failures.remove(clip.clip_id)
            return []
        if self._policy.gives_up(self._failures, clip.clip_id, clip.video.location):
            self.num_given_up += 1
            return []
        self._claimed.update(open_labels)
        return list(open_labels.values())

    def _labels_closed(self, video: Video, count: int) -> None:
        self._num_open[video] -= count
        if self._num_open[video] == 0:
            del self._num_open[video]
            self._finished.add(video.video_id)
            self._skips.finished(video)
            self.num_videos += 1

    def _record(self, failed: str, video: Video, stage: Stage, error: VideoError) -> None:
        self.reasons[error.reason] += 1
        self._failed_video_ids.add(video.video_id)
        self._failures.add(failure_of(failed, video, stage, error))
