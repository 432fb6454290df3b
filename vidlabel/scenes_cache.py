"""The clips found so far, saved in the work folder, so that a resumed run does not detect scenes again.

A file whose size or modification time changed is detected again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import pyarrow as pa

from vidlabel.config import SceneSettings
from vidlabel.data import Clip, Video, VideoInfo, stable_id
from vidlabel.parts import PartSaver, whole_parts

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


class ScenesCache:
    """`get` gives the clips that an earlier or this run `put`, or None."""

    def __init__(self, folder: Path, settings: SceneSettings, *, flush_seconds: float = 60.0) -> None:
        self._settings = json.dumps(asdict(settings), sort_keys=True)
        self._tables: list[pa.Table] = []
        self._where: dict[str, tuple[int, int]] = {}  # key -> table, row; the clips stay in arrow's compact form
        self._fresh: dict[str, list[dict[str, Any]]] = {}
        for _, table in whole_parts(folder, _SCHEMA.names, "scenes"):
            self._index(table)
        self._saver = PartSaver[dict[str, Any]](folder, "scenes", self._to_table, flush_seconds=flush_seconds)

    def get(self, video: Video) -> list[Clip] | None:
        key = self._key(video)
        if key is None:
            return None
        rows = self._fresh.get(key)  # before the tables: the saver's clock moves rows from here to there
        if rows is None:
            if key not in self._where:
                return None
            number, row = self._where[key]
            rows = self._tables[number]["clips"][row].as_py()
        return [_clip(video, row) for row in rows]

    def put(self, video: Video, clips: Sequence[Clip]) -> None:
        key = self._key(video)
        if key is None or key in self._where or key in self._fresh:
            return  # the file is gone, or nothing new
        rows = [_row(clip) for clip in clips]
        self._fresh[key] = rows
        self._saver.add({"key": key, "clips": rows})

    def flush(self) -> None:
        self._saver.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.flush()

    def _key(self, video: Video) -> str | None:
        """Everything the clips depend on: the file as it is now, the span asked for, the settings."""
        try:
            status = Path(video.location).stat()
        except OSError:
            return None
        return stable_id(
            video.video_id,
            video.location,
            repr(video.span),
            video.clip_id or "",
            str(status.st_size),
            str(status.st_mtime_ns),
            self._settings,
        )

    def _to_table(self, rows: list[dict[str, Any]]) -> pa.Table:
        table = pa.Table.from_pylist(rows, schema=_SCHEMA)
        self._index(table)
        for row in rows:
            self._fresh.pop(row["key"], None)
        return table

    def _index(self, table: pa.Table) -> None:
        number = len(self._tables)
        self._tables.append(table)
        self._where |= {key: (number, row) for row, key in enumerate(table["key"].to_pylist())}


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
