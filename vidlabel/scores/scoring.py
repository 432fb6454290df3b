"""`vidlabel score`: a file of labels or signals again, with columns of what models from the hub think of its clips.

One pass, a chunk of rows at a time. What a clip was given is kept beside the output until that is written, so a run
that was killed goes on where it was; a file that cannot be read costs its own clips only.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

import vidlabel
from vidlabel.atomic import remove_leftovers
from vidlabel.config import Limits
from vidlabel.data import Failure
from vidlabel.errors import InputError, VideoError
from vidlabel.failures import FailureLog
from vidlabel.labels import unescape_name
from vidlabel.lock import locked
from vidlabel.models.scorers import ScoreModels
from vidlabel.outputs import Output
from vidlabel.plan import file_state
from vidlabel.progress import LINE_SECONDS, LogFormat, clock, say
from vidlabel.remote import is_url
from vidlabel.report.places import location, video_root
from vidlabel.report.sheets import Strip
from vidlabel.row_cache import RowCache
from vidlabel.scores.clips import AskedScores, ScoreRun
from vidlabel.scores.networks import Networks, Scores
from vidlabel.scores.pictures import check_pillow
from vidlabel.summary import SHOWN_REASONS
from vidlabel.tables.reading import Chunk, LabelTable, Rows, asked_batches, chunks, form_of, open_table, row_schema
from vidlabel.tables.texts import said, said_types
from vidlabel.tables.writing import changed, changed_schema, check_out, write_rows

_PARTS = "scores"
_KEPT = pa.schema([("key", pa.string()), ("aesthetic", pa.float64()), ("nsfw", pa.float64()),
                   ("clip", pa.list_(pa.float64()))])  # fmt: skip
_ASKED = {"clip_id": pa.string(), "video_id": pa.string(), "start_seconds": pa.float64(), "end_seconds": pa.float64()}


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreJob:
    """What to do, checked."""

    labels: Path
    out: Path
    models: ScoreModels
    root: Path | None = None
    num_frames: int = 8
    device: str = "cpu"
    dtype: str = "float32"
    text_column: str | None = None
    limits: Limits = field(default_factory=Limits)
    log_format: LogFormat = "text"

    @property
    def output(self) -> Output:
        return Output(self.out, "folder" if form_of(self.out) == "folder" else "parquet")


@dataclass(slots=True)
class ScoreReport:
    """What a pass did; counted while it goes on."""

    num_rows: int = 0
    num_clips: int = 0
    num_kept: int = 0  # of these, scored by an earlier run
    reasons: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def num_failures(self) -> int:
        return self.reasons.total()

    @property
    def exit_code(self) -> int:
        return 3 if self.num_failures else 0

    def to_text(self, out: Path, failures: Path) -> str:
        earlier = f" ({self.num_kept} of them by an earlier run)" if self.num_kept else ""
        lines = [f"{self.num_rows} rows, {self.num_clips} clips scored{earlier} in {clock(self.seconds)} -> {out}"]
        if self.reasons:
            lines.append(f"{self.num_failures} clips failed and have no scores; see {failures}")
            lines += [f"  {count} x {reason}" for reason, count in self.reasons.most_common(SHOWN_REASONS)]
        return "\n".join(lines)

    def to_fields(self) -> dict[str, object]:
        return {
            "event": "summary", "rows": self.num_rows, "clips": self.num_clips, "clips_done_before": self.num_kept,
            "failures": self.num_failures, "failures_by_reason": dict(self.reasons.most_common()),
            "seconds": round(self.seconds, 3), "exit_code": self.exit_code,
        }  # fmt: skip


def score_labels(job: ScoreJob) -> ScoreReport:
    """Everything that can be wrong with the options is found before a model is loaded."""
    check_pillow()
    table = open_table(job.labels)
    check_out(job.out, table)
    types, path_column = _asked_types(table, job)
    first = next((batch[path_column] for batch in asked_batches(table, types) if len(batch)), None)
    paths = [] if first is None else [path for path in first[:100].to_pylist() if path]
    root = video_root(job.root, job.labels, paths)
    networks = Networks(job.models, job.device, job.dtype)
    as_lines = form_of(job.out) == "jsonl" and table.form == "jsonl"
    columns = dict.fromkeys(job.models.columns, pa.float64())
    schema = table.schema if as_lines else changed_schema(row_schema(table), columns)
    work = job.out.resolve().with_name(f"{job.out.name}.work")
    step = {"command": "score", "version": vidlabel.__version__, "models": list(job.models.names),
            "weights": job.models.fingerprint, "frames": job.num_frames}  # fmt: skip
    pass_ = _Pass(job, root, path_column)
    started = time.monotonic()
    with locked(work):
        remove_leftovers(work)
        cache = RowCache(work, _PARTS, _KEPT, flush_seconds=job.limits.flush_seconds)
        with cache, FailureLog(job.output.failures) as failures, ScoreRun(networks, job.num_frames, job.limits) as run:
            rows = pass_.rows(chunks(table, types, as_lines=as_lines), run, cache, failures)
            write_rows(job.out, rows, schema, table, step)
        if not pass_.report.reasons:  # else the same command again tries those that failed, and no others
            for part in work.glob(f"{_PARTS}-*"):
                part.unlink()
    pass_.report.seconds = time.monotonic() - started
    return pass_.report


def _asked_types(table: LabelTable, job: ScoreJob) -> tuple[dict[str, pa.DataType], str]:
    """The columns that are looked at, and which of them says where the video is."""
    # `video` of signals and other manifests starts from the file's own folder, `video_path` from what was the input
    names = ("video", "video_path", "path") if job.root is None else ("video_path", "video", "path")
    found = [name for name in names if name in table.names]
    if not found:
        table.require("video_path", "score")
    types = _ASKED | {found[0]: pa.string()}
    if "clip" in job.models.names:
        try:
            types |= dict(said_types(table, job.text_column))
        except InputError as error:
            raise InputError(f"--model clip compares captions with what is seen: {error}") from error
    elif job.text_column is not None:
        raise InputError(f"--text-column {job.text_column}: belongs to --model clip")
    return types, found[0]


class _Pass:
    """The rows on their way through."""

    def __init__(self, job: ScoreJob, root: Path, path_column: str) -> None:
        self._job, self._root, self._path_column = job, root, path_column
        self.report = ScoreReport()
        self._said_at = time.monotonic()

    def rows(self, source: Iterator[Chunk], run: ScoreRun, cache: RowCache, failures: FailureLog) -> Iterator[Rows]:
        for chunk in source:
            asked, of_rows = self._asked(chunk.asked)
            scores = self._scored(asked, run, cache, failures)
            columns = self._columns(asked, of_rows, scores)
            self.report.num_rows += len(chunk.asked)
            yield changed(chunk.rows, columns)

    def _asked(self, rows: pa.RecordBatch) -> tuple[list[AskedScores], list[tuple[int, str | None]]]:
        """The clips of some rows, once each; and for each row its clip and its caption."""
        texts: list[str | None] = [None] * len(rows)
        if "clip" in self._job.models.names:
            spoken = said(rows, self._job.text_column)
            captions = pc.if_else(pc.equal(spoken.tasks, "caption"), spoken.texts, pa.scalar(None, pa.string()))
            texts = [text if text and text.strip() else None for text in captions.to_pylist()]
        names = (self._path_column, "start_seconds", "end_seconds", "clip_id", "video_id")
        numbers: dict[tuple[str, float, float | None], int] = {}
        clips: list[AskedScores] = []
        of_rows = []
        for values, text in zip(zip(*(rows[name].to_pylist() for name in names), strict=True), texts, strict=True):
            path, start, end, clip_id, video_id = values
            span = (path or "", start or 0.0, end)
            if (number := numbers.get(span)) is None:
                number = numbers[span] = len(clips)
                strip = Strip(self._place(span[0]), span[1], end)
                clips.append(AskedScores(clip_id or f"{span[0]} {span[1]:g}", video_id or span[0], span[0], strip))
            if text is not None:
                clips[number].texts.setdefault(text, len(clips[number].texts))
            of_rows.append((number, text))
        return clips, of_rows

    def _scored(
        self, asked: list[AskedScores], run: ScoreRun, cache: RowCache, failures: FailureLog
    ) -> list[Scores | None]:
        """Of each clip; None where there are none."""
        scores: list[Scores | None] = [None] * len(asked)
        todo: dict[int, str] = {}
        for number, clip in enumerate(asked):
            key = clip.key(self._job.models.fingerprint, self._job.num_frames)
            if (row := cache.row(key)) is not None:
                scores[number] = Scores(row["aesthetic"], row["nsfw"], tuple(row["clip"]))
                self.report.num_clips += 1
                self.report.num_kept += 1
                failures.remove(unescape_name(clip.clip_id))
            else:
                todo[number] = key
        for number, outcome in run.scores({number: asked[number] for number in todo}):
            if isinstance(outcome, VideoError):
                self.report.reasons[outcome.reason] += 1
                failures.add(_failure(asked[number], outcome))
                continue
            scores[number] = outcome
            self.report.num_clips += 1
            failures.remove(unescape_name(asked[number].clip_id))
            kept = {"aesthetic": outcome.aesthetic, "nsfw": outcome.nsfw, "clip": list(outcome.clip)}
            cache.add({"key": todo[number], **kept})
            self._say()
        return scores

    def _columns(
        self, asked: list[AskedScores], of_rows: list[tuple[int, str | None]], scores: list[Scores | None]
    ) -> dict[str, pa.Array]:
        columns: dict[str, list[float | None]] = {name: [] for name in self._job.models.columns}
        for number, text in of_rows:
            found = scores[number] or Scores()
            likeness = found.clip[asked[number].texts[text]] if text is not None and found.clip else None
            values = {"aesthetic": found.aesthetic, "nsfw": found.nsfw, "clip_score": likeness}
            for name, column in columns.items():
                column.append(values[name])
        return {name: pa.array(column, pa.float64()) for name, column in columns.items()}

    def _place(self, path: str) -> str:
        return path if is_url(path) else str(location(self._root, path))

    def _say(self) -> None:
        """A line every half a minute."""
        if time.monotonic() - self._said_at < LINE_SECONDS:
            return
        self._said_at = time.monotonic()
        report = self.report
        text = f"{report.num_rows} rows done, {report.num_clips} clips scored, {report.num_failures} failed"
        fields = {"event": "progress", "rows": report.num_rows, "clips": report.num_clips}
        say(text, fields | {"failures": report.num_failures}, self._job.log_format)


def _failure(clip: AskedScores, error: VideoError) -> Failure:
    size, mtime = file_state(clip.strip.location)
    names = [unescape_name(name) for name in (clip.clip_id, clip.video_id, clip.path)]
    return Failure(
        id=names[0],
        video_id=names[1],
        path=names[2],
        stage="frames",
        reason=error.reason,
        permanent=error.permanent,
        file_size=size,
        file_mtime=mtime,
    )
