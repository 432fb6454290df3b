"""`vidlabel export`: labels become a trainer's data set, in a folder that the same command completes."""

from __future__ import annotations

import hashlib
import shutil
import signal
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from vidlabel.atomic import remove_leftovers, write_whole
from vidlabel.errors import InputError
from vidlabel.export.clips import ClipTexts, Said, Sample
from vidlabel.export.files import remove_others
from vidlabel.export.format import Format
from vidlabel.export.media import CUT_FOLDER, Shelf, missing
from vidlabel.export.options import (
    STATE,
    ExportOptions,
    check_clips,
    check_options,
    check_table,
    checked_folder,
    find_format,
    settings_json,
)
from vidlabel.export.reading import Choice, LabelClips, Survey
from vidlabel.export.result import ExportResult
from vidlabel.failures import FailureLog
from vidlabel.lock import locked
from vidlabel.outputs import Output
from vidlabel.progress import Progress
from vidlabel.stop import Stop
from vidlabel.tables.reading import open_table


class StoppedError(Exception):
    """A signal asked for the end. The clips that are made stay, and the same command goes on from there."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signal_number).name}")
        self.signal_number = signal_number


def export(options: ExportOptions) -> ExportResult:
    """Raises InputError before anything is written, LockedError, and StoppedError."""
    format_ = find_format(options.to)
    check_options(options, format_)
    table = open_table(options.labels)
    check_table(options, format_, table)
    choice = Choice(
        task=format_.task,
        levels=options.levels,
        rules=options.rules,
        text_column=options.text_column,
        columns=dict(options.columns),
    )
    labels = LabelClips(table, choice)
    survey = labels.survey()
    folder = checked_folder(options, format_, table)
    check_clips(options, format_, survey)
    output = Output(folder, "folder")
    with locked(output.work), FailureLog(output.failures) as failures, Stop() as stop:
        state = folder / STATE
        with Shelf(format_, options.media, state, are_escaped=table.info is not None) as shelf:
            if format_.needs_files and options.media.with_videos and missing(shelf, survey.paths):
                raise InputError(
                    f"{survey.paths[0]} is not below {' or '.join(map(str, options.media.roots))}, nor are the next "
                    "videos of the labels; say with --root where the paths in the labels begin"
                )
            state.mkdir(parents=True, exist_ok=True)
            write_whole(state / "export.json", settings_json(options))
            run = _Run(options, format_, labels, survey, shelf, stop)
            result = run.write(folder)
        for failure in shelf.failures:
            failures.add(failure)
        failed = {failure.id for failure in shelf.failures}
        for failure in failures:
            if failure.id not in failed:
                failures.remove(failure.id)
    return result


class _Run:
    """One export: walks the labels once for each part of the data set."""

    def __init__(
        self, options: ExportOptions, format_: Format, labels: LabelClips, survey: Survey, shelf: Shelf, stop: Stop
    ) -> None:
        self._options = options
        self.levels = options.levels
        self.has_videos = options.media.with_videos
        self.columns = tuple(name for _, name in options.columns)
        self._format = format_
        self._labels = labels
        self._survey = survey
        self._shelf = shelf
        self._stop = stop
        self._left_out = Counter(survey.left_out)
        self._num_changed = 0
        self._num_labels = 0
        self._num_clips: dict[str, int] = {}

    def write(self, folder: Path) -> ExportResult:
        parts = {"train": folder / "train", "val": folder / "val"} if self._options.val else {"all": folder}
        with Progress(total_videos=self._survey.num_videos, log_format=self._options.log_format) as progress:
            for part, place in parts.items():
                place.mkdir(exist_ok=True)
                remove_leftovers(place)
                self._num_clips[part] = 0
                self._format.write(_Part(self, part, place, progress))
                if part == "val" and not self._num_clips[part]:
                    shutil.rmtree(place)  # a reader that finds both parts would stumble over an empty one
        self._remove_others()
        return ExportResult(
            format_name=self._format.name,
            num_clips=self._num_clips,
            num_labels=self._num_labels,
            num_read=len(self._survey.keep),
            left_out=+self._left_out,
            num_changed=self._num_changed,
            change=self._format.text.changes,
            failures=tuple(self._shelf.failures),
            cuts=tuple(self._shelf.cuts),
        )

    def clips(self, part: str) -> Iterator[ClipTexts]:
        for clip in self._labels.clips(self._survey):
            if self._options.val and (part == "val") != _is_for_validation(clip.video_path, self._options.val):
                continue
            said = self._fitting(clip)
            if not said:
                continue
            self._num_labels += len(said)
            self._num_clips[part] += 1
            if len(said) > 1 and self._format.task == "caption" and not self._format.takes_several:
                yield from (replace(clip, said=(one,)) for one in said)
            else:
                yield clip if said is clip.said else replace(clip, said=said)

    def fetched(self, clips: Iterable[ClipTexts], folder: Path, progress: Progress) -> Iterator[Sample]:
        videos: set[str] = set()
        for num_clips, sample in enumerate(self._shelf.fetched(clips, folder), start=1):
            if self._stop.signal_number is not None:
                raise StoppedError(self._stop.signal_number)
            videos.add(sample.clip.video_path)
            if num_clips % 64 == 0:
                failed = len(self._shelf.failures)
                progress.update(num_videos=len(videos), num_clips=num_clips, num_failures=failed)
            yield sample

    def _remove_others(self) -> None:
        """Clip files of an earlier export that had more clips."""
        for folder, names in self._shelf.names.items():
            if Path(folder).name == CUT_FOLDER:
                shutil.rmtree(folder)  # what was in it is packed
            else:
                remove_others(Path(folder), {*names, "captions.json"})

    def _fitting(self, clip: ClipTexts) -> tuple[Said, ...]:
        """The texts that the format can hold, as it holds them."""
        rule = self._format.text
        said: list[Said] = []
        for one in clip.said:
            task, question, text, level = one
            new = rule.apply(text)
            asked = question if question is None or task == "caption" else rule.apply(question)
            if self._format.task == "qa":
                asked = rule.apply(question or "")
            if new is None or (self._format.task == "qa" and asked is None):
                self._left_out[rule.drops] += 1
                continue
            if (new, asked) != (text, question):
                self._num_changed += 1
                one = (task, asked, new, level)
            said.append(one)
        if self._format.takes_all_levels and self._options.levels and not _has_all(self._options.levels, said):
            self._left_out["of a clip that lacks one of --levels"] += len(said)
            return ()
        if self._format.task == "caption" and not self._format.takes_several and self._options.several != "each":
            surplus = len(said) - 1
            if surplus > 0:
                self._left_out["not the first caption of the clip (--several each takes them all)"] += surplus
                said = said[:1]
        return (
            clip.said
            if len(said) == len(clip.said) and all(a is b for a, b in zip(said, clip.said, strict=True))
            else tuple(said)
        )


class _Part:
    """The labels of one part, as a format writes them."""

    def __init__(self, run: _Run, part: str, folder: Path, progress: Progress) -> None:
        self._run = run
        self._part = part
        self._progress = progress
        self.folder = folder
        self.levels = run.levels
        self.has_videos = run.has_videos
        self.columns = run.columns

    def clips(self) -> Iterator[ClipTexts]:
        return self._run.clips(self._part)

    def fetched(self, clips: Iterable[ClipTexts]) -> Iterator[Sample]:
        return self._run.fetched(clips, self.folder, self._progress)

    def samples(self) -> Iterator[Sample]:
        return self.fetched(self.clips())


def _has_all(levels: Iterable[str], said: Iterable[Said]) -> bool:
    there = {level for _, _, _, level in said}
    return all(level in there for level in levels)


def _is_for_validation(video_path: str, share: float) -> bool:
    """By the video's path alone, so that a video stays where it is when the labels grow."""
    digest = hashlib.sha256(video_path.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64
