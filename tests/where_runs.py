"""Runs with a condition: their videos, a captioner that notes what it is shown, stages that must not be reached."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow.parquet as pq

from tests.make_videos import noise_scene, write_video
from tests.runs import echo_settings, job
from vidlabel.captioner import EchoCaptioner
from vidlabel.config import FrameSettings, SceneSettings
from vidlabel.data import Answer, AskedClip, Clip, Frames, Video
from vidlabel.errors import VideoError
from vidlabel.manifest import read_inputs
from vidlabel.run import Job, run
from vidlabel.selecting import select
from vidlabel.summary import Summary

DARK, BRIGHT = (24, 20, 22), (220, 214, 216)
NOT_DARK = "brightness > 0.4"


@dataclass(frozen=True, slots=True)
class NotingEcho:
    """Echo, and what it was shown."""

    shown: list[str] = field(default_factory=list)
    ends_after: int | None = None  # clips, and then the run breaks

    def answer(self, clips: Iterable[AskedClip]) -> Iterator[Answer]:
        return EchoCaptioner().answer(self._noted(clips))

    def _noted(self, clips: Iterable[AskedClip]) -> Iterator[AskedClip]:
        for asked in clips:
            if len(self.shown) == self.ends_after:
                raise BrokenPipeError("the machine breaks")
            self.shown.append(asked.clip.clip_id)
            yield asked


def dark_then_bright(path: Path, seed: int) -> Path:
    """2 x 1.2 s with a hard cut between."""
    path.parent.mkdir(parents=True, exist_ok=True)
    first = noise_scene(30, DARK, width=64, height=48, seed=seed)
    second = noise_scene(30, BRIGHT, width=64, height=48, seed=seed + 1000)
    return write_video(path, first + second)


def videos_of_both(folder: Path, count: int) -> Path:
    for number in range(count):
        dark_then_bright(folder / f"video{number:03}.mp4", number)
    return folder


def label_where(inputs: Path, made: Job, where: str | None, signals: str | None = None) -> Summary:
    videos = read_inputs([str(inputs)], root=None, lines=None)
    selection, names = select(where, signals, videos)
    settings = replace(made.settings, frames=replace(made.settings.frames, signals=names))
    return run(videos, replace(made, settings=settings, selection=selection))


def where_job(out: Path, captioner: NotingEcho | None = None, **changes: object) -> Job:
    return job(out, captioner=captioner or NotingEcho(), settings=echo_settings(), **changes)  # type: ignore[arg-type]


def skipped_rows(out: Path) -> list[dict[str, object]]:
    path = out.with_name(out.stem + ".skipped.parquet")
    return list(pq.read_table(path).to_pylist()) if path.exists() else []


def no_scenes(video: Video, settings: SceneSettings) -> list[Clip]:
    raise VideoError("its scenes were looked for")


def no_frames(clip: Clip, settings: FrameSettings) -> Frames:
    raise VideoError("its frames were read")


def spoil(folder: Path) -> None:
    """Whatever is opened from now on fails."""
    for path in folder.glob("*.mp4"):
        path.write_bytes(b"no video any more")
