"""`vidlabel signals`: what every clip is like, measured without a model, as a table that is a manifest too."""

from __future__ import annotations

from typing import Annotated

import typer

from vidlabel import cli_options as o

Signals = Annotated[
    str,
    typer.Option(
        "--signals",
        metavar="NAMES",
        help="What to measure, joined by commas: names of --list; pixels is all that need no extra; all is all.",
    ),
]


def register(app: typer.Typer) -> None:
    """Adds the command to vidlabel's own."""
    app.command("signals", epilog="Example: vidlabel signals examples/videos --out signals.parquet")(signals_command)


def _list(value: bool) -> None:
    if value:
        from vidlabel.signals.table import describe

        typer.echo(describe())
        raise typer.Exit


def signals_command(
    inputs: o.Inputs,
    out: Annotated[str, typer.Option("--out", help="signals.parquet or signals.jsonl, here or on s3:// or gs://.")],
    signals: Signals = "pixels",
    listing: Annotated[
        bool,
        typer.Option(
            "--list", help="Print every signal, with its range, meaning and source.", callback=_list, is_eager=True
        ),
    ] = False,
    frames: Annotated[
        int, typer.Option("--frames", min=1, help="Frames a clip that single pictures are judged by.")
    ] = 16,
    embeddings: Annotated[
        bool,
        typer.Option(
            "--embeddings",
            help="Also keep what each clip looks like to a model's vision tower, which is loaded alone, for vidlabel "
            "dedup: signals.embeddings.parquet beside, and a column temporal_consistency.",
        ),
    ] = False,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            help="Whose vision tower: a preset (vidlabel models list) or a model folder; default: mistral.",
            show_default=False,
        ),
    ] = None,
    device: o.Device = "auto",
    dtype: o.Dtype = "auto",
    root: o.Root = None,
    manifest_format: o.ManifestFormatOption = "auto",
    video_root: o.VideoRoot = None,
    limit: o.Limit = None,
    split: o.SplitOption = "scenes",
    detector: o.DetectorOption = o.SCENES.detector,
    min_clip: o.MinClip = o.SCENES.min_clip_seconds,
    max_clip: o.MaxClip = o.SCENES.max_clip_seconds,
    decoder: o.DecoderOption = "pyav",
    workers: o.Workers = None,
    video_timeout: o.VideoTimeout = o.LIMITS.seconds_per_video,
    worker_memory: o.WorkerMemory = o.LIMITS.memory_mb,
    shard: o.ShardOption = None,
    overwrite: o.Overwrite = False,
    retry_failed: o.RetryFailed = False,
    time_budget: o.TimeBudget = None,
    max_failures: o.MaxFailuresOption = None,
    metrics_file: o.MetricsFile = None,
    dry_run: o.DryRun = False,
    log_format: o.LogFormatOption = "text",
) -> None:
    """Measure every clip's motion, light, cuts, bars and text; the output is a manifest that caption and qa take."""
    typed = dict(locals())
    del typed["listing"], typed["time_budget"]
    from vidlabel.cli import finish, set_up_logging
    from vidlabel.measuring import SignalOptions, measure_clips

    set_up_logging(log_format)
    seconds = None if time_budget is None else o.parse_duration(time_budget, "--time-budget")
    options = SignalOptions(**typed, time_budget_seconds=seconds)
    summary = measure_clips(options)
    if dry_run:
        done, given_up = f"{summary.num_done_before} done", f"{summary.num_given_up} given up"
        typer.echo(f"{summary.num_left} videos to measure, {done}, {given_up}")
        return
    output = options.output
    finish(summary, out, output.named(output.failures), log_format)
