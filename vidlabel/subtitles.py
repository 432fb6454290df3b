"""Finds a video's subtitles, reads them as running speech, and cuts them to a clip. Having none is normal.

Looked for in this order, the first that is there is taken:
1. the manifest's file, which must be readable;
2. a file beside the video: `x.vtt`, `x.srt`, then with a language: the original (`x.de-orig.vtt`, as download tools
   mark it), English (`x.en.vtt`, `x.en-US.srt`), the others by name; of one language `.vtt` before `.srt`;
3. the text track inside the video.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path, PurePosixPath

from vidlabel.cue_files import ShownCue, clean_lines, read_cue_file
from vidlabel.data import Cue, Video
from vidlabel.decoders import text_track
from vidlabel.errors import VideoError
from vidlabel.remote import exists, is_url, is_web, names_beside
from vidlabel.remote_cache import local_file
from vidlabel.rolling_cues import read_once

logger = logging.getLogger(__name__)

_SUFFIXES = (".vtt", ".srt")
_LANGUAGE_TAG = re.compile(r"[a-z]{2,3}(?:[-_][a-z0-9]{1,8})*")


def find_cues(video: Video) -> tuple[tuple[Cue, ...], str]:
    """The cues of the whole video and where they are from: manifest, sidecar, track or none.

    A file beside the video that is no cue file costs the subtitles, not the video: no cues, from "unreadable".
    """
    if video.subtitle is not None:
        return read_once(_manifest_cues(video.subtitle)), "manifest"
    try:
        sidecar = _remote_sidecar(video.location) if is_url(video.location) else _find_sidecar(Path(video.location))
    except OSError as error:
        raise VideoError(f"whether it has subtitles cannot be found out: {error.strerror or error}") from error
    if sidecar is not None:
        if _leads_away(sidecar, video):
            logger.warning("%s: labelled without subtitles, %s leads to another folder", video.path, sidecar.name)
            return (), "unreadable"
        try:
            return read_once(read_cue_file(sidecar)), "sidecar"
        except (OSError, ValueError) as error:
            logger.warning("%s: labelled without subtitles, %s cannot be read: %s", video.path, sidecar.name, error)
            return (), "unreadable"
    track = [ShownCue(start, end, clean_lines(text.splitlines())) for start, end, text in text_track(video.location)]
    shown = sorted((cue for cue in track if cue.lines), key=lambda cue: (cue.start_seconds, cue.end_seconds))
    return read_once(shown), "track" if track else "none"


def cut_cues(cues: Iterable[Cue], start_seconds: float, end_seconds: float) -> tuple[Cue, ...]:
    """The cues that are shown in the half-open span, with their times clamped to it."""
    return tuple(
        Cue(max(cue.start_seconds, start_seconds), min(cue.end_seconds, end_seconds), cue.text)
        for cue in cues
        if cue.start_seconds < end_seconds and cue.end_seconds > start_seconds
    )


def _manifest_cues(subtitle: str) -> list[ShownCue]:
    try:
        return read_cue_file(local_file(subtitle))
    except OSError as error:
        raise VideoError(f"subtitle file {subtitle}: {error.strerror or error}") from error
    except ValueError as error:
        raise VideoError(f"subtitle file {subtitle}: {error}") from error


def _remote_sidecar(url: str) -> Path | None:
    """By the same rule as beside a local one; a web server cannot list: `clip.vtt` and `clip.srt` are tried."""
    stem = url.rpartition(".")[0]
    if "/" in url[len(stem) :] or (is_web(url) and "?" in url):
        return None
    if is_web(url):
        return next((local_file(stem + suffix) for suffix in _SUFFIXES if exists(stem + suffix)), None)
    folder, _, name = stem.rpartition("/")
    names = _ranked(_names_beside(url)).get(name)
    return local_file(f"{folder}/{names[0]}") if names else None


@lru_cache(maxsize=64)  # looked for again for each clip of a video
def _names_beside(url: str) -> tuple[str, ...]:
    return tuple(names_beside(url))


def _find_sidecar(video: Path) -> Path | None:
    folder = video.parent
    try:
        changed = folder.stat().st_mtime_ns
    except OSError:
        return None  # no such folder: opening the video will say so
    # a folder is listed once and not once for each of its videos, unless it changed just now and may change unnoticed
    settled = time.time_ns() - changed > 2_000_000_000
    listed = (_sidecars if settled else _sidecars.__wrapped__)(folder, changed)
    names = listed.get(video.stem)
    return folder / names[0] if names else None


def _leads_away(sidecar: Path, video: Video) -> bool:
    """Whether a link that lies beside a video leads out of the folder, or `--root`, that the video's path is from.

    Beside the file that the video itself is a link to is fine: so it is where a folder is made of links into a store.
    """
    if not os.path.islink(sidecar):  # noqa: PTH114  pathlib's raises where a name is too long
        return False
    location = Path(video.location)
    is_below = not video.path.startswith("/") and video.location.endswith(f"/{video.path}")
    top = Path(video.location[: -len(video.path) - 1] or "/") if is_below else location.parent
    target = Path(os.path.realpath(sidecar))  # not `resolve`, which raises where links go in a circle
    allowed = Path(os.path.realpath(top)), Path(os.path.realpath(location)).parent
    return not any(target.is_relative_to(folder) for folder in allowed)


@lru_cache(maxsize=4)
def _sidecars(folder: Path, changed_ns: int) -> dict[str, list[str]]:
    """For each stem the names of its cue files, best first. `changed_ns` is there for the cache."""
    try:
        return _ranked(entry.name for entry in folder.iterdir())
    except PermissionError:
        return {}  # may be entered but not listed


def _ranked(names: Iterable[str]) -> dict[str, list[str]]:
    ranked: dict[str, list[tuple[int, str, int, str]]] = {}
    for entry in map(PurePosixPath, names):
        suffix = entry.suffix.lower()
        if suffix not in _SUFFIXES:
            continue
        order = _SUFFIXES.index(suffix)
        ranked.setdefault(entry.stem, []).append((0, "", order, entry.name))
        stem, dot, tag = entry.stem.rpartition(".")
        tag = tag.lower()
        if dot and stem and _LANGUAGE_TAG.fullmatch(tag):
            rank = 1 if tag.endswith("-orig") else 2 if re.split("[-_]", tag)[0] in ("en", "eng") else 3
            ranked.setdefault(stem, []).append((rank, tag, order, entry.name))
    return {stem: [name for *_, name in sorted(found)] for stem, found in ranked.items()}
