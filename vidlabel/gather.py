"""Who may write where when several runs share one output, and how their work comes together.

    labels.parquet.work/lock                  held by a run without --shard; by shards only for moments, and to merge
    labels.parquet.work/shard-3-of-16/        lock, parts, scenes and failures of shard 3; done.json when it has ended
    labels.failures.jsonl                     every shard puts its share in when it ends

The shard that ends last merges all. A run without --shard takes over what shards have left. Every step can be killed:
parts are moved and never rewritten, so what was made stays made, and labels that are there are not made again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from vidlabel.atomic import remove_leftovers, write_whole
from vidlabel.config import Settings, differences
from vidlabel.errors import InputError, LockedError
from vidlabel.failures import FailureLog
from vidlabel.lock import locked
from vidlabel.merge import merge
from vidlabel.output_info import OutputInfo
from vidlabel.outputs import (
    WORK_FILES,
    Output,
    begin_work,
    discard_work,
    is_replacing,
    remove_work,
    shard_outputs,
)
from vidlabel.shard import Shard
from vidlabel.skip_merge import merge_skipped

_MOMENT_SECONDS = 10.0  # longer than a shard holds the lock of all to begin or to end, unless it merges


@contextmanager
def held(
    output: Output, settings: Settings, *, overwrite: bool, dry_run: bool, where: str | None = None
) -> Iterator[bool]:
    """Holds what this run writes to; gives whether the labels that are there are to be replaced. Raises LockedError.

    `where`: which clips this run labels, if not all; shards that run together must agree."""
    if output.shard is None:
        with locked(output.work):
            if not dry_run:
                _take_over(output)
                if overwrite:
                    discard_work(output)
            yield overwrite or is_replacing(output)
        return
    try:
        with ExitStack() as stack:
            with locked(output.whole.work, wait_seconds=_MOMENT_SECONDS):
                stack.enter_context(locked(output.work))
                replacing = _join(output, settings, overwrite=overwrite, dry_run=dry_run, where=where)
            yield replacing
    finally:
        with suppress(LockedError), locked(output.whole.work):
            pass  # which removes the folder if nothing was left in it


def mark_done(output: Output, settings: Settings, incomplete_videos: Iterable[str], *, has_spans: bool) -> None:
    """This shard has done what there was to do. For the holder of its lock."""
    assert output.shard is not None
    own = frozenset(filter(output.shard.takes, incomplete_videos))
    write_whole(_done_file(output), OutputInfo(settings.to_json(), own, has_spans=has_spans).to_json())


def gather(output: Output, settings: Settings) -> tuple[Shard, ...]:
    """After a shard's end, with its lock let go: merges if it was the last one, else gives those that are not done."""
    whole = output.whole
    try:
        with locked(whole.work, wait_seconds=_MOMENT_SECONDS):
            if not _has_begun(output):
                return ()  # another one has merged it meanwhile
            _publish_failures(whole, [output])
            assert output.shard is not None
            count = output.shard.count
            shards = [replace(whole, shard=Shard(number, count)) for number in range(1, count + 1)]
            missing = tuple(shard.shard for shard in shards if shard.shard and not _done_file(shard).exists())
            if missing:
                return missing
            infos = [OutputInfo.from_json(_done_file(shard).read_text(encoding="utf-8")) for shard in shards]
            replacing = is_replacing(whole)
            _take_over(whole, wait_seconds=_MOMENT_SECONDS)
            incomplete = {video_id for info in infos for video_id in info.incomplete_videos}
            has_spans = any(info.has_spans for info in infos)
            merge_skipped(whole, incomplete, has_spans=has_spans, replacing=replacing)
            merge(whole, settings, incomplete, has_spans=has_spans, replacing=replacing)
            remove_work(whole)
            return ()
    except LockedError:
        return ()  # whoever holds it for so long merges this shard's work with its own


