"""The clips found so far, saved in the work folder, so that a resumed run does not detect scenes again.

A file whose size or modification time changed is detected again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from vidlabel.config import SceneSettings
from vidlabel.data import Clip, Video, VideoInfo, stable_id
from vidlabel.remote import known_version
from vidlabel.row_cache import RowCache

_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        (
            "clips",
            pa.list_(
                pa.struct(
                    [
                        ("clip_id", pa.binary()),  # bytes, since an id made of a file name need not be text
                        ("start_seconds", pa.float64()),
                        ("end_seconds", pa.float64()),
                        ("width", pa.int32()),
                        ("height", pa.int32()),
                        ("fps", pa.float64()),
                        ("video_seconds", pa.float64()),
                        ("codec", pa.string()),
                    ]
                )
            ),
        ),
    ]
)


class ScenesCache(RowCache):
    """`get` gives the clips that an earlier or this run `put`, or None."""

    def __init__(self, folder: Path, settings: SceneSettings, *, flush_seconds: float = 60.0) -> None:
        super().__init__(folder, "scenes", _SCHEMA, flush_seconds=flush_seconds)
        self._settings = json.dumps(asdict(settings), sort_keys=True)

    def get(self, video: Video) -> list[Clip] | None:
        key = self.key(video)
        row = None if key is None else self.row(key)
        return None if row is None else [_clip(video, clip) for clip in row["clips"]]

    def put(self, video: Video, clips: Sequence[Clip]) -> None:
        key = self.key(video)
        if key is not None:  # else the file is gone
            self.add({"key": key, "clips": [_row(clip) for clip in clips]})

    def is_current(self, video: Video) -> bool:
        """Whether the file is still the one whose clips are here."""
        key = self.key(video)
        return key is not None and self.has(key)

    def key(self, video: Video) -> str | None:
        """Everything the clips depend on: the file as it is now, the span asked for, the settings. None: no file."""
        version = known_version(video.location)
        if version is None:
            return None
        return stable_id(
            video.video_id,
            video.location,
            repr(video.span),
            video.clip_id or "",
            *version.split(),
            self._settings,
        )


def _row(clip: Clip) -> dict[str, Any]:
    return {
        "clip_id": clip.clip_id.encode("utf-8", "surrogatepass"),
        "start_seconds": clip.start_seconds,
        "end_seconds": clip.end_seconds,
        **asdict(clip.info),
    }


def _clip(video: Video, row: dict[str, Any]) -> Clip:
    return Clip(
        clip_id=row["clip_id"].decode("utf-8", "surrogatepass"),
        video=video,
        info=VideoInfo(
            width=row["width"],
            height=row["height"],
            fps=row["fps"],
            video_seconds=row["video_seconds"],
            codec=row["codec"],
        ),
        start_seconds=row["start_seconds"],
        end_seconds=row["end_seconds"],
    )
