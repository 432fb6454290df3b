"""The page: one HTML file with its styles, its scripts and all its data inside.

Data is JSON, deflated and written in base64, whose letters can end no element: whatever a label says, it is no markup.
The policy in the page's head lets it run its own script only, by hash, and fetch nothing but videos.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import zlib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files

SCRIPTS = ("data.js", "elements.js", "plots.js", "filters.js", "cards.js", "gallery.js", "review.js", "main.js")
_LEVEL = 6


def page(title: str, blocks: Mapping[str, str], *, is_served: bool = False) -> Iterable[str]:
    """The pieces of the file. `blocks`: packed values that the page's script reads by name."""
    style, script = _resource("page.css"), _script()
    yield (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy(style, script, is_served=is_served)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n<meta name="color-scheme" content="light dark">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>{html.escape(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n"
    )
    yield _resource("page.html")
    for name, value in blocks.items():
        yield f'<script type="application/octet-stream" id="block-{html.escape(name)}">{value}</script>\n'
    yield f"<script>{script}</script>\n</body>\n</html>\n"


def policy(style: str, script: str, *, is_served: bool) -> str:
    videos = "'self'" if is_served else "'self' file:"  # for a page that was opened from disk, 'self' is nothing
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src '{_hash(script)}'",
            f"style-src '{_hash(style)}'",
            "img-src data:" if not is_served else "img-src 'self' data:",
            f"media-src {videos}",
            "connect-src 'self'" if is_served else "connect-src 'none'",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


def packed(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    # a lone surrogate, which JSON of other tools may hold, is no text
    return base64.b64encode(zlib.compress(text.encode("utf-8", "replace"), _LEVEL)).decode("ascii")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


@cache
def _resource(name: str) -> str:
    return files("vidlabel.report").joinpath("page", name).read_text(encoding="utf-8")


@cache
def _script() -> str:
    return "'use strict';\n" + "\n".join(_resource(name) for name in SCRIPTS)