def _join(output: Output, settings: Settings, *, overwrite: bool, dry_run: bool, where: str | None) -> bool:
    """Checks that this shard belongs with those that have begun, and begins it. For the holder of both locks."""
    assert output.shard is not None
    whole = output.whole
    others = [other for other in shard_outputs(whole) if other.shard != output.shard and _has_begun(other)]
    _check_counts(output.shard, whole, others)
    replacing = is_replacing(whole)
    if overwrite and others and not replacing:
        raise InputError(
            f"--overwrite: shard {others[0].shard} of {whole.path} was begun without it; finish without it, or run "
            "once with --overwrite and without --shard"
        )
    for other in others:
        _check_settings(other, settings, where)
    if dry_run:
        return replacing or overwrite
    if overwrite:
        _clear(output)
        if not others:  # the first of them
            discard_work(whole)
    begin_work(whole, settings, replaces=replacing or overwrite)
    if not _has_begun(output):
        with FailureLog(output.failures) as own:
            for failure in FailureLog(whole.failures):
                if output.shard.takes(failure.video_id):
                    own.add(failure)
        begin_work(output, settings, where=where)
    _done_file(output).unlink(missing_ok=True)
    return replacing or overwrite


def _check_counts(shard: Shard, whole: Output, others: list[Output]) -> None:
    for other in others:
        assert other.shard is not None
        if other.shard.count != shard.count:
            raise InputError(
                f"--shard {shard}: {whole.path} is being made by {other.shard.count} shards; take N = "
                f"{other.shard.count}, or run once without --shard, which takes over what they have left"
            )


def _check_settings(other: Output, settings: Settings, where: str | None) -> None:
    begun = json.loads((other.work / "run.json").read_text(encoding="utf-8"))
    if (theirs := begun.get("where")) != where:
        begun_with = f"with --where {theirs!r}" if theirs else "without --where"
        raise InputError(
            f"shard {other.shard} of {other.path} was begun {begun_with}; give every shard the same, or run once "
            "without --shard, which takes over what they have left"
        )
    text = json.dumps(begun["settings"])
    if found := differences(settings.to_json(), text):
        raise InputError(
            f"shard {other.shard} of {other.path} has other settings ({'; '.join(found)}); give every shard the same, "
            f"take another --out, or delete {other.whole.work} when no shard runs"
        )


def _take_over(output: Output, *, wait_seconds: float = 0.0) -> None:
    """Makes the shards' parts this output's own. For the holder of its lock; a shard that runs raises LockedError."""
    shards = shard_outputs(output)
    for shard in shards:  # none can begin meanwhile, so one lock at a time is enough
        with locked(shard.work, wait_seconds=wait_seconds):
            pass
    _publish_failures(output, shards)
    for shard in shards:
        with locked(shard.work, wait_seconds=wait_seconds):
            for path in _work_files(shard):
                path.replace(output.work / path.name)
            _clear(shard)


def _publish_failures(whole: Output, shards: Iterable[Output]) -> None:
    """What a shard says of its share takes the place of what was known before."""
    with FailureLog(whole.failures) as failures:
        for output in filter(_has_begun, shards):
            own = {failure.id: failure for failure in FailureLog(output.failures)}
            assert output.shard is not None
            for failure in failures:
                if output.shard.takes(failure.video_id) and own.get(failure.id) != failure:
                    failures.remove(failure.id)
            for failure in own.values():
                if failures.get(failure.id) != failure:
                    failures.add(failure)


def _clear(output: Output) -> None:
    """Empties a shard's folder but for its lock. `run.json` first: without it the failures beside say nothing."""
    (output.work / "run.json").unlink(missing_ok=True)
    remove_leftovers(output.work)
    for path in (*_work_files(output), output.failures, _done_file(output)):
        path.unlink(missing_ok=True)


def _work_files(output: Output) -> list[Path]:
    return [path for pattern in WORK_FILES for path in output.work.glob(pattern)]


def _has_begun(output: Output) -> bool:
    return (output.work / "run.json").exists()


def _done_file(output: Output) -> Path:
    return output.work / "done.json"
