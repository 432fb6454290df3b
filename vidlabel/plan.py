"""Which videos a run has to look at: those without all their labels, less those that failed and are not worth a try.

Decided from ids alone, without opening a video: a cron job over a million labelled files must cost seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import compress, islice
from pathlib import Path
from typing import Protocol

from vidlabel.asking import Asking, Wanted
from vidlabel.config import Settings
from vidlabel.data import Failure, Stage, Video, clip_id_for
from vidlabel.errors import VideoError
from vidlabel.failures import FailureLog, should_retry
from vidlabel.labels import label_id_for
from vidlabel.remote import is_url
from vidlabel.resume import Existing
from vidlabel.selection import EVERYTHING, Selection
from vidlabel.shard import Shard


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


class Videos(Protocol):
    """Can be gone through again and again: a list, or the inputs of a run."""

    def __iter__(self) -> Iterator[Video]: ...

    def __len__(self) -> int: ...


class Share:
    """The videos of one shard."""

    def __init__(self, videos: Videos, shard: Shard) -> None:
        self._videos, self._shard = videos, shard
        self._num_videos = sum(shard.takes(video.video_id) for video in videos)

    def __iter__(self) -> Iterator[Video]:
        return (video for video in self._videos if self._shard.takes(video.video_id))

    def __len__(self) -> int:
        return self._num_videos


@dataclass(frozen=True, slots=True)
class Pending:
    """Some of the videos, at a byte for each of all. Going through them goes through the inputs again."""

    videos: Videos
    is_pending: bytearray
    num_videos: int

    def __iter__(self) -> Iterator[Video]:
        return islice(compress(self.videos, self.is_pending), self.num_videos)

    def __len__(self) -> int:
        return self.num_videos

    def first(self, limit: int | None) -> Pending:
        return self if limit is None else replace(self, num_videos=min(limit, self.num_videos))


@dataclass(frozen=True, slots=True)
class Plan:
    pending: Pending
    num_done: int
    num_given_up: int  # videos and clips that failed before and are left alone
    has_spans: bool  # among the pending and the rejected
    rejected: Pending  # that the selection does not want, and of which that is not recorded yet
    num_rejected_before: int  # likewise, and it is


def make_plan(
    videos: Videos,
    *,
    existing: Existing,
    failures: FailureLog,
    policy: RetryPolicy,
    asking: Asking,
    selection: Selection = EVERYTHING,
) -> Plan:
    is_pending, is_left_out = bytearray(), bytearray()
    num_done = num_given_up = num_rejected_before = 0
    has_spans = False
    for video in videos:
        is_left = is_new_rejection = False
        key = selection.key(video, asking.settings.fingerprint)
        is_rejected = selection.reject_video(video) is not None
        if is_rejected and existing.skipped.has(failed_id(video), key):
            num_rejected_before += 1
        elif is_rejected and not _has_labels(video, existing, asking, key):
            is_new_rejection = True
        elif policy.gives_up(failures, failed_id(video), video.location):
            num_given_up += 1
        elif video.span is None and existing.is_complete(video.video_id, key):
            # whatever of it failed: does one of those deserve another try?
            given_up = [policy.gives_up(failures, it.id, video.location) for it in failures.of_video(video.video_id)]
            is_left = not all(given_up)
            num_done += not is_left
            num_given_up += 0 if is_left else len(given_up)
        elif video.span is not None and _span_is_done(video, existing, asking, key):
            num_done += 1
        else:
            is_left = True
        is_pending.append(is_left)
        is_left_out.append(is_new_rejection)
        has_spans = has_spans or (video.span is not None and (is_left or is_new_rejection))
    return Plan(
        Pending(videos, is_pending, is_pending.count(1)),
        num_done,
        num_given_up,
        has_spans,
        Pending(videos, is_left_out, is_left_out.count(1)),
        num_rejected_before,
    )


def label_id_of(clip_id: str, wanted: Wanted, settings: Settings) -> str:
    return label_id_for(
        clip_id=clip_id, task=wanted.task, instruction=wanted.key, settings_fingerprint=settings.fingerprint
    )


def file_state(location: str) -> tuple[int | None, float | None]:
    """Size and modification time; None where there is no file, which may be the very reason of a failure, and of a
    URL: to ask for each would take too long."""
    if is_url(location):
        return None, None
    try:
        status = Path(location).stat()
    except (OSError, ValueError):  # a name with a NUL is no file's
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


def _has_labels(video: Video, existing: Existing, asking: Asking, key: str) -> bool:
    """All that it is to have, as far as ids tell."""
    if video.span is None:
        is_open = video.video_id in existing.incomplete_videos or existing.skipped.is_stale(video.video_id, key)
        return video.video_id in existing.videos_with_labels and not is_open
    return _span_is_done(video, existing, asking, "")


def _span_is_done(video: Video, existing: Existing, asking: Asking, key: str) -> bool:
    clip_id = failed_id(video)
    if existing.skipped.has(clip_id, key):
        return True
    ids = (label_id_of(clip_id, wanted, asking.settings) for wanted in asking.wanted(clip_id, video))
    return all(label_id in existing.done_label_ids for label_id in ids)
