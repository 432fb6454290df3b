"""`vidlabel dedup`: of clips that are alike, one stays."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from vidlabel.cli_paths import local_path
from vidlabel.cores import available_cores


def register(app: typer.Typer) -> None:
    """Adds the command to vidlabel's own."""
    example = "Example: vidlabel dedup examples/alike.jsonl --out kept.jsonl --groups groups.parquet"
    app.command("dedup", epilog=example)(dedup_command)


def dedup_command(
    labels: Annotated[
        list[Path],
        typer.Argument(
            metavar="LABELS...",
            help="Files or folders of labels; an id of a clip means the same clip in all of them.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            help="The labels that stay: .parquet, .jsonl, .csv, .tsv or a folder.",
            parser=local_path,
            metavar="PATH",
        ),
    ],
    features: Annotated[
        list[Path] | None,
        typer.Option(
            "--features",
            help="A file with clip_id and embedding or phash; may be given again. labels.embeddings.parquet beside the "
            "labels, and such columns of their own, are found without it.",
            show_default=False,
        ),
    ] = None,
    by: Annotated[
        Literal["any", "embedding", "phash"],
        typer.Option("--by", help="What makes clips alike: either, the embedding alone, or the frames' hashes alone."),
    ] = "any",
    min_similarity: Annotated[
        float, typer.Option("--min-similarity", help="The least cosine of two embeddings that are alike.")
    ] = 0.98,
    max_bits: Annotated[
        float,
        typer.Option("--max-bits", help="Of the 64 of a frame's hash, the most that differ, in the mean over frames."),
    ] = 3.0,
    keep: Annotated[
        str,
        typer.Option(
            "--keep",
            help="Which of two stays: fewest flags a label, else the highest mean grounding, and so on; in this order.",
        ),
    ] = "flags,grounding,logprob,resolution,length",
    groups: Annotated[
        Path | None,
        typer.Option("--groups", help="A .parquet with every clip that has gone, for which one, and why."),
    ] = None,
    temp: Annotated[
        Path | None,
        typer.Option("--temp", help="A folder with room for 3 GB a million clips; default: that of --out."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Cores to use; default: all.", show_default=False)
    ] = None,
) -> None:
    """Keep the best of clips that are alike; say on stderr how many were dropped, and why."""
    from vidlabel.dedup.deduplicating import dedup_labels
    from vidlabel.dedup.report import DedupRules

    names = tuple(name.strip() for name in keep.split(",") if name.strip())
    rules = DedupRules(min_similarity=min_similarity, max_bits=max_bits, by=by, keep=names)
    report = dedup_labels(
        labels,
        out,
        rules,
        features=features or (),
        groups=groups,
        temp=temp,
        num_threads=workers or available_cores(),
    )
    typer.echo(report.to_text(), err=True)
