"""`vidlabel prompts`: the instruction pools."""

from __future__ import annotations

from typing import Annotated

import typer

prompts_app = typer.Typer(no_args_is_help=True, help="Instruction pools.")


@prompts_app.command("list", epilog="Example: vidlabel prompts list")
def prompts_list() -> None:
    """The pools that ship with vidlabel."""
    from vidlabel.prompts import list_pools, load_pool

    for name in list_pools():
        pool = load_pool(name)
        sizes = ", ".join(f"{len(texts)} {tag}" for tag, texts in pool.questions.items())
        typer.echo(f"{name:18} {pool.task:8} {sizes:14} {pool.about}")


@prompts_app.command("show", epilog="Example: vidlabel prompts show caption-short")
def prompts_show(pool: Annotated[str, typer.Argument(help="A pool's name, or a .toml or .txt file.")]) -> None:
    """The instructions of a pool, as a .toml or .txt of your own would hold them."""
    from vidlabel.prompts import load_pool

    for tag, texts in load_pool(pool).questions.items():
        for text in texts:
            typer.echo(f"{tag}\t{text}")
