"""`vidlabel doctor`: what this machine can do, and what is missing."""

from __future__ import annotations

from typing import Annotated

import typer


def doctor(
    out: Annotated[
        str,
        typer.Option(
            "--out",
            help="The folder or bucket that labels are to go to: it is tried whether it can be written.",
        ),
    ] = ".",
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable, on stdout.")] = False,
) -> None:
    """What this machine can do, and what is missing. Exits 1 if something must be put right first."""
    from vidlabel.doctor import examine, is_ready, report, to_json
    from vidlabel.machine import read_machine

    findings = examine(read_machine(out))
    typer.echo(to_json(findings) if as_json else "\n".join(report(findings)))
    if not is_ready(findings):
        raise typer.Exit(1)
