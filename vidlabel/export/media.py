"""Puts the video file of each clip in its place: linked, copied, cut by a worker, or only named. What is there from an
earlier export stays, so an export that was killed goes on where it was.

Paths are texts here, not `Path`s: there are millions, and making a `Path` takes longer than making a link.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from os.path import splitext
from pathlib import Path
from types import TracebackType
from typing import Self

from vidlabel.atomic import whole_file
from vidlabel.data import Failure, stable_id
from vidlabel.errors import VideoError
from vidlabel.export.clips import ClipTexts, Media, Sample
from vidlabel.export.cutter import Cutter, MediaOptions
from vidlabel.export.cutting import Cut
from vidlabel.export.format import Format
from vidlabel.labels import unescape_name
from vidlabel.paths import shown

IN_FLIGHT = 4  # clips a worker
CUT_FOLDER = ".cut"  # of clips that will be packed


class Shelf:
    """Where clip files come from and go to; used with `with`. `failures` are those of this run."""

    def __init__(self, format_: Format, options: MediaOptions, state: Path, *, are_escaped: bool) -> None:
        """`are_escaped`: paths are as vidlabel's own labels hold them."""
        self._format = format_
        self._options = options
        self._are_escaped = are_escaped
        self._roots = [str(root).rstrip("/") for root in options.roots]
        self.failures: list[Failure] = []
        self.names: dict[str, set[str]] = {}  # folder -> the files in it that belong to the data set
        self._cutter = Cutter(options, state)

    def __enter__(self) -> Self:
        self._cutter.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._cutter.__exit__(kind, error, tb)

    @property
    def cuts(self) -> list[Cut]:
        """Of this run."""
        return self._cutter.cuts

    def fetched(self, clips: Iterable[ClipTexts], folder: Path) -> Iterator[Sample]:
        """The clips with their files, in the same order; those that fail are noted and left out."""
        waiting: deque[tuple[ClipTexts, Media | _Pending]] = deque()
        for clip in clips:
            begun = self._begin(clip, folder)
            if begun is None:
                continue
            if isinstance(begun, Media) and not waiting:
                yield Sample(clip, begun)
                continue
            waiting.append((clip, begun))
            while waiting and (len(waiting) > IN_FLIGHT * self._options.num_workers or self._is_ready(waiting[0][1])):
                yield from self._finish(*waiting.popleft())
        while waiting:
            yield from self._finish(*waiting.popleft())

    def locate(self, path: str) -> tuple[str, os.stat_result | None]:
        """The file that a label's path means, below the first root that has it; None where none has."""
        path = self._named(path)
        places = [f"{root}/{path}" for root in self._roots] if path[:1] != "/" else [path]
        for place in places:
            try:
                return place, os.stat(place)  # noqa: PTH116
            except FileNotFoundError:
                continue
        return places[0], None

    def _begin(self, clip: ClipTexts, folder: Path) -> Media | _Pending | None:
        try:
            return self._placed(clip, folder)
        except VideoError as error:
            self._fail(clip, error)
        except OSError as error:
            self._fail(clip, VideoError(f"cannot be placed: {(error.strerror or str(error)).lower()}"))
        return None

    def _placed(self, clip: ClipTexts, folder: Path) -> Media | _Pending:
        options, format_ = self._options, self._format
        if not format_.needs_files and options.cut == "none":
            return _as_labelled(clip, clip.video_path, self.locate(clip.video_path)[0])
        suffix = splitext(clip.video_path)[1].lower()  # noqa: PTH122
        is_cut = self._is_cut(clip, suffix)
        name = f"{clip.name if is_cut or clip.is_whole else _name_of_video(clip)}{'.mp4' if is_cut else suffix}"
        file = f"{format_.video_folder}/{name}"
        place = f"{folder}/{CUT_FOLDER if format_.packs_videos else format_.video_folder}"
        target = f"{place}/{name}"
        if not options.with_videos:
            return self._expected(clip, file, target, is_cut=is_cut)
        source, status = self.locate(clip.video_path)
        if status is None:
            raise VideoError(f"no such file: {shown(source)}")
        if not stat.S_ISREG(status.st_mode):
            raise VideoError(f"not a file: {shown(source)}")
        if not is_cut and format_.needs_size and not (clip.width and clip.height and clip.fps and clip.video_seconds):
            raise VideoError(f"the labels do not say its size, rate and length, which {format_.name} needs")
        if not is_cut and format_.packs_videos:
            return _as_labelled(clip, file, source)
        if place not in self.names:
            Path(place).mkdir(parents=True, exist_ok=True)
            self.names[place] = set()
        self.names[place].add(name)
        if is_cut:
            self._cutter.begin(clip, source, status, target)
            return _Pending(file, target)
        if options.symlink:
            _link(source, target)
        else:
            _copy(source, status, target)
        return _as_labelled(clip, file, target)

    def _is_cut(self, clip: ClipTexts, suffix: str) -> bool:
        """A whole video in a file that the trainer opens needs no cutting, unless its frames are to be counted off."""
        if self._options.cut == "none":
            return False
        fits = not self._format.suffixes or suffix in self._format.suffixes
        counts = self._options.cut == "exact" and self._options.frame_multiple > 1
        return not (clip.is_whole and fits) or counts

    def _expected(self, clip: ClipTexts, file: str, target: str, *, is_cut: bool) -> Media:
        media = _as_labelled(clip, file, target)
        if not is_cut:
            return media
        step = self._options.frame_multiple if self._options.cut == "exact" else 1
        num_frames = max(0, round(clip.seconds * clip.fps) - 1) // step * step + 1
        seconds = num_frames / clip.fps if clip.fps else clip.seconds
        return Media(file, target, num_frames, clip.width, clip.height, clip.fps, seconds)

    def _is_ready(self, begun: Media | _Pending) -> bool:
        return isinstance(begun, Media) or self._cutter.is_done(begun.target)

    def _finish(self, clip: ClipTexts, begun: Media | _Pending) -> Iterator[Sample]:
        if isinstance(begun, Media):
            yield Sample(clip, begun)
            return
        cut = self._cutter.result(begun.target)
        if isinstance(cut, VideoError):
            self._fail(clip, cut)
        else:
            yield Sample(clip, _as_cut(cut, begun.file, begun.target))

    def _named(self, path: str) -> str:
        return unescape_name(path) if self._are_escaped else path

    def _fail(self, clip: ClipTexts, error: VideoError) -> None:
        if any(failure.id == clip.clip_id for failure in self.failures[-8:]):
            return  # the same clip, with another caption
        _, status = self.locate(clip.video_path)
        failure = Failure(
            id=clip.clip_id,
            video_id=self._named(clip.video_path),
            path=self._named(clip.video_path),
            stage="export",
            reason=error.reason,
            permanent=error.permanent,
            file_size=status.st_size if status else None,
            file_mtime=status.st_mtime if status else None,
        )
        self.failures.append(failure)


