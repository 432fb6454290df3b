"""`vidlabel report` and `review`: labels for people to look at, and to decide about."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from vidlabel.cli_labels import Labels, TextColumn
from vidlabel.cli_options import LIMITS, VideoTimeout, WorkerMemory, Workers
from vidlabel.cli_paths import local_path
from vidlabel.config import Limits
from vidlabel.cores import available_cores

Root = Annotated[
    Path | None,
    typer.Option(
        "--root",
        help="The folder that the labels' video paths start from; else the current one, or that of the labels.",
    ),
]
Sample = Annotated[int, typer.Option("--sample", min=0, help="Clips with contact sheets, drawn at random.")]
Worst = Annotated[
    bool, typer.Option("--worst", help="Worst first instead: the worst flags, then what the video supports least.")
]
MaxLabels = Annotated[
    int,
    typer.Option("--max-labels", min=1, help="Labels on the page, of clips drawn likewise; its numbers are of all."),
]


def register(app: typer.Typer) -> None:
    """Adds the commands to vidlabel's own."""
    example = "Example: vidlabel {} examples/labels.jsonl --root examples/videos"
    app.command("report", epilog=example.format("report") + " --out report.html")(report_command)
    app.command("review", epilog=example.format("review"))(review_command)


def report_command(
    labels: Labels,
    out: Annotated[
        Path,
        typer.Option(
            "--out", help="The page, report.html; contact sheets are kept beside it.", parser=local_path, metavar="PATH"
        ),
    ],
    compare: Annotated[
        Path | None,
        typer.Option(
            "--compare",
            help="A second file of labels, to be shown beside the first.",
            parser=local_path,
            metavar="PATH",
        ),
    ] = None,
    root: Root = None,
    sample: Sample = 200,
    worst: Worst = False,
    max_labels: MaxLabels = 100_000,
    text_column: TextColumn = None,
    workers: Workers = None,
    video_timeout: VideoTimeout = LIMITS.seconds_per_video,
    worker_memory: WorkerMemory = LIMITS.memory_mb,
) -> None:
    """Make one web page of labels: numbers, plots, and all clips with what is said of them."""
    from vidlabel.report.report import ReportOptions, write_report

    options = ReportOptions(
        compare=compare, root=root, sample=sample, worst=worst, max_labels=max_labels, text_column=text_column
    )
    limits = Limits(workers or available_cores(), video_timeout, worker_memory)
    done = write_report(labels, out, options, limits)
    typer.echo(done.to_text(out), err=True)


def review_command(
    labels: Labels,
    root: Root = None,
    worst: Worst = False,
    max_labels: MaxLabels = 100_000,
    text_column: TextColumn = None,
    host: Annotated[
        str, typer.Option("--host", help="The address to listen at; others than this machine's own let others in.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any that is free.")] = 0,
    workers: Workers = None,
    video_timeout: VideoTimeout = LIMITS.seconds_per_video,
    worker_memory: WorkerMemory = LIMITS.memory_mb,
) -> None:
    """Accept, edit and reject labels by keyboard, on a page of this machine; Ctrl-C ends it."""
    from vidlabel.report.report import ReportOptions
    from vidlabel.report.review import ReviewOptions, review

    shown = ReportOptions(root=root, worst=worst, max_labels=max_labels, text_column=text_column)
    limits = Limits(workers or available_cores(), video_timeout, worker_memory)
    done = review(labels, ReviewOptions(report=shown, host=host, port=port), limits, on_ready=_say_address)
    typer.echo(done.to_text(), err=True)


def _say_address(address: str, beware: str | None) -> None:
    """The address is what the command is asked for; alone on stdout, and at once."""
    if beware is not None:
        typer.echo(f"vidlabel: {beware}", err=True)
    typer.echo(address)
    typer.echo("Open it in a browser; Ctrl-C ends the review.", err=True)
    sys.stdout.flush()
