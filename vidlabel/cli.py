"""The command line: a thin shell over the library. Data goes to stdout, everything else to stderr; exit codes are
those of `errors.py` and `run.py`. Heavy libraries load where a command needs them, so that --help is instant."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperGroup

import vidlabel
from vidlabel import cli_asking as a
from vidlabel import cli_eval, cli_export
from vidlabel import cli_options as o
from vidlabel import cli_selecting as s
from vidlabel.cli_dedup import register as register_dedup
from vidlabel.cli_doctor import doctor
from vidlabel.cli_labels import register
from vidlabel.cli_models import models_app
from vidlabel.cli_prompts import prompts_app
from vidlabel.cli_report import register as register_report
from vidlabel.cli_score import register as register_score
from vidlabel.cli_signals import register as register_signals
from vidlabel.cli_train import register as register_train
from vidlabel.config import Limits
from vidlabel.errors import InputError, LockedError, WriteError

if TYPE_CHECKING:
    from vidlabel.progress import LogFormat
    from vidlabel.summary import Summary


class _Commands(TyperGroup):
    """Turns the error tree into one line and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except InputError as error:
            typer.echo(f"vidlabel: {error}", err=True)
            raise typer.Exit(2) from error
        except LockedError as error:
            typer.echo(f"vidlabel: {error}", err=True)
            raise typer.Exit(75) from error
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
        except WriteError as error:
            what = f"{error.filename} cannot be written: {error.strerror}"
            typer.echo(
                f"vidlabel: {what}; what was saved before is whole, the same command goes on from there", err=True
            )
            raise typer.Exit(1) from error


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Label videos in bulk: captions and question/answer pairs by MiniGPT4-video, into parquet or JSONL.",
)
app.command("doctor", epilog="Example: vidlabel doctor")(doctor)
app.add_typer(models_app, name="models")
app.add_typer(prompts_app, name="prompts")


def main() -> None:
    app()


