"""Files of conversations, as LLaVA, LLaVA-Video, Qwen-VL, LLaMA-Factory and `vidlabel export` write them -> plain rows,
one for each question and its answer.

    {"video": "a.mp4", "conversations": [{"from": "human", "value": "<image>\\nWhat?"}, {"from": "gpt", ...}]}
    {"videos": ["a.mp4"], "messages": [{"role": "user", "content": "<video>What?"}, {"role": "assistant", ...}]}
    {"video": "a.mp4", "conversation": [{"question": "What?", "answer": "A dog."}], "start_seconds": 1, ...}

What is asked later is taken alone, without what was said before. A picture's only pair counts as its caption too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from vidlabel.data import Task
from vidlabel.errors import InputError
from vidlabel.manifest_rows import NumberedRow
from vidlabel.paths import row_name
from vidlabel.train.examples import ExampleTally

_KEYS = ("conversations", "messages", "conversation")
_SNIFF = re.compile(rf'"(?:{"|".join(_KEYS)})"\s*:\s*\[')
_HEAD = 1 << 16  # characters of a file, in which its first entry shows what it is
_MARK = re.compile(r"\s*<(?:image|video)>\s*")
_ASKS, _ANSWERS = frozenset({"human", "user"}), frozenset({"gpt", "assistant"})
_SPAN = ("start", "end", "start_seconds", "end_seconds")
NO_FILE, SEVERAL, NOT_CAPTIONS = "show nothing", "show several things at once", "are conversations, not captions"

Row = Mapping[str, object]


def holds_conversations(file: str) -> bool:
    """Of a .json file, by its beginning: such files are large."""
    try:
        with Path(file).open(encoding="utf-8", errors="replace") as stream:
            return _SNIFF.search(stream.read(_HEAD)) is not None
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}") from error


def is_conversation(row: Row) -> bool:
    return any(isinstance(row.get(key), list) for key in _KEYS)


def json_entries(file: str) -> Iterator[NumberedRow]:
    try:
        entries = json.loads(Path(file).read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{file}: cannot be read as JSON: {error}") from error
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(f"{file}: should be a list of objects, one a conversation")
    yield from enumerate(entries, start=1)


def plain_rows(file: str, rows: Iterator[NumberedRow], task: Task, tally: ExampleTally) -> Iterator[NumberedRow]:
    """As a manifest with `video` or `image`, and `question` and `answer`, or `caption` and `instruction`, has them."""
    for number, row in rows:
        where = row_name(file, number)
        seen = _seen(row)
        if len(seen) != 1:
            tally.leave_out(SEVERAL if seen else NO_FILE, where)
            continue
        ((column, path),) = seen
        pairs = list(_pairs(row, where))
        shown: dict[str, object] = {column: path, **{name: row[name] for name in _SPAN if name in row}}
        if task == "qa":
            for question, answer in pairs:
                yield number, {**shown, "question": question, "answer": answer}
        elif column == "image" and len(pairs) == 1:
            yield number, {**shown, "instruction": pairs[0][0], "caption": pairs[0][1]}
        else:
            tally.leave_out(NOT_CAPTIONS, where)


def _seen(row: Row) -> list[tuple[str, object]]:
    """What an entry shows: under the name of a manifest's column."""
    found: list[tuple[str, object]] = []
    for column in ("video", "image"):
        for value in (row.get(column), row.get(f"{column}s")):
            found += [(column, one) for one in (value if isinstance(value, list) else [value]) if one]
    return found


def _pairs(row: Row, where: str) -> Iterator[tuple[str, str]]:
    turns = next((value for key in _KEYS if isinstance(value := row.get(key), list)), None)
    if turns is None or not all(isinstance(turn, dict) for turn in turns):
        raise InputError(f"{where}: should have a list of turns, as {' or '.join(_KEYS)}")
    asked: str | None = None
    for turn in turns:
        if "question" in turn:
            yield _text(turn["question"], where), _text(turn.get("answer"), where)
            continue
        role = turn.get("from", turn.get("role"))
        said = turn.get("value", turn.get("content"))
        if role in _ASKS:
            asked = _text(said, where)
        elif role in _ANSWERS and asked:
            yield asked, _text(said, where)
            asked = None


def _text(said: object, where: str) -> str:
    """Without the marks of where the picture goes; of a list of parts its texts."""
    if isinstance(said, Sequence) and not isinstance(said, str):
        said = "\n".join(str(part.get("text")) for part in said if isinstance(part, dict) and part.get("text"))
    if said is not None and not isinstance(said, str):
        raise InputError(f"{where}: a turn should hold a text, got {said!r:.60}")
    return _MARK.sub("\n", said or "").strip()
