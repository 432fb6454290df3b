"""The work folder of a training, `DIR.work`: its settings, and checkpoints that a killed run goes on from.

A checkpoint counts when the mark is in it, which is written last.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from vidlabel.atomic import write_whole
from vidlabel.config import differences
from vidlabel.errors import InputError

_MARK = "whole"
_SETTINGS = "training.json"
_CHECKPOINT = re.compile(r"checkpoint-(\d+)")


def prepare(work: Path, settings: Mapping[str, object], *, resume: bool) -> None:
    """For the process that holds the lock: checkpoints of other settings are refused, half-written ones removed."""
    path = work / _SETTINGS
    text = json.dumps(settings, sort_keys=True, ensure_ascii=False)
    if not resume:
        for folder in _checkpoints(work).values():
            shutil.rmtree(folder)
    for folder in _checkpoints(work).values():
        if not (folder / _MARK).exists():
            shutil.rmtree(folder)
    if path.exists() and _checkpoints(work) and (found := differences(text, path.read_text(encoding="utf-8"))):
        raise InputError(
            f"{work} holds a training with other settings ({'; '.join(found)}); give the same ones to go on with it, "
            "--no-resume to begin anew, or another --out"
        )
    write_whole(path, text)


def latest(work: Path) -> Path | None:
    """The last whole checkpoint."""
    whole = {step: folder for step, folder in _checkpoints(work).items() if (folder / _MARK).exists()}
    return whole[max(whole)] if whole else None


def mark_whole(work: Path, step: int) -> None:
    write_whole(work / f"checkpoint-{step}" / _MARK, "")


def _checkpoints(work: Path) -> dict[int, Path]:
    if not work.is_dir():
        return {}
    return {int(match[1]): path for path in work.iterdir() if (match := _CHECKPOINT.fullmatch(path.name))}
