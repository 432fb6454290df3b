"""What an exporter works with: a clip with the texts that were said of it, and the file that shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from vidlabel.data import stable_id

WHOLE_SECONDS = 0.05  # a clip that lacks less than that of its video is the whole video

# a caption's question is the instruction that it was an answer to
Said = tuple[Literal["caption", "qa"], str | None, str, str | None]  # task, question, text, level


@dataclass(frozen=True, slots=True)
class ClipTexts:
    """One clip and its labels, in the order of the file."""

    clip_id: str
    name: str  # of the clip's file, without suffix: see `file_name`
    video_path: str  # as the labels give it
    start_seconds: float
    end_seconds: float | None  # None: to the end of the video
    video_seconds: float | None
    width: int
    height: int
    fps: float
    said: tuple[Said, ...]
    columns: Mapping[str, object] = field(default_factory=dict, hash=False)

    @property
    def is_whole(self) -> bool:
        if self.end_seconds is None or self.video_seconds is None:
            return self.end_seconds is None and self.start_seconds <= WHOLE_SECONDS
        return self.end_seconds - self.start_seconds >= self.video_seconds - WHOLE_SECONDS

    @property
    def seconds(self) -> float:
        end = self.end_seconds if self.end_seconds is not None else self.video_seconds
        return max(0.0, (end or 0.0) - self.start_seconds)

    @property
    def captions(self) -> list[str]:
        return [text for task, _, text, _ in self.said if task == "caption"]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Questions and answers; a caption is an answer to its instruction."""
        return [(question or "", text) for _, question, text, _ in self.said]


def file_name(clip_id: str) -> str:
    """Hex digits: no reader sees the name of a split, a dot or a folder in them, and equal names in different folders
    stay apart."""
    return stable_id(clip_id)


@dataclass(frozen=True, slots=True)
class Media:
    """The file of a clip, and what is known of it."""

    file: str  # as the trainer's rows name it
    location: str  # where it is
    num_frames: int
    width: int
    height: int
    fps: float
    seconds: float
    span: tuple[float, float | None] | None = None  # the clip's, where the file shows more than the clip


@dataclass(frozen=True, slots=True)
class Sample:
    """A clip as it is exported."""

    clip: ClipTexts
    media: Media
