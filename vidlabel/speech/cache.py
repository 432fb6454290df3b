"""The speech found so far, saved in the work folder, so that a resumed run does not listen again.

Kept for a file, not for a manifest's row: all spans of a file share it. A file whose size or modification time changed
is listened to again.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pyarrow as pa

from vidlabel.data import Cue, stable_id
from vidlabel.remote import known_version
from vidlabel.row_cache import RowCache
from vidlabel.speech.transcribing import Speech

_CUE = pa.struct([("start_seconds", pa.float64()), ("end_seconds", pa.float64()), ("text", pa.string())])
_SCHEMA = pa.schema([("key", pa.string()), ("language", pa.string()), ("cues", pa.list_(_CUE))])


class SpeechCache(RowCache):
    """`get` gives what an earlier or this run `put`, or None. Keys are from `speech_key`."""

    def __init__(self, folder: Path, *, flush_seconds: float = 60.0) -> None:
        super().__init__(folder, "speech", _SCHEMA, flush_seconds=flush_seconds)

    def get(self, key: str) -> Speech | None:
        row = self.row(key)
        return None if row is None else Speech(tuple(Cue(**cue) for cue in row["cues"]), row["language"])

    def put(self, key: str, speech: Speech) -> None:
        self.add({"key": key, "language": speech.language, "cues": [asdict(cue) for cue in speech.cues]})


def speech_key(location: str, whisper_fingerprint: str) -> str | None:
    """Everything the speech of a file depends on: the file as it is now, and the model. None: there is no such file."""
    version = known_version(location)
    return None if version is None else stable_id(location, *version.split(), whisper_fingerprint)
