"""`vidlabel export`: labels into the data set of a trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from vidlabel import cli_options as o
from vidlabel.cli_paths import local_path
from vidlabel.cores import available_cores
from vidlabel.errors import InputError


def register(app: typer.Typer) -> None:
    """Adds the command to vidlabel's own."""
    example = "vidlabel export examples/labels.jsonl --to finetrainers --root examples/videos --cut exact --out dataset"
    app.command("export", epilog=f"Example: {example}")(export_command)


def export_command(
    labels: Annotated[
        Path | None,
        typer.Argument(
            metavar="LABELS",
            parser=local_path,
            help="A .parquet, .jsonl, .csv or .tsv file, or a folder of parquet files; of vidlabel or of another tool.",
            show_default=False,
        ),
    ] = None,
    to: Annotated[str | None, typer.Option("--to", help="The format; --list has all.", show_default=False)] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="The folder of the data set; the same command completes it.",
            show_default=False,
            parser=local_path,
            metavar="PATH",
        ),
    ] = None,
    list_formats: Annotated[
        bool, typer.Option("--list", help="Show each format, who reads it, what it needs.")
    ] = False,
    root: Annotated[
        list[Path] | None,
        typer.Option(
            "--root",
            help="The folder that the labels' video paths begin at; may be given several times, the first that has the "
            "file counts. Default: the current folder.",
            show_default=False,
        ),
    ] = None,
    cut: Annotated[
        Literal["exact", "copy", "none"],
        typer.Option(
            "--cut",
            help="exact: encodes the frames of each clip again, as many as the trainer's rule allows (4N+1 or 8N+1); "
            "copy: copies packets, from the keyframe before the clip on; none: whole videos only, as they are. "
            "Sound is left out of cut clips.",
        ),
    ] = "none",
    frame_multiple: Annotated[
        int | None,
        typer.Option(
            "--frame-multiple",
            min=1,
            help="For --cut exact: clips have that times N, plus 1 frames; 1: all there are. Default: the trainer's.",
            show_default=False,
        ),
    ] = None,
    symlink: Annotated[bool, typer.Option("--symlink", help="Link whole videos instead of copying them.")] = False,
    no_videos: Annotated[
        bool,
        typer.Option("--no-videos", help="Write the texts alone; video files are named, but not made or looked at."),
    ] = False,
    val: Annotated[
        float,
        typer.Option("--val", help="Put this share of the source videos into DIR/val, the others into DIR/train."),
    ] = 0.0,
    columns: Annotated[
        str | None,
        typer.Option("--columns", help="Columns of the labels that go along: a,b or old=new.", show_default=False),
    ] = None,
    levels: Annotated[
        str | None,
        typer.Option(
            "--levels",
            help="Captions of these levels, in this order: short,medium,detailed,structured (needs a column level).",
            show_default=False,
        ),
    ] = None,
    several: Annotated[
        Literal["first", "each"] | None,
        typer.Option(
            "--several",
            help="Where the trainer takes one caption and a clip has more: the first (default), or a sample for each.",
            show_default=False,
        ),
    ] = None,
    min_grounding: Annotated[
        float | None, typer.Option("--min-grounding", help="Leave out labels that the video supports less than that.")
    ] = None,
    drop_flags: Annotated[
        str | None,
        typer.Option(
            "--drop-flags", help="Leave out labels with any of these, joined by commas; or all.", metavar="FLAGS"
        ),
    ] = None,
    reviewed: Annotated[
        bool, typer.Option("--reviewed", help="Only what was accepted or edited in `vidlabel review`, edits put in.")
    ] = False,
    text_column: Annotated[
        str | None,
        typer.Option(
            "--text-column", help="The column that holds the texts, where it is not called caption or answer."
        ),
    ] = None,
    workers: o.Workers = None,
    video_timeout: o.VideoTimeout = o.LIMITS.seconds_per_video,
    worker_memory: o.WorkerMemory = o.LIMITS.memory_mb,
    log_format: o.LogFormatOption = "text",
) -> None:
    """Make the data set of a trainer out of labels: texts, and clips cut out of the videos."""
    from vidlabel.export.cutter import MediaOptions
    from vidlabel.export.exporting import StoppedError, export
    from vidlabel.export.formats import FORMATS
    from vidlabel.export.options import ExportOptions, find_format
    from vidlabel.outputs import Output
    from vidlabel.progress import say
    from vidlabel.tables.filter_rules import FilterRules

    if list_formats:
        typer.echo("\n\n".join(map(str, FORMATS.values())))
        return
    if labels is None or to is None or out is None:
        raise InputError("export needs LABELS, --to FORMAT and --out DIR; --list shows the formats")
    multiple = frame_multiple or (find_format(to).frame_multiple if cut == "exact" else 1)
    if frame_multiple is not None and cut != "exact":
        raise InputError(f"--frame-multiple {frame_multiple}: frames are counted off by --cut exact only")
    media = MediaOptions(
        roots=tuple(path.absolute() for path in root or [Path()]),
        cut=cut,
        symlink=symlink,
        with_videos=not no_videos,
        frame_multiple=multiple,
        num_workers=workers or available_cores(),
        seconds_per_video=video_timeout,
        memory_mb=worker_memory,
    )
    has_rules = bool(drop_flags) or min_grounding is not None or reviewed
    options = ExportOptions(
        labels=labels,
        out=out,
        to=to,
        media=media,
        columns=_columns(columns),
        levels=_listed(levels),
        several=several,
        val=val,
        rules=FilterRules(drop_flags=_listed(drop_flags), min_grounding=min_grounding, reviewed=reviewed,
                          text_column=text_column) if has_rules else None,
        text_column=text_column,
        log_format=log_format,
    )  # fmt: skip
    try:
        result = export(options)
    except StoppedError as error:
        typer.echo(f"vidlabel: {error}; what was made stays, the same command goes on from here", err=True)
        raise typer.Exit(128 + error.signal_number) from None
    failures = str(Output(out, "folder").failures)
    say(result.to_text(out=str(out), failures=failures), result.to_fields(), log_format)
    if result.exit_code:
        raise typer.Exit(result.exit_code)


def _columns(text: str | None) -> tuple[tuple[str, str], ...]:
    pairs = [part.split("=", 1) for part in _listed(text)]
    columns = tuple((pair[0], pair[-1]) for pair in pairs)
    if len({new for _, new in columns}) < len(columns):
        raise InputError(f"--columns {text}: two columns would have the same name")
    return columns


def _listed(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())