@dataclass(frozen=True, slots=True)
class _Pending:
    """A clip that is being cut."""

    file: str
    target: str


def missing(shelf: Shelf, paths: Sequence[str]) -> bool:
    """Whether none of these videos is there: then the root is wrong, not the videos."""
    return bool(paths) and all(shelf.locate(path)[1] is None for path in paths)


def _link(source: str, target: str) -> None:
    try:
        if os.readlink(target) == source:  # noqa: PTH115
            return
        Path(target).unlink()
    except FileNotFoundError:
        pass
    except OSError:
        Path(target).unlink()  # a file, but no link
    os.symlink(source, target)  # noqa: PTH211


def _copy(source: str, own: os.stat_result, target: str) -> None:
    there = Path(target).stat() if Path(target).exists() else None
    if there and (there.st_size, there.st_mtime_ns) == (own.st_size, own.st_mtime_ns):
        return
    with whole_file(Path(target)) as beside:
        shutil.copy2(source, beside)


def _name_of_video(clip: ClipTexts) -> str:
    return stable_id("video", clip.video_path)


def _as_labelled(clip: ClipTexts, file: str, location: str) -> Media:
    """What the labels say of the video; no file is opened for it."""
    seconds = clip.seconds if clip.is_whole or clip.video_seconds is None else clip.video_seconds
    span = None if clip.is_whole else (clip.start_seconds, clip.end_seconds)
    num_frames = round(seconds * clip.fps)
    return Media(file, location, num_frames, clip.width, clip.height, clip.fps, seconds, span)


def _as_cut(cut: Cut, file: str, target: str) -> Media:
    return Media(file, target, cut.num_frames, cut.width, cut.height, cut.fps, cut.seconds)
