"""`vidlabel score`: what models from the hub think of clips, as columns that --where, stats and the report know."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vidlabel import cli_options as o
from vidlabel.cli_labels import Labels, Out, TextColumn
from vidlabel.cli_paths import local_path


def register(app: typer.Typer) -> None:
    """Adds the command to vidlabel's own."""
    example = "vidlabel score examples/labels.jsonl --root examples/videos --model aesthetic,clip --out scored.parquet"
    app.command("score", epilog=f"Example: {example}")(score_command)


def score_command(
    labels: Labels,
    out: Out,
    model: Annotated[
        str,
        typer.Option(
            "--model",
            metavar="NAMES",
            help="aesthetic, nsfw or clip (does the caption fit?), joined by commas; `vidlabel models pull` has each.",
        ),
    ],
    model_folder: Annotated[
        Path | None,
        typer.Option(
            "--model-folder",
            parser=local_path,
            metavar="PATH",
            help="Weights of your own: a folder as models pull makes it, or a copy of a hub repository.",
            show_default=False,
        ),
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(
            "--root",
            parser=local_path,
            metavar="PATH",
            help="What the paths of the videos start from; default: this folder, or that of the labels.",
            show_default=False,
        ),
    ] = None,
    frames: Annotated[int, typer.Option("--frames", min=1, help="Frames a clip that are looked at.")] = 8,
    text_column: TextColumn = None,
    device: o.Device = "auto",
    workers: o.Workers = None,
    video_timeout: o.VideoTimeout = o.LIMITS.seconds_per_video,
    worker_memory: o.WorkerMemory = o.LIMITS.memory_mb,
    log_format: o.LogFormatOption = "text",
) -> None:
    """Add columns aesthetic, nsfw or clip_score to labels or signals, by models from the hub."""
    from vidlabel.cli import set_up_logging
    from vidlabel.config import Limits
    from vidlabel.cores import available_cores
    from vidlabel.labelling import choose_device
    from vidlabel.models.scorers import resolve_scorers
    from vidlabel.progress import say
    from vidlabel.scores.scoring import ScoreJob, score_labels

    set_up_logging(log_format)
    models = resolve_scorers(model, model_folder)
    chosen, dtype = choose_device(device, "auto", needs_torch=True)
    job = ScoreJob(
        labels=labels, out=out, models=models, root=root, num_frames=frames, device=chosen, dtype=dtype,
        text_column=text_column, limits=Limits(workers or available_cores(), video_timeout, worker_memory),
        log_format=log_format,
    )  # fmt: skip
    report = score_labels(job)
    say(report.to_text(out, job.output.failures), report.to_fields(), log_format)
    if report.exit_code:
        raise typer.Exit(report.exit_code)
