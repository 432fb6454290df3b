"""Cells of csv and tsv files that a spreadsheet would take for a formula, and run.

What a video's name, a manifest or a model says may begin with `=`. Such a text is written with a quote in front, which
spreadsheets show as text, and read back without it; a plain number is left as it is.
"""

from __future__ import annotations

import re

_FORMULA = re.compile(r"'*[=+\-@\t\r]")  # quotes in front too, or what is read back would not be what was written
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?", re.IGNORECASE | re.ASCII)


def guarded(text: str) -> str:
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def unguarded(cell: str) -> str:
    """What `guarded` was given; of files that others wrote, the text that their quote stands before."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell[1:]) else cell