@app.callback()
def _main(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    if version:
        typer.echo(vidlabel.__version__)
        raise typer.Exit


@app.command(epilog="Example: vidlabel caption examples/videos --model shapes --out labels.parquet")
def caption(
    inputs: o.Inputs,
    out: o.Out,
    root: o.Root = None,
    manifest_format: o.ManifestFormatOption = "auto",
    video_root: o.VideoRoot = None,
    limit: o.Limit = None,
    split: o.SplitOption = "scenes",
    detector: o.DetectorOption = o.SCENES.detector,
    min_clip: o.MinClip = o.SCENES.min_clip_seconds,
    max_clip: o.MaxClip = o.SCENES.max_clip_seconds,
    frames: o.NumFrames = None,
    sampling: o.SamplingOption = "even",
    decoder: o.DecoderOption = "pyav",
    subtitles: o.SubtitlesOption = "auto",
    whisper: o.WhisperOption = None,
    signals: s.SignalsOption = None,
    where: s.WhereOption = None,
    model: o.ModelOption = "mistral",
    prompts: a.PromptsOption = None,
    levels: a.Levels = None,
    per_clip: a.PerClip = None,
    language: a.Language = "en",
    retry_flagged: a.RetryFlagged = 0,
    strip_openings: a.StripOpenings = False,
    rewrite: a.RewriteOption = "none",
    seed: o.Seed = 0,
    max_new_tokens: o.MaxNewTokens = None,
    repetition_penalty: o.RepetitionPenalty = 1.1,
    temperature: o.Temperature = 0.0,
    top_p: o.TopP = 1.0,
    device: o.Device = "auto",
    dtype: o.Dtype = "auto",
    quantize: o.QuantizeOption = "none",
    grounding: o.GroundingOption = None,
    engine: o.EngineOption = o.LIMITS.engine,
    slots: o.Slots = None,
    batch_size: o.BatchSize = None,
    compile_vision: o.CompileVision = False,
    embeddings: o.Embeddings = False,
    workers: o.Workers = None,
    video_timeout: o.VideoTimeout = o.LIMITS.seconds_per_video,
    worker_memory: o.WorkerMemory = o.LIMITS.memory_mb,
    executor: o.ExecutorOption = "local",
    captioners: o.Captioners = None,
    shard: o.ShardOption = None,
    overwrite: o.Overwrite = False,
    retry_failed: o.RetryFailed = False,
    time_budget: o.TimeBudget = None,
    max_failures: o.MaxFailuresOption = None,
    metrics_file: o.MetricsFile = None,
    dry_run: o.DryRun = False,
    log_format: o.LogFormatOption = "text",
) -> None:
    """Caption every clip of every video."""
    _label("caption", dict(locals()) | {"propose": 0, "verify": 0})


@app.command(epilog="Example: vidlabel qa examples/questions.csv --model shapes --out qa.parquet")
def qa(
    inputs: o.Inputs,
    out: o.Out,
    root: o.Root = None,
    manifest_format: o.ManifestFormatOption = "auto",
    video_root: o.VideoRoot = None,
    limit: o.Limit = None,
    split: o.SplitOption = "scenes",
    detector: o.DetectorOption = o.SCENES.detector,
    min_clip: o.MinClip = o.SCENES.min_clip_seconds,
    max_clip: o.MaxClip = o.SCENES.max_clip_seconds,
    frames: o.NumFrames = None,
    sampling: o.SamplingOption = "even",
    decoder: o.DecoderOption = "pyav",
    subtitles: o.SubtitlesOption = "auto",
    whisper: o.WhisperOption = None,
    signals: s.SignalsOption = None,
    where: s.WhereOption = None,
    model: o.ModelOption = "mistral",
    prompts: a.QaPromptsOption = None,
    per_clip: a.QaPerClip = None,
    propose: a.Propose = 0,
    verify: a.Verify = 0,
    language: a.Language = "en",
    retry_flagged: a.RetryFlagged = 0,
    strip_openings: a.StripOpenings = False,
    seed: o.Seed = 0,
    max_new_tokens: o.MaxNewTokens = None,
    repetition_penalty: o.RepetitionPenalty = 1.1,
    temperature: o.Temperature = 0.0,
    top_p: o.TopP = 1.0,
    device: o.Device = "auto",
    dtype: o.Dtype = "auto",
    quantize: o.QuantizeOption = "none",
    grounding: o.GroundingOption = None,
    engine: o.EngineOption = o.LIMITS.engine,
    slots: o.Slots = None,
    batch_size: o.BatchSize = None,
    compile_vision: o.CompileVision = False,
    embeddings: o.Embeddings = False,
    workers: o.Workers = None,
    video_timeout: o.VideoTimeout = o.LIMITS.seconds_per_video,
    worker_memory: o.WorkerMemory = o.LIMITS.memory_mb,
    executor: o.ExecutorOption = "local",
    captioners: o.Captioners = None,
    shard: o.ShardOption = None,
    overwrite: o.Overwrite = False,
    retry_failed: o.RetryFailed = False,
    time_budget: o.TimeBudget = None,
    max_failures: o.MaxFailuresOption = None,
    metrics_file: o.MetricsFile = None,
    dry_run: o.DryRun = False,
    log_format: o.LogFormatOption = "text",
) -> None:
    """Answer the questions of a manifest about its clips; without any, those of pools."""
    _label("qa", dict(locals()) | {"levels": None, "rewrite": "none"})


@app.command(epilog="Example: vidlabel split examples/videos --out clips.parquet")
def split(
    inputs: o.Inputs,
    out: o.ClipsOut,
    root: o.Root = None,
    manifest_format: o.ManifestFormatOption = "auto",
    video_root: o.VideoRoot = None,
    split: o.SplitOption = "scenes",
    detector: o.DetectorOption = o.SCENES.detector,
    min_clip: o.MinClip = o.SCENES.min_clip_seconds,
    max_clip: o.MaxClip = o.SCENES.max_clip_seconds,
    workers: o.Workers = None,
    video_timeout: o.VideoTimeout = o.LIMITS.seconds_per_video,
    worker_memory: o.WorkerMemory = o.LIMITS.memory_mb,
    log_format: o.LogFormatOption = "text",
) -> None:
    """Find the scenes alone; the output is a manifest that caption and qa take."""
    set_up_logging(log_format)
    from vidlabel.cores import available_cores
    from vidlabel.labelling import read_videos, scene_settings
    from vidlabel.pipeline import default_stages
    from vidlabel.split import SplitJob
    from vidlabel.split import split as split_videos

    limits = Limits(workers or available_cores(), video_timeout, worker_memory)
    job = SplitJob(out, scene_settings(split, detector, min_clip, max_clip), limits, default_stages(), log_format)
    videos = list(read_videos(inputs, root, manifest_format, video_root))  # split holds all clips until it writes
    output = job.output
    finish(split_videos(videos, job), out, output.named(output.failures), log_format)


register(app)  # filter, check, stats
register_report(app)  # report, review
register_dedup(app)
cli_export.register(app)
cli_eval.register(app)
register_train(app)
register_signals(app)
register_score(app)


def _label(task: Literal["caption", "qa"], options: dict[str, Any]) -> None:
    from vidlabel.label_options import LabelOptions
    from vidlabel.labelling import label
    from vidlabel.outputs import parse_output

    set_up_logging(options["log_format"])
    budget = options.pop("time_budget")
    seconds = None if budget is None else o.parse_duration(budget, "--time-budget")
    typed = LabelOptions(task=task, time_budget_seconds=seconds, **options)
    summary = label(typed)
    if typed.dry_run:
        skipped = "" if typed.where is None else f", {summary.num_skipped_before} skipped unopened"
        done, given_up = f"{summary.num_done_before} done", f"{summary.num_given_up} given up"
        typer.echo(f"{summary.num_left} videos to label, {done}, {given_up}{skipped}")
        return
    output = parse_output(typed.out)
    finish(summary, typed.out, output.named(output.failures), typed.log_format)


def finish(summary: Summary, out: str, failures: str, log_format: LogFormat) -> None:
    """The closing lines and the exit code."""
    from vidlabel.progress import say

    say(summary.to_text(labels=out, failures=failures), summary.to_fields(), log_format)
    if summary.exit_code:
        raise typer.Exit(summary.exit_code)


class _JsonLines(logging.Formatter):
    """Log records as one JSON object a line, like the progress events between them."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {"time": round(record.created, 3), "event": record.levelname.lower(), "message": record.getMessage()}
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False)


def set_up_logging(log_format: LogFormat) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(_JsonLines() if log_format == "json" else logging.Formatter("%(levelname)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
