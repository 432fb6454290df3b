"""Where the videos of labels are, and the address by which a page beside them plays them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from vidlabel.errors import InputError
from vidlabel.labels import unescape_name

_TRIED = 20  # paths, before the labels' own folder is given up as their root


def video_root(root: Path | None, labels: Path, paths: Sequence[str]) -> Path:
    """What relative paths start from: `--root`, else the current folder or that of the labels, where videos are."""
    if root is not None:
        if not root.is_dir():
            raise InputError(f"--root {root}: no such folder")
        return Path(os.path.abspath(root))  # noqa: PTH100  links are kept: a page names videos as the user does
    for folder in (Path.cwd(), labels.absolute().parent):
        if any(location(folder, path).exists() for path in paths[:_TRIED]):
            return folder
    return Path.cwd()


def location(root: Path, video_path: str) -> Path:
    """Absolute paths stay; a path that no file can have becomes one that is not there."""
    name = unescape_name(video_path).replace("\0", "\ufffd")
    return Path(os.path.normpath(root / name))


def address(video: Path, page: Path) -> str:
    """Relative, so that page and videos may move together. Whatever the name holds, it is a path and nothing else."""
    relative = os.path.relpath(video, os.path.abspath(page.parent))  # noqa: PTH100
    return quote(os.fsencode(relative))
