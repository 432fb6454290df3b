"""The options that say which clips are labelled, for `caption` and `qa`."""

from __future__ import annotations

from typing import Annotated

import typer

SignalsOption = Annotated[
    str | None,
    typer.Option(
        "--signals",
        metavar="NAMES",
        help="Measure these of every clip, joined by commas, pixels (all that need no extra) or all: a column each. "
        "vidlabel signals --list says what there is.",
        show_default=False,
    ),
]
WhereOption = Annotated[
    str | None,
    typer.Option(
        "--where",
        metavar="CONDITION",
        help="Label only clips of which this is true: 'motion > 0.02 and not letterboxed and seconds >= 2'. It may "
        "name signals (they are measured), width, height, fps, codec, seconds, video_seconds, and the manifest's "
        "columns. The others never reach the model; labels.skipped.parquet says why.",
        show_default=False,
    ),
]
