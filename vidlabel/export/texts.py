"""What becomes of a text in a format that cannot hold every text: `None` is a text that is left out.

Each rule is stated in words, for `--list` and the closing lines.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

# str.splitlines ends lines at these
_LINE_ENDS = re.compile("[ \t]*[\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029]+[ \t]*")
_PLACEHOLDER = re.compile(r"<(video|image|audio)>")
# what pandas takes for a missing value when it reads csv
_MISSING = frozenset(
    ["", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
     "NULL", "NaN", "None", "n/a", "nan", "null"]
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TextRule:
    """How a format holds texts."""

    apply: Callable[[str], str | None]
    changes: str = ""  # what it does to a text that does not fit as it is
    drops: str = ""  # which texts it leaves out


def _one_line(text: str) -> str | None:
    return _LINE_ENDS.sub(" ", text).strip() or None


def _csv_cell(text: str) -> str | None:
    return None if text in _MISSING else text.replace("\0", "").replace("\r\n", "\n").replace("\r", "\n")


def _in_file(text: str) -> str | None:
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()


def _chat(text: str) -> str | None:
    return _PLACEHOLDER.sub(r"\1", text).strip() or None


AS_IT_IS = TextRule(lambda text: text)
ONE_LINE = TextRule(_one_line, "line ends became spaces", "empty")
CSV_CELL = TextRule(
    _csv_cell, "carriage returns became line ends", "empty, or a word that csv readers take for nothing"
)
IN_FILE = TextRule(_in_file, "space around it is gone")
CHAT = TextRule(_chat, "<video> and <image> lost their brackets, and space around it is gone", "empty")
