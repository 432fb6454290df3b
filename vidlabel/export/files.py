"""The files that formats are made of, whole or absent, and written a row at a time."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TextIO

from vidlabel.atomic import whole_file
from vidlabel.jsonl import json_line

Row = Mapping[str, object]


@contextmanager
def together(*paths: Path) -> Iterator[list[TextIO]]:
    """Files that are read side by side: old ones are gone before the first new one is there, so they always match."""
    with ExitStack() as files:
        besides = [files.enter_context(whole_file(path)) for path in paths]
        with ExitStack() as stack:
            yield [stack.enter_context(beside.open("w", encoding="utf-8", newline="\n")) for beside in besides]
        for path in paths if len(paths) > 1 else ():
            path.unlink(missing_ok=True)


def write_jsonl(path: Path, rows: Iterable[Row]) -> None:
    with together(path) as [file]:
        file.writelines(json_line(dict(row)) for row in rows)


def write_array(path: Path, rows: Iterable[Row]) -> None:
    with together(path) as [file]:
        write_items(file, rows)


def write_items(file: TextIO, rows: Iterable[Row]) -> None:
    """One JSON list, a row a line."""
    mark = "[\n"
    for row in rows:
        file.write(mark + json_line(dict(row)).rstrip("\n"))
        mark = ",\n"
    file.write("[]\n" if mark == "[\n" else "\n]\n")


def write_csv(path: Path, names: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with together(path) as [file]:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(rows)


def write_if_new(path: Path, text: str) -> None:
    """A small file beside each video. Not synced, for there are many: the next export reads each again."""
    try:
        if path.read_text(encoding="utf-8") == text:
            return
    except (FileNotFoundError, UnicodeDecodeError):
        pass
    beside = path.with_name(f".{path.name}.tmp")
    beside.write_text(text, encoding="utf-8", newline="\n")
    beside.replace(path)


def remove_others(folder: Path, names: Container[str]) -> None:
    """Of an earlier export with more clips: a trainer that lists the folder would miss their other half."""
    with os.scandir(folder) as entries:
        for path in [Path(entry.path) for entry in entries if entry.name not in names]:
            path.unlink()


def toml_text(text: str) -> str:
    return json.dumps(text, ensure_ascii=True)
