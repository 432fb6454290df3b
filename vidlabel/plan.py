"""Which videos a run has to look at: those without all their labels, less those that failed and are not worth a try.

Decided from ids alone, without opening a video: a cron job over a million labelled files must cost seconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from vidlabel.asking import Asking, Wanted
from vidlabel.config import Settings
from vidlabel.data import Failure, Stage, Video, clip_id_for
from vidlabel.errors import VideoError
from vidlabel.failures import FailureLog, should_retry
from vidlabel.labels import label_id_for
from vidlabel.resume import Existing


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When a failure of an earlier run is tried again."""

    max_attempts: int = 3
    retry_failed: bool = False

    def gives_up(self, failures: FailureLog, failed_id: str, location: str) -> bool:
        failure = failures.get(failed_id)
        if failure is None:
            return False
        size, mtime = file_state(location)
        return not should_retry(
            failure,
            file_size=size,
            file_mtime=mtime,
            max_attempts=self.max_attempts,
            retry_failed=self.retry_failed,
        )


@dataclass(frozen=True, slots=True)
class Plan:
    pending: tuple[Video, ...]
    num_done: int
    num_given_up: int  # videos and clips that failed before and are left alone


def make_plan(
    videos: Iterable[Video],
    *,
    existing: Existing,
    failures: FailureLog,
    policy: RetryPolicy,
    asking: Asking,
) -> Plan:
    pending: list[Video] = []
    num_done = num_given_up = 0
    for video in videos:
        if policy.gives_up(failures, failed_id(video), video.location):
            num_given_up += 1
        elif video.span is None and existing.is_complete(video.video_id):
            # whatever of it failed: does one of those deserve another try?
            given_up = [policy.gives_up(failures, it.id, video.location) for it in failures.of_video(video.video_id)]
            if all(given_up):
                num_done += 1
                num_given_up += len(given_up)
            else:
                pending.append(video)
        elif video.span is not None and _span_is_done(video, existing, asking):
            num_done += 1
        else:
            pending.append(video)
    return Plan(tuple(pending), num_done, num_given_up)


def label_id_of(clip_id: str, wanted: Wanted, settings: Settings) -> str:
    return label_id_for(
        clip_id=clip_id, task=wanted.task, instruction=wanted.key, settings_fingerprint=settings.fingerprint
    )


def file_state(location: str) -> tuple[int | None, float | None]:
    """Size and modification time; None where there is no file, which may be the very reason of a failure."""
    try:
        status = Path(location).stat()
    except OSError:
        return None, None
    return status.st_size, status.st_mtime


def failure_of(failed_id: str, video: Video, stage: Stage, error: VideoError) -> Failure:
    """The line for the failures file."""
    size, mtime = file_state(video.location)
    return Failure(
        id=failed_id,
        video_id=video.video_id,
        path=video.path,
        stage=stage,
        reason=error.reason,
        permanent=error.permanent,
        file_size=size,
        file_mtime=mtime,
    )


def failed_id(video: Video) -> str:
    """The id that a video fails under before its clips are known: a span's clip id, else the video's."""
    if video.span is None:
        return video.video_id
    return clip_id_for(video, video.span.start_seconds, video.span.end_seconds)


def _span_is_done(video: Video, existing: Existing, asking: Asking) -> bool:
    clip_id = failed_id(video)
    ids = (label_id_of(clip_id, wanted, asking.settings) for wanted in asking.wanted(clip_id, video))
    return all(label_id in existing.done_label_ids for label_id in ids)
