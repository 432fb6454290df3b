"""`vidlabel filter`, `check` and `stats`: what is done with a file of labels that is there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from vidlabel.cli_paths import local_path
from vidlabel.cores import available_cores

Labels = Annotated[
    Path,
    typer.Argument(
        metavar="LABELS",
        parser=local_path,
        help="A .parquet, .jsonl, .csv or .tsv file, or a folder of parquet files; of vidlabel, or of another tool "
        "with a caption column, or question and answer.",
        show_default=False,
    ),
]
Out = Annotated[
    Path,
    typer.Option(
        "--out",
        help="The new file or folder, in any of these forms.",
        parser=local_path,
        metavar="PATH",
    ),
]
TextColumn = Annotated[
    str | None,
    typer.Option("--text-column", help="The column that holds the texts, where it is not called caption or answer."),
]
Workers = Annotated[
    int | None, typer.Option("--workers", min=1, help="Cores to use; default: all.", show_default=False)
]


def register(app: typer.Typer) -> None:
    """Adds the commands to vidlabel's own."""
    example = "Example: vidlabel {} examples/labels.jsonl"
    rules = " --drop-flags all --keep-flags short --out clean.parquet"
    app.command("filter", epilog=example.format("filter") + rules)(filter_command)
    app.command("check", epilog=example.format("check") + " --out checked.parquet")(check_command)
    app.command("stats", epilog=example.format("stats"))(stats_command)


def filter_command(
    labels: Labels,
    out: Out,
    drop_flags: Annotated[
        str | None,
        typer.Option("--drop-flags", help="Drop labels with any of these, joined by commas; or all.", metavar="FLAGS"),
    ] = None,
    keep_flags: Annotated[
        str | None,
        typer.Option("--keep-flags", help="Exceptions from --drop-flags: no reason to drop.", metavar="FLAGS"),
    ] = None,
    min_grounding: Annotated[
        float | None, typer.Option("--min-grounding", help="Drop labels that the video supports less than that.")
    ] = None,
    min_logprob: Annotated[
        float | None, typer.Option("--min-logprob", help="Drop labels whose mean_logprob is below that.")
    ] = None,
    min_agreement: Annotated[
        float | None, typer.Option("--min-agreement", help="Drop answers whose agreement is below that.")
    ] = None,
    max_duplicates: Annotated[
        int | None,
        typer.Option(
            "--max-duplicates",
            min=1,
            help="Keep the first so many labels with the same text; answers count as the same for the same question.",
        ),
    ] = None,
    min_words: Annotated[
        int | None, typer.Option("--min-words", min=0, help="Characters in Chinese and Japanese.")
    ] = None,
    max_words: Annotated[int | None, typer.Option("--max-words", min=0, help="Likewise.")] = None,
    language: Annotated[
        str | None, typer.Option("--language", help="Keep these, joined by commas: en takes en-GB too.")
    ] = None,
    task: Annotated[Literal["caption", "qa"] | None, typer.Option("--task", help="Keep labels of this task.")] = None,
    where: Annotated[
        str | None,
        typer.Option(
            "--where",
            metavar="CONDITION",
            help="Keep rows of which this is true, with any columns: 'motion > 0.02 and camera_motion in "
            '("static", "zoom_in") and not letterboxed\'. What is missing meets no comparison.',
            show_default=False,
        ),
    ] = None,
    strip_openings: Annotated[
        bool,
        typer.Option("--strip-openings", help='Take "The video shows" and the like off, before all else.'),
    ] = False,
    reviewed: Annotated[
        bool,
        typer.Option("--reviewed", help="Keep what was accepted or edited in `vidlabel review`, edits put in."),
    ] = False,
    not_rejected: Annotated[
        bool,
        typer.Option("--not-rejected", help="Drop what was rejected there, put edits in, keep what nobody looked at."),
    ] = False,
    text_column: TextColumn = None,
) -> None:
    """Keep the labels that meet every rule; say on stderr what was dropped, and why."""
    from vidlabel.tables.filter_rules import FilterRules
    from vidlabel.tables.filtering import filter_labels

    rules = FilterRules(
        drop_flags=_listed(drop_flags),
        keep_flags=_listed(keep_flags),
        min_grounding=min_grounding,
        min_logprob=min_logprob,
        min_agreement=min_agreement,
        max_duplicates=max_duplicates,
        min_words=min_words,
        max_words=max_words,
        languages=_listed(language),
        task=task,
        where=where,
        strip_openings=strip_openings,
        reviewed=reviewed,
        not_rejected=not_rejected,
        text_column=text_column,
    )
    typer.echo(filter_labels(labels, out, rules).to_text(), err=True)


def check_command(labels: Labels, out: Out, text_column: TextColumn = None, workers: Workers = None) -> None:
    """Make the flags of existing labels anew from their texts; say on stderr how many have which."""
    from vidlabel.tables.rechecking import check_labels

    report = check_labels(labels, out, text_column=text_column, num_workers=workers or available_cores())
    typer.echo(report.to_text(), err=True)


def stats_command(
    labels: Labels,
    text_column: TextColumn = None,
    workers: Workers = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable, on stdout.")] = False,
) -> None:
    """Count labels, lengths, flags, languages, words, hours, repeated texts and failures."""
    from vidlabel.tables.stats import stats
    from vidlabel.tables.stats_text import to_json, to_text

    found = stats(labels, text_column=text_column, num_threads=workers or available_cores())
    typer.echo(to_json(found) if as_json else to_text(found))


def _listed(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())
