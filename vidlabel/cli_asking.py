"""The options that say what is asked of each clip, for `caption` and `qa`."""

from __future__ import annotations

from typing import Annotated

import typer

from vidlabel.config import Rewrite

PromptsOption = Annotated[
    str | None,
    typer.Option(
        "--prompts",
        help="An instruction pool (vidlabel prompts list), or a .toml or .txt file. Default: caption.",
        show_default=False,
    ),
]
QaPromptsOption = Annotated[
    str | None,
    typer.Option(
        "--prompts",
        help="Pools of questions, joined by commas, where the inputs bring none: names (vidlabel prompts list) or "
        ".toml files. Default: all that begin with qa-.",
        show_default=False,
    ),
]
PerClip = Annotated[
    int | None,
    typer.Option(
        "--per-clip", min=1, help="Captions a clip, each to another instruction. Default: 1.", show_default=False
    ),
]
QaPerClip = Annotated[
    int | None,
    typer.Option(
        "--per-clip",
        min=1,
        help="Questions a clip from the pools, of different pools first. Default: 4.",
        show_default=False,
    ),
]
Levels = Annotated[
    str | None,
    typer.Option(
        "--levels",
        help="Several captions a clip: any of short,medium,detailed,structured. structured asks for subject, action, "
        "setting, camera and mood and has a column for each.",
        show_default=False,
    ),
]
Propose = Annotated[
    int,
    typer.Option(
        "--propose",
        min=0,
        help="Questions more a clip that the language model thinks of, from a detailed caption; each is answered "
        "from the video.",
    ),
]
Verify = Annotated[
    int,
    typer.Option(
        "--verify",
        min=0,
        max=4,
        help="Ask every question so many times more in other words; column agreement is the share of answers that "
        "agree with the first.",
    ),
]
RetryFlagged = Annotated[
    int,
    typer.Option(
        "--retry-flagged",
        min=0,
        help="Where an answer has flags, ask something else up to so many times and keep the best; column attempt says "
        "which it was.",
    ),
]
StripOpenings = Annotated[
    bool, typer.Option("--strip-openings", help='Take "The video shows" and the like off captions.')
]
RewriteOption = Annotated[
    Rewrite,
    typer.Option(
        "--rewrite",
        help="Let the language model condense each caption, or merge a clip's captions into one; what it adds is not "
        "taken. Column caption_original keeps what was said of the video.",
    ),
]
Language = Annotated[str, typer.Option("--language", help="Of the instructions: en or zh.")]
