"""Clips are cut by workers, which are killed when they hang, and noted in a journal as they are made: what a killed
export had cut is not cut again, unless the video has changed since.
"""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, TextIO

from vidlabel.errors import VideoError
from vidlabel.executors.workers import DecodeWorkers
from vidlabel.export.clips import ClipTexts
from vidlabel.export.cutting import Cut, cut_copy, cut_exact

Cutting = Literal["copy", "exact", "none"]
SourceState = tuple[int, float]  # size and time of change

SECONDS_A_SECOND = 20.0  # of a clip: time to encode it again, on a slow core


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaOptions:
    """Where videos are, and how clips are made of them."""

    roots: tuple[Path, ...]
    cut: Cutting = "none"
    symlink: bool = False
    with_videos: bool = True
    frame_multiple: int = 1
    num_workers: int = 1
    seconds_per_video: float = 300.0
    memory_mb: int = 4096


class Cutter:
    """Used with `with`. Targets are below the data set's folder, in which `state` is."""

    def __init__(self, options: MediaOptions, state: Path) -> None:
        self._options = options
        self._state = state
        self._known = _read_journal(state / "clips.jsonl")
        self._stack = ExitStack()
        self._workers: DecodeWorkers[str] | None = None
        self._journal: TextIO | None = None
        self._sources: dict[str, SourceState] = {}  # of the clips that are with the workers
        self._done: dict[str, Cut | VideoError] = {}
        self.cuts: list[Cut] = []  # made by this run

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stack.__exit__(kind, error, tb)

    def begin(self, clip: ClipTexts, source: str, status: os.stat_result, target: str) -> None:
        """Has a worker cut the clip, if it is not there."""
        if target in self._done or target in self._sources:
            return  # the same clip, with another caption
        state = (status.st_size, status.st_mtime)
        cut, from_state = self._known.get(self._short(target), (None, None))
        if cut is not None and from_state == state and Path(target).exists():
            self._done[target] = cut
            return
        workers = self._started()
        self._sources[target] = state
        end = float("inf") if clip.end_seconds is None else clip.end_seconds
        limit = self._options.seconds_per_video + SECONDS_A_SECOND * clip.seconds + status.st_size / 2e6
        where = (source, target, clip.start_seconds, end)
        if self._options.cut == "exact":
            workers.submit(target, cut_exact, *where, self._options.frame_multiple, seconds=limit)
        else:
            workers.submit(target, cut_copy, *where, seconds=limit)

    def is_done(self, target: str) -> bool:
        if target not in self._done:
            self._take(0.0)
        return target in self._done

    def result(self, target: str) -> Cut | VideoError:
        """Waits for it."""
        while target not in self._done:
            self._take(1.0)
        return self._done[target]

    def _started(self) -> DecodeWorkers[str]:
        """Workers start with the first clip that is to be cut."""
        if self._workers is None:
            options = self._options
            made: DecodeWorkers[str] = DecodeWorkers(num_workers=options.num_workers, memory_mb=options.memory_mb)
            self._workers = self._stack.enter_context(made)
            self._journal = self._stack.enter_context((self._state / "clips.jsonl").open("a", encoding="utf-8"))
            self._journal.write("\n")  # ends the line that a killed export may have left half written
        return self._workers

    def _take(self, wait_seconds: float) -> None:
        assert self._workers is not None
        assert self._journal is not None
        for target, result in self._workers.finished(wait_seconds):
            self._done[target] = result
            size, mtime = self._sources.pop(target)
            if isinstance(result, Cut):
                self.cuts.append(result)
                line = {"file": self._short(target), "cut": asdict(result), "source_size": size, "source_mtime": mtime}
                self._journal.write(json.dumps(line) + "\n")
                self._journal.flush()

    def _short(self, target: str) -> str:
        """From the data set's folder, so that it can be moved."""
        return target.removeprefix(f"{self._state.parent}/")


def _read_journal(path: Path) -> dict[str, tuple[Cut, SourceState]]:
    known = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            row = json.loads(line)
            known[row["file"]] = (Cut(**row["cut"]), (row["source_size"], row["source_mtime"]))
        except (ValueError, KeyError, TypeError):
            continue  # half a line, of an export that was killed: its clip is cut again
    return known
