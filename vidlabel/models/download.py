"""Fetching a preset's original files to their folder: pinned commits, checksums, enough disk, one at a time.

Every file is checked: against the checksum in the preset, else the one the hub gives, else the one noted when it first
came. What was found is noted in `checksums.json`. `sources.json` is written last, and only then is the model there.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from vidlabel.atomic import write_whole
from vidlabel.errors import InputError
from vidlabel.lock import locked
from vidlabel.models.fetching import Report, Request, fetch, git_oid_of, num_bytes_here, read_json_text, sha256_of
from vidlabel.models.preset import HubFiles, Preset, UrlFile
from vidlabel.models.presets import PRESETS, SOURCES, models_home, sources_text

logger = logging.getLogger(__name__)

HUB = "https://huggingface.co"
CHECKSUMS = "checksums.json"
_LANGUAGE_MODEL_FILES = (  # not the same weights again in other forms
    "config.json",
    "generation_config.json",
    "model*.safetensors",
    "model.safetensors.index.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "preprocessor_config.json",  # of a model of speech
    "normalizer.json",
)


@dataclass(frozen=True, slots=True)
class _File:
    """One file to fetch."""

    request: Request
    target: str
    expected_bytes: int
    mirrored: Request | None = None  # to be tried first

    def here(self, folder: Path) -> int:
        return num_bytes_here(folder / self.target)


def pull(name: str, *, mirror: str | None = None, progress: bool = True) -> Path | None:
    """Fetches a preset's weights and returns their folder; None for a preset that has nothing to fetch.

    `mirror`, or else `HF_ENDPOINT`, stands in for the hub. `HF_TOKEN`, or a login of the hub's own tool, is sent to it.
    """
    if name not in PRESETS:
        raise InputError(f"{name}: the models that can be pulled are {', '.join(p.name for p in _with_files())}")
    preset = PRESETS[name]
    if not preset.files:
        return None
    return pull_preset(preset, models_home(), mirror=mirror, progress=progress)


def pull_preset(
    preset: Preset, home: Path, *, mirror: str | None = None, progress: bool = True, pause_seconds: float = 1.0
) -> Path:
    """`pull` of any preset to any place."""
    folder = home / preset.name
    endpoint = _endpoint(mirror)
    with locked(folder / ".pull"):
        files = [file for source in preset.files for file in _plan(source, endpoint, mirror, pause_seconds)]
        _check_disk(files, folder)
        checksums = _read_checksums(folder)
        for file in files:
            if _is_done(file, folder, checksums):
                continue
            sha256 = _borrow(file, folder, home) or _fetch(file, folder, checksums, progress, pause_seconds)
            checksums[file.target] = {"sha256": sha256, "size": (folder / file.target).stat().st_size}
            write_whole(folder / CHECKSUMS, json.dumps(checksums, indent=2, sort_keys=True) + "\n")
        write_whole(folder / SOURCES, sources_text(preset))
    return folder


def damaged_files(folder: Path) -> list[str]:
    """The fetched files of a folder that are not what they were when they came."""
    return [
        target
        for target, noted in _read_checksums(folder).items()
        if not (folder / target).is_file() or sha256_of(folder / target) != noted["sha256"]
    ]


def _plan(source: HubFiles | UrlFile, endpoint: str, mirror: str | None, pause_seconds: float) -> list[_File]:
    if isinstance(source, UrlFile):
        request = Request(source.url, sha256=source.sha256, size=source.size)
        mirrored = Request(f"{endpoint}/{source.target}", sha256=source.sha256, size=source.size) if mirror else None
        return [_File(request, source.target, source.size, mirrored)]
    base = f"{endpoint}/{source.repo}/resolve/{source.revision}"
    denied = f"if {endpoint} asks for a login, set HF_TOKEN"
    if source.gated:
        denied = f"accept the licence on {HUB}/{source.repo} and set HF_TOKEN to a token of that account"
    token = _token()
    if source.path is not None:
        request = Request(f"{base}/{quote(source.path)}", token, source.sha256, when_denied=denied)
        return [_File(request, source.target, round(source.gigabytes * 1e9))]
    listing = Request(
        f"{endpoint}/api/models/{source.repo}/tree/{source.revision}?recursive=true", token, when_denied=denied
    )
    files = []
    for path, size, sha256, git_oid in _listed(listing, pause_seconds):
        request = Request(f"{base}/{quote(path)}", token, sha256, size, git_oid, denied)
        files.append(_File(request, f"{source.target}/{path}", size))
    if not any(file.target.endswith(".safetensors") for file in files):
        raise InputError(f"{listing.url}: lists no safetensors, so it is not the repository that was expected")
    return files


def _listed(listing: Request, pause_seconds: float) -> list[tuple[str, int, str | None, str | None]]:
    """Path, size, SHA-256 and git object id of what a language model needs; small files first."""
    try:
        entries = json.loads(read_json_text(listing, pause_seconds=pause_seconds))
        found = []
        for entry in entries:
            path, stored = str(entry["path"]), entry.get("lfs")
            if entry["type"] == "file" and any(fnmatch(path, pattern) for pattern in _LANGUAGE_MODEL_FILES):
                if "/" in path or path.startswith("."):
                    continue
                sha256 = stored["oid"] if stored else None
                found.append((path, int(entry["size"]), sha256, None if stored else entry.get("oid")))
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{listing.url}: not the listing of a hub repository ({error!r}); is the mirror a hub?"
        ) from error
    return sorted(found, key=lambda entry: entry[1])


def _fetch(
    file: _File, folder: Path, checksums: dict[str, dict[str, Any]], progress: bool, pause_seconds: float
) -> str:
    """From the mirror if it has the file, else from its own address."""
    target = folder / file.target
    target.parent.mkdir(parents=True, exist_ok=True)
    logger.info("fetching %s", file.request.url)
    with _Bar(file, progress) as bar:
        if file.mirrored is not None:
            try:
                return fetch(file.mirrored, target, report=bar.report, pause_seconds=pause_seconds)
            except InputError as error:
                logger.warning("%s; trying %s", error, file.request.url)
        return fetch(_with_noted(file, checksums), target, report=bar.report, pause_seconds=pause_seconds)


def _with_noted(file: _File, checksums: dict[str, dict[str, Any]]) -> Request:
    """A file that nobody publishes a checksum of has to be the one that came before."""
    request = file.request
    noted = checksums.get(file.target)
    if noted is None or request.sha256 or request.git_oid:
        return request
    return Request(request.url, request.token, noted["sha256"], request.size, None, request.when_denied)


def _is_done(file: _File, folder: Path, checksums: dict[str, dict[str, Any]]) -> bool:
    """Whether it came whole in an earlier run, and is still the one that is wanted."""
    path, noted = folder / file.target, checksums.get(file.target)
    if noted is None or not path.is_file() or path.stat().st_size != noted["size"]:
        return False
    if file.request.git_oid:
        return git_oid_of(path) == file.request.git_oid
    return file.request.sha256 in (None, noted["sha256"])


def _borrow(file: _File, folder: Path, home: Path) -> str | None:
    """Two presets share the vision tower: one that is there already is linked, not fetched again."""
    for other in sorted(home.glob(f"*/{CHECKSUMS}")):
        noted = _read_checksums(other.parent).get(file.target)
        lender = other.parent / file.target
        if file.request.sha256 and noted and noted["sha256"] == file.request.sha256 and lender.is_file():
            target = folder / file.target
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.unlink(missing_ok=True)
                target.hardlink_to(lender)
            except OSError:
                return None  # this file system has no links: fetch it
            if sha256_of(target) == file.request.sha256:
                return file.request.sha256
            target.unlink()
    return None


def _check_disk(files: list[_File], folder: Path) -> None:
    missing = sum(max(0, file.expected_bytes - file.here(folder)) for file in files)
    free = shutil.disk_usage(folder).free
    if missing > free:
        raise InputError(
            f"{folder} has {free / 1e9:.1f} GB free and {missing / 1e9:.1f} GB are to come; make room, or set "
            "VIDLABEL_HOME to a folder on a larger disk"
        )


def _read_checksums(folder: Path) -> dict[str, dict[str, Any]]:
    path = folder / CHECKSUMS
    if not path.exists():
        return {}
    try:
        checksums = json.loads(path.read_text(encoding="utf-8"))
        assert isinstance(checksums, dict)
        return {str(target): {**noted, "sha256": str(noted["sha256"])} for target, noted in checksums.items()}
    except (ValueError, KeyError, TypeError, AssertionError) as error:
        raise InputError(f"{path}: not what vidlabel wrote ({error!r}); delete it to fetch everything again") from error


def _endpoint(mirror: str | None) -> str:
    endpoint = (mirror or os.environ.get("HF_ENDPOINT") or HUB).rstrip("/")
    if urlsplit(endpoint).scheme not in ("http", "https") or not urlsplit(endpoint).netloc:
        raise InputError(f"{endpoint}: a mirror is an address that begins with https:// or http://")
    return endpoint


def _token() -> str | None:
    if token := os.environ.get("HF_TOKEN"):
        return token
    from huggingface_hub import get_token

    return get_token()


def _with_files() -> list[Preset]:
    return [preset for preset in PRESETS.values() if preset.files]


class _Bar:
    """A progress bar on a terminal, nothing elsewhere."""

    def __init__(self, file: _File, progress: bool) -> None:
        from tqdm import tqdm

        self._bar = tqdm(
            desc=file.target,
            total=file.expected_bytes,
            unit="B",
            unit_scale=True,
            disable=None if progress else True,  # None: off unless stderr is a terminal
            file=sys.stderr,
        )
        self.report: Report = self._report

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def _report(self, here: int, total: int | None) -> None:
        if total is not None:
            self._bar.total = total
        self._bar.update(here - self._bar.n)
