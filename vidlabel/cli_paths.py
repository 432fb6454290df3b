"""Paths of commands that work on local files: a URL there is one clear line, not a folder of that name."""

from __future__ import annotations

from pathlib import Path

from vidlabel.errors import InputError
from vidlabel.remote import is_url


def local_path(text: str) -> Path:
    """For `typer.Option(parser=...)`."""
    if is_url(text):
        raise InputError(f"{text}: this command reads and writes local files only; copy to or from the store yourself")
    return Path(text)
