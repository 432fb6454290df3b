"""`vidlabel split`: the scenes alone, as a manifest that `caption` and `qa` take. Same stage, workers, work folder,
lock and failures file as a labelling run; clips found before a kill are kept, the manifest is written once, whole."""

from __future__ import annotations

import csv
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from vidlabel.atomic import whole_file
from vidlabel.columns import arrow_type, convert, kind_of, unify
from vidlabel.config import Limits, SceneSettings
from vidlabel.csv_cells import guarded
from vidlabel.data import Clip, Video
from vidlabel.errors import InputError
from vidlabel.executors.local import SceneFailure, each_scenes
from vidlabel.executors.workers import DecodeWorkers
from vidlabel.failures import FailureLog
from vidlabel.jsonl import json_line
from vidlabel.labels import escape_name
from vidlabel.outputs import Output, on_store, remove_work
from vidlabel.pipeline import Stages
from vidlabel.place import Place, place_of
from vidlabel.plan import failed_id, failure_of
from vidlabel.progress import LogFormat, Progress
from vidlabel.remote import is_url, parent_url
from vidlabel.scenes_cache import ScenesCache
from vidlabel.stop import Stop
from vidlabel.store_lock import LockTimes
from vidlabel.summary import Summary

SUFFIXES = (".parquet", ".csv", ".jsonl")
Row = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class SplitJob:
    """What `split` is asked to do."""

    out: str | Path
    settings: SceneSettings
    limits: Limits
    stages: Stages
    log_format: LogFormat = "text"
    store_times: LockTimes = field(default_factory=LockTimes)

    def __post_init__(self) -> None:
        if Path(self.out).suffix not in SUFFIXES or (not is_url(str(self.out)) and Path(self.out).is_dir()):
            raise InputError(f"--out {self.out}: clips go to a {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]} file")

    @property
    def output(self) -> Output:
        """For the names of its work folder and failures file."""
        out = str(self.out)
        return on_store(out, "parquet") if is_url(out) else Output(Path(out), "parquet")


def split(videos: Sequence[Video], job: SplitJob) -> Summary:
    """Find the clips of all videos and write them. Raises InputError and LockedError."""
    with place_of(job.output, job.store_times) as place, place.held_alone():
        return _split(place, videos, job)


def _split(place: Place, videos: Sequence[Video], job: SplitJob) -> Summary:
    output = place.output
    found: dict[int, list[Clip]] = {}
    num_clips = 0
    reasons: Counter[str] = Counter()
    started = time.monotonic()
    with FailureLog(output.failures) as failures, ExitStack() as stack:
        stop = stack.enter_context(Stop())

        def stopping() -> bool:
            place.check()
            return stop.requested()

        cache = stack.enter_context(ScenesCache(output.work, job.settings, flush_seconds=job.limits.flush_seconds))
        progress = stack.enter_context(Progress(total_videos=len(videos), log_format=job.log_format))
        limits = job.limits
        with DecodeWorkers[int](num_workers=limits.num_workers, memory_mb=limits.memory_mb) as workers:
            results = each_scenes(
                videos,
                settings=job.settings,
                limits=limits,
                stages=job.stages,
                workers=workers,
                cache=cache,
                stopping=stopping,
            )
            for index, result in results:
                video = videos[index]
                if isinstance(result, SceneFailure):
                    reasons[result.error.reason] += 1
                    failures.add(failure_of(failed_id(video), video, result.stage, result.error))
                else:
                    found[index] = result
                    num_clips += len(result)
                    failures.remove(failed_id(video))
                progress.update(
                    num_videos=len(found) + reasons.total(), num_clips=num_clips, num_failures=reasons.total()
                )
        if not stop.requested():
            folder = folder_of(job.out)
            rows = [row for index in sorted(found) for clip in found[index] for row in _rows(clip, folder)]
            place.save()
            with whole_file(output.path) as beside:
                _write(rows, beside, output.path.suffix)
            cache.flush()  # or its last clips would be saved after what it saved was removed
            remove_work(output)
    return Summary(
        num_videos=len(found) + reasons.total(),
        num_left=len(videos) - len(found) - reasons.total(),
        num_clips=num_clips,
        reasons=reasons,
        seconds=time.monotonic() - started,
        signal_number=stop.signal_number,
    )


def _rows(clip: Clip, folder: str) -> Iterator[Row]:
    """One row a clip, or one a question where the input had questions."""
    video = clip.video
    row: dict[str, object] = {
        "id": escape_name(clip.clip_id),
        "video": escape_name(path_from(video.location, folder)),
        "video_id": escape_name(video.video_id),
        "start": clip.start_seconds,
        "end": clip.end_seconds,
    }
    if video.subtitle is not None:
        row["subtitle"] = escape_name(path_from(video.subtitle, folder))
    for question in video.questions:
        yield row | {"question": question.text, "language": question.language} | _own(question.extra, row)
    if not video.questions:
        yield row | _own(video.extra, row)


def _own(extra: Mapping[str, object], row: Row) -> dict[str, object]:
    return {name: value for name, value in extra.items() if name not in row}


def folder_of(out: str | Path) -> str:
    """Where a manifest is: what its relative paths start from."""
    return parent_url(str(out)) if is_url(str(out)) else str(Path.cwd() / Path(out).parent)


def path_from(location: str, folder: str) -> str:
    """Relative to the manifest where the file lies below it, so that both can be moved together."""
    return location.removeprefix(f"{folder.rstrip('/')}/")


def _write(rows: list[Row], path: Path, suffix: str) -> None:
    names = list(dict.fromkeys(["id", "video", "video_id", "start", "end", *(name for row in rows for name in row)]))
    if suffix == ".jsonl":
        path.write_text("".join(json_line(dict(row)) for row in rows), encoding="utf-8")
    elif suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(map(guarded, names))
            for row in rows:
                cells = (row.get(name, "") for name in names)
                writer.writerow([guarded(cell) if isinstance(cell, str) else cell for cell in cells])
    else:
        _write_parquet(rows, names, path)


def _write_parquet(rows: list[Row], names: Iterable[str], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {}
    for name in names:
        kind = "float" if name in ("start", "end") else "null"
        for row in rows:
            kind = unify(kind, kind_of(row.get(name)))
        columns[name] = pa.array([convert(row.get(name), kind) for row in rows], arrow_type(kind))
    pq.write_table(pa.table(columns), path, compression="zstd")
