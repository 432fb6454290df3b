"""One run: plan, skip what is done, execute, merge, sum up. What was made before an end of any kind stays made."""

from __future__ import annotations

import time
from collections.abc import Callable, Set
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from vidlabel.asking import Asking
from vidlabel.captioner import Captioner
from vidlabel.config import Limits, Settings
from vidlabel.embeddings import check_embeddings, embedding_writer
from vidlabel.executors.choice import Executor, LocalExecutor
from vidlabel.executors.follow_ups import WithFollowUps
from vidlabel.executors.local import LocalFeed
from vidlabel.executors.speech import SpeechStage
from vidlabel.failures import FailureLog
from vidlabel.gather import mark_done
from vidlabel.ledger import Ledger
from vidlabel.max_failures import FailureWatch, MaxFailures
from vidlabel.merge import merge
from vidlabel.metrics import Counts, Metrics
from vidlabel.outputs import Output, begin_work, remove_work
from vidlabel.parts import part_writer
from vidlabel.pipeline import Stages
from vidlabel.place import Place, place_of
from vidlabel.plan import Pending, RetryPolicy, Share, Videos, make_plan
from vidlabel.progress import LogFormat, Progress
from vidlabel.prompts import Pool
from vidlabel.resume import Existing, check_settings, read_existing
from vidlabel.scenes_cache import ScenesCache
from vidlabel.selection import EVERYTHING, Selection
from vidlabel.skip_book import SkipBook
from vidlabel.skip_merge import merge_skipped
from vidlabel.skips import skip_writer
from vidlabel.speech.cache import SpeechCache
from vidlabel.stop import Stop
from vidlabel.store_lock import LockTimes
from vidlabel.summary import Summary


@dataclass(frozen=True, slots=True)
class Job:
    """What a run is asked to do. The captioner is loaded only if there is something to ask it."""

    output: Output
    settings: Settings
    limits: Limits
    pools: tuple[Pool, ...]  # that its settings name
    stages: Stages
    load_captioner: Callable[[], Captioner]
    overwrite: bool = False
    retry_failed: bool = False
    limit: int | None = None
    dry_run: bool = False
    log_format: LogFormat = "text"
    executor: Executor = field(default_factory=LocalExecutor)
    speech_device: str = "auto"  # where speech is transcribed, if it is: auto, cpu or cuda
    max_failures: MaxFailures | None = None
    metrics_file: Path | None = None
    selection: Selection = EVERYTHING
    store_times: LockTimes = field(default_factory=LockTimes)  # for an output on an object store

    @property
    def asking(self) -> Asking:
        return Asking(self.settings, self.pools)


def run(videos: Videos, job: Job) -> Summary:
    """Label what is not labelled yet. Raises InputError and LockedError; any other error is a bug or a broken machine,
    and what was labelled before it is saved."""
    if job.output.shard is not None:
        videos = Share(videos, job.output.shard)
    with place_of(job.output, job.store_times) as place:
        return _run_at(place, videos, replace(job, output=place.output))


def _run_at(place: Place, videos: Videos, job: Job) -> Summary:
    where = job.selection.text
    with place.held(job.settings, overwrite=job.overwrite, dry_run=job.dry_run, where=where) as replacing:
        existing = read_existing(job.output, replacing=replacing)
        check_settings(job.output, existing, job.settings)
        if job.limits.embeddings:
            check_embeddings(job.output, existing, job.settings.answers, replacing=replacing)
        metrics = Metrics(None if job.dry_run else job.metrics_file, output=job.output.name)
        with metrics, FailureLog(job.output.failures) as failures:
            summary = _run(place, videos, job, existing, failures, metrics, replacing=replacing)
    if job.output.shard is None or job.dry_run or summary.signal_number is not None:
        return summary
    return replace(summary, shards_left=tuple(map(str, place.gather(job.settings))))


def _run(
    place: Place,
    videos: Videos,
    job: Job,
    existing: Existing,
    failures: FailureLog,
    metrics: Metrics,
    *,
    replacing: bool,
) -> Summary:
    policy = RetryPolicy(job.limits.max_attempts, job.retry_failed)
    plan = make_plan(
        videos, existing=existing, failures=failures, policy=policy, asking=job.asking, selection=job.selection
    )
    if job.dry_run:
        num_rejected = len(plan.rejected) + plan.num_rejected_before
        left, given_up = len(plan.pending), plan.num_given_up
        return Summary(plan.num_done, num_left=left, num_given_up=given_up, num_skipped_before=num_rejected)
    begin_work(job.output, job.settings, replaces=replacing)
    place.save()
    stop, watch = Stop(time_budget_seconds=job.limits.time_budget_seconds), FailureWatch(job.max_failures)
    started = time.monotonic()
    with ExitStack() as stack:
        stack.enter_context(stop)
        ledger = _open_ledger(stack, place, job, existing, failures, policy, stop, watch)
        ledger.never_opened(plan.rejected)
        waited = _execute(plan.pending.first(job.limit), ledger, job, metrics)
    if stop.signal_number is None:
        has_spans = existing.has_spans or plan.has_spans
        incomplete = _incomplete(existing, ledger)
        failures.flush()
        place.save()
        if job.output.shard is not None:
            mark_done(job.output, job.settings, incomplete, has_spans=has_spans)
        else:
            merge_skipped(job.output, incomplete, has_spans=has_spans, replacing=replacing)
            merge(job.output, job.settings, incomplete, has_spans=has_spans, replacing=replacing)
            remove_work(job.output)
    summary = Summary(
        num_done_before=plan.num_done,
        num_videos=ledger.num_videos,
        num_left=len(plan.pending) - ledger.num_videos,
        num_given_up=plan.num_given_up + ledger.num_given_up,
        num_clips=ledger.num_clips,
        num_labels=ledger.num_labels,
        reasons=ledger.reasons,
        num_skipped_before=plan.num_rejected_before,
        skip_reasons=ledger.skip_reasons,
        skipped_file=None if job.selection.where is None else job.output.named(job.output.skipped),
        seconds=time.monotonic() - started,
        waited_seconds=waited,
        signal_number=stop.signal_number,
        stopped_by=watch.verdict,
    )
    metrics.finish(_counts(ledger, len(plan.pending), waited), summary.exit_code)
    return summary


