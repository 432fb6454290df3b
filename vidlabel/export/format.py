"""What one format is: a value of `Format`, made in a file of its own in `formats`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from vidlabel.export.clips import ClipTexts, Sample
from vidlabel.export.texts import AS_IT_IS, TextRule

Task = Literal["caption", "qa", "both"]
MP4 = (".mp4",)
MP4_MOV = (".mp4", ".mov")
COMMON = (".mp4", ".mov", ".mkv", ".avi", ".webm")


class Source(Protocol):
    """What a format writes from. Every walk is a new one, in the same order."""

    @property
    def folder(self) -> Path:
        """Absolute: where everything goes."""

    @property
    def levels(self) -> tuple[str, ...]:
        """Of captions, as asked for."""

    @property
    def has_videos(self) -> bool:
        """False: video files are named, but not there."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the labels' columns that go along, in order; every clip has them all."""

    def clips(self) -> Iterator[ClipTexts]:
        """Clips with the texts that the format can hold."""

    def fetched(self, clips: Iterable[ClipTexts]) -> Iterator[Sample]:
        """The same, with their files put in place; without those whose file could not be made."""

    def samples(self) -> Iterator[Sample]:
        """`fetched` of all clips."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A format: what it is for, what it can hold, and the function that writes it."""

    name: str
    trainer: str  # who reads it
    needs: str  # what there is to know before and after
    task: Task
    write: Callable[[Source], None]
    text: TextRule = AS_IT_IS
    suffixes: tuple[str, ...] = MP4  # of video files that the trainer opens
    video_folder: str = "clips"  # below the data set's
    frame_multiple: int = 1  # clips have this many frames times N, and one
    takes_spans: bool = False  # rows can name a part of a file
    takes_several: bool = False  # captions of one clip
    takes_columns: bool = False
    takes_all_levels: bool = False  # a clip without one of --levels is left out
    needs_size: bool = False  # rows say width, height and rate of the video
    needs_files: bool = True  # False: without --cut the labels' own paths will do, and no file is touched
    names_file_once: bool = False  # a file has one text, because both have one name
    packs_videos: bool = False  # into files of its own
    refuse_folder: Callable[[Path], str | None] = lambda folder: None  # why the trainer cannot read from there

    def __str__(self) -> str:
        """For `--list`."""
        task = {"caption": "captions", "qa": "questions and answers", "both": "captions, questions and answers"}
        facts = [task[self.task], f"videos {' '.join(self.suffixes) or 'of any kind'}"]
        if self.frame_multiple > 1:
            facts.append(f"--cut exact: {self.frame_multiple}N+1 frames")
        if self.task == "caption":
            facts.append("several captions a clip" if self.takes_several else "one caption a clip")
        rule = "; ".join(filter(None, [self.text.changes, self.text.drops and f"left out: {self.text.drops}"]))
        lines = [f"{self.name:16} {self.trainer}", "; ".join(facts), f"needs: {self.needs}", rule and f"texts: {rule}"]
        return "\n    ".join(filter(None, lines))


def no_commas(folder: Path) -> str | None:
    """For trainers whose list of folders has a pair a line."""
    return "the trainer splits its list of folders at commas" if "," in str(folder) else None
