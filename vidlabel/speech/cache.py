"""The speech found so far, saved in the work folder, so that a resumed run does not listen again.

Kept for a file, not for a manifest's row: all spans of a file share it. A file whose size or modification time changed
is listened to again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import pyarrow as pa

from vidlabel.data import Cue, stable_id
from vidlabel.parts import PartSaver, whole_parts
from vidlabel.speech.transcribing import Speech

_CUE = pa.struct([("start_seconds", pa.float64()), ("end_seconds", pa.float64()), ("text", pa.string())])
_SCHEMA = pa.schema([("key", pa.string()), ("language", pa.string()), ("cues", pa.list_(_CUE))])


class SpeechCache:
    """`get` gives what an earlier or this run `put`, or None. Keys are from `speech_key`."""

    def __init__(self, folder: Path, *, flush_seconds: float = 60.0) -> None:
        self._tables: list[pa.Table] = []
        self._where: dict[str, tuple[int, int]] = {}  # key -> table, row; cues stay in arrow's compact form
        self._fresh: dict[str, Speech] = {}
        for _, table in whole_parts(folder, _SCHEMA.names, "speech"):
            self._index(table)
        self._saver = PartSaver[dict[str, Any]](folder, "speech", self._to_table, flush_seconds=flush_seconds)

    def get(self, key: str) -> Speech | None:
        speech = self._fresh.get(key)  # before the tables: the saver's clock moves rows from here to there
        if speech is not None:
            return speech
        if key not in self._where:
            return None
        number, row = self._where[key]
        table = self._tables[number]
        cues = tuple(Cue(**cue) for cue in table["cues"][row].as_py())
        return Speech(cues, table["language"][row].as_py())

    def put(self, key: str, speech: Speech) -> None:
        if key in self._where or key in self._fresh:
            return
        cues = [{"start_seconds": c.start_seconds, "end_seconds": c.end_seconds, "text": c.text} for c in speech.cues]
        self._fresh[key] = speech
        self._saver.add({"key": key, "language": speech.language, "cues": cues})

    def flush(self) -> None:
        self._saver.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.flush()

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


def speech_key(location: str, whisper_fingerprint: str) -> str | None:
    """Everything the speech of a file depends on: the file as it is now, and the model. None: there is no such file."""
    try:
        status = Path(location).stat()
    except OSError:
        return None
    return stable_id(location, str(status.st_size), str(status.st_mtime_ns), whisper_fingerprint)