def _open_ledger(
    stack: ExitStack,
    place: Place,
    job: Job,
    existing: Existing,
    failures: FailureLog,
    policy: RetryPolicy,
    stop: Stop,
    watch: FailureWatch,
) -> Ledger:
    """The ledger and the files behind it, which the stack closes: saved, however the run ends."""
    work, seconds = job.output.work, job.limits.flush_seconds

    def stopping() -> bool:
        place.check()
        failing = watch.tripped(num_failed=ledger.num_videos_failed, num_finished=ledger.num_videos)
        return failing or stop.requested()

    embeddings = None
    if job.limits.embeddings:
        embeddings = stack.enter_context(embedding_writer(work, job.settings.answers, flush_seconds=seconds))
    before = None if embeddings is None else embeddings.flush
    ledger = Ledger(
        asking=job.asking,
        done_label_ids=existing.done_label_ids,
        failures=failures,
        parts=stack.enter_context(part_writer(work, job.settings.to_json(), flush_seconds=seconds, before=before)),
        embeddings=embeddings,
        scenes=stack.enter_context(ScenesCache(work, job.settings.scenes, flush_seconds=seconds)),
        skips=SkipBook(
            job.selection,
            existing.skipped,
            stack.enter_context(skip_writer(work, flush_seconds=seconds)),
            job.settings.fingerprint,
        ),
        policy=policy,
        stopping=stopping,
    )
    return ledger


def _counts(ledger: Ledger, num_planned: int, waited_seconds: float, num_ready: int = 0, num_busy: int = 0) -> Counts:
    return Counts(
        num_videos=ledger.num_videos,
        num_videos_failed=ledger.num_videos_failed,
        num_videos_planned=num_planned,
        num_clips=ledger.num_clips,
        num_labels=ledger.num_labels,
        reasons=ledger.reasons,
        skip_reasons=ledger.skip_reasons,
        waited_seconds=waited_seconds,
        num_clips_ready=num_ready,
        num_stages_in_flight=num_busy,
    )


def _execute(pending: Pending, ledger: Ledger, job: Job, metrics: Metrics) -> float:
    """Ask everything; returns the seconds that the captioner waited for frames."""
    if not len(pending):
        return 0.0
    limits = job.limits

    def tick() -> None:
        progress.update(
            num_videos=ledger.num_videos,
            num_clips=ledger.num_clips,
            num_failures=ledger.num_failures,
            num_skipped=ledger.skip_reasons.total(),
        )
        metrics.update(_counts(ledger, len(pending), feed.waited_seconds, feed.num_ready, len(workers)))

    with (
        ExitStack() as stack,
        Progress(total_videos=len(pending), log_format=job.log_format) as progress,
        job.executor.workers(limits) as workers,
    ):
        feed = LocalFeed(
            pending,
            settings=job.settings,
            limits=limits,
            stages=job.stages,
            workers=workers,
            ledger=ledger,
            speech=_open_speech(stack, job),
            on_tick=tick,
        )
        stack.callback(feed.close)
        stack.callback(ledger.close)
        feed.start()  # decoding begins while the model is loaded
        captioner = stack.enter_context(job.executor.captioner(job.load_captioner))
        source = WithFollowUps(feed, ledger.follow_ups, ledger.stopping)
        while source.has_more:  # the last answers lead to questions too
            for answer in captioner.answer(source):
                ledger.answered(answer)
        if not ledger.stopping():
            ledger.unanswered()
        return feed.waited_seconds


def _open_speech(stack: ExitStack, job: Job) -> SpeechStage | None:
    """The stage that listens, where it is asked for."""
    if job.settings.frames.whisper is None:
        return None
    cache = stack.enter_context(SpeechCache(job.output.work, flush_seconds=job.limits.flush_seconds))
    speech = stack.enter_context(SpeechStage(job.settings.frames, job.limits, cache, device=job.speech_device))
    speech.load()
    return speech


def _incomplete(existing: Existing, ledger: Ledger) -> Set[str]:
    """Videos whose labels are not all made: so far, and by this run."""
    return (existing.unfinished_videos() - ledger.finished_video_ids()) | ledger.unfinished_video_ids()
