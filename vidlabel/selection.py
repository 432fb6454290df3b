"""Which clips a run labels: the condition of `--where`, decided as soon as what it asks about is known.

before the file is opened     the manifest's columns, video_id, video_path
before scenes are looked for  width, height, fps, video_seconds, codec
before frames are read        clip_id, start_seconds, end_seconds, seconds
with the frames               signals
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from vidlabel.data import Clip, Video, VideoInfo, stable_id
from vidlabel.errors import InputError
from vidlabel.labels import escape_name
from vidlabel.where.binding import Kinds, Where
from vidlabel.where.rows import Value, as_kind

OF_THE_VIDEO: Kinds = {"video_id": "text", "video_path": "text"}
OF_THE_FILE: Kinds = {
    "width": "number",
    "height": "number",
    "fps": "number",
    "video_seconds": "number",
    "codec": "text",
}
OF_THE_CLIP: Kinds = {"clip_id": "text", "start_seconds": "number", "end_seconds": "number", "seconds": "number"}
FACTS: Kinds = {**OF_THE_VIDEO, **OF_THE_FILE, **OF_THE_CLIP}


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a clip, or all of a video, is not labelled."""

    part: str  # of the condition: the first that is not met
    values: Mapping[str, Value] = field(default_factory=dict, hash=False)  # that it looked at

    @property
    def reason(self) -> str:
        said = [f"{name} is {_said(value)}" for name, value in self.values.items()]
        return f"{self.part} ({', '.join(said)})" if said else self.part


@dataclass(frozen=True, slots=True)
class Selection:
    """Crosses to workers. Without a condition every clip is labelled."""

    where: Where | None = None
    from_manifest: Mapping[str, str] = field(default_factory=dict, hash=False)  # name in the condition -> column there

    @property
    def text(self) -> str | None:
        return None if self.where is None else self.where.text

    @property
    def asks_the_file(self) -> bool:
        """Whether some part is decided by what the file says of itself, before its scenes are known."""
        early = {*OF_THE_FILE, *OF_THE_VIDEO, *self.from_manifest}
        parts = () if self.where is None else self.where.parts
        return any(part.columns.keys() <= early and part.columns.keys() & OF_THE_FILE.keys() for part in parts)

    def key(self, video: Video, settings_fingerprint: str) -> str:
        """What its decisions depend on, beside the file: the same key, the same decisions. "" without a condition."""
        if self.where is None:
            return ""
        values = json.dumps(self._manifest(video), sort_keys=True)
        return stable_id(self.where.text, values, settings_fingerprint)

    def reject_video(self, video: Video) -> Rejection | None:
        return self._reject(self._of_video(video)) if self.where is not None else None

    def reject_file(self, video: Video, info: VideoInfo) -> Rejection | None:
        return self._reject(self._of_video(video) | _of_file(info)) if self.where is not None else None

    def reject_clip(self, clip: Clip) -> Rejection | None:
        return self._reject(self._of_clip(clip)) if self.where is not None else None

    def reject_frames(self, clip: Clip, signals: Mapping[str, object]) -> Rejection | None:
        if self.where is None:
            return None
        kinds = self.where.kinds
        measured = {name: as_kind(signals[name], kind) for name, kind in kinds.items() if name in signals}
        return self._reject(dict.fromkeys(kinds) | measured | self._of_clip(clip))  # what was not measured is missing

    def _reject(self, row: Mapping[str, Value]) -> Rejection | None:
        assert self.where is not None
        failed = self.where.failed(row)
        return None if failed is None else Rejection(failed.text, {name: row[name] for name in failed.columns})

    def _of_clip(self, clip: Clip) -> dict[str, Value]:
        own: dict[str, Value] = {
            "clip_id": escape_name(clip.clip_id),
            "start_seconds": clip.start_seconds,
            "end_seconds": clip.end_seconds,
            "seconds": clip.seconds,
        }
        return own | _of_file(clip.info) | self._of_video(clip.video)

    def _of_video(self, video: Video) -> dict[str, Value]:
        # as the labels have them
        own: dict[str, Value] = {"video_id": escape_name(video.video_id), "video_path": escape_name(video.path)}
        return own | self._manifest(video)

    def _manifest(self, video: Video) -> dict[str, Value]:
        assert self.where is not None
        values: dict[str, Value] = {}
        for name, column in self.from_manifest.items():
            try:
                values[name] = as_kind(video.extra.get(column), self.where.kinds[name])
            except ValueError as error:
                raise InputError(f"--where: the manifest's column {column} of {video.path}: {error}") from error
        return values


EVERYTHING = Selection()


def _of_file(info: VideoInfo) -> dict[str, Value]:
    return {
        "width": float(info.width),
        "height": float(info.height),
        "fps": info.fps,
        "video_seconds": info.video_seconds,
        "codec": info.codec,
    }


def _said(value: Value) -> str:
    if value is None:
        return "missing"
    if isinstance(value, bool):
        return str(value).lower()
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 80 else f"{text[:80]}..."
