"""What is known of a set of labels as a whole: what it was made with, and what is still missing in it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import vidlabel
from vidlabel.columns import Kinds
from vidlabel.labels import escape_name, unescape_name

STEPS = "vidlabel.steps"  # what filter and check did to a file, in order, as JSON


@dataclass(frozen=True, slots=True)
class OutputInfo:
    """What is known of a set of labels as a whole."""

    settings_json: str
    incomplete_videos: frozenset[str] = frozenset()  # with rows, but a run ended before all of theirs were made
    kinds: Kinds = field(default_factory=dict, hash=False)  # of the manifest's own columns
    has_spans: bool = (
        False  # some rows are of spans that a manifest named: rows do not tell that a video is wholly done
    )
    version: str = field(default=vidlabel.__version__, compare=False)  # of the last vidlabel that wrote it
    is_reworked: bool = False  # by `filter` or `check`: rows that a run made may be missing

    def to_metadata(self) -> dict[str, str]:
        """As parquet metadata."""
        return {
            "vidlabel.settings": self.settings_json,
            "vidlabel.version": self.version,
            "vidlabel.incomplete_videos": json.dumps(self._escaped_videos()),
            "vidlabel.extra_kinds": json.dumps(self.kinds),
            "vidlabel.has_spans": json.dumps(self.has_spans),
        }

    @classmethod
    def from_metadata(cls, metadata: Mapping[bytes, bytes]) -> OutputInfo:
        settings_json = metadata[b"vidlabel.settings"].decode()
        json.loads(settings_json)
        return cls(
            settings_json=settings_json,
            incomplete_videos=_unescaped(json.loads(metadata.get(b"vidlabel.incomplete_videos", b"[]"))),
            kinds=json.loads(metadata.get(b"vidlabel.extra_kinds", b"{}")),
            has_spans=json.loads(metadata.get(b"vidlabel.has_spans", b"false")),
            version=metadata[b"vidlabel.version"].decode(),
            is_reworked=bool(json.loads(metadata.get(STEPS.encode(), b"[]"))),
        )

    def to_json(self) -> str:
        """As a side file."""
        values = {
            "settings": json.loads(self.settings_json),
            "version": self.version,
            "incomplete_videos": self._escaped_videos(),
            "extra_kinds": self.kinds,
            "has_spans": self.has_spans,
        }
        return json.dumps(values, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> OutputInfo:
        values = json.loads(text)
        return cls(
            settings_json=json.dumps(values["settings"], sort_keys=True, ensure_ascii=False),
            incomplete_videos=_unescaped(values["incomplete_videos"]),
            kinds=dict(values["extra_kinds"]),
            has_spans=values["has_spans"],
            version=values["version"],
            is_reworked=bool(values.get(STEPS.removeprefix("vidlabel."))),
        )

    def _escaped_videos(self) -> list[str]:
        return sorted(escape_name(video_id) for video_id in self.incomplete_videos)


def _unescaped(video_ids: Iterable[str]) -> frozenset[str]:
    return frozenset(unescape_name(video_id) for video_id in video_ids)
