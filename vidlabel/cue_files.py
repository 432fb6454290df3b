"""Reads WebVTT and SubRip files as they are found: any line ends, several encodings, damaged lines.

What a file is, is taken from its content and not from its name. Tags, styles, karaoke times and speaker names go,
the words stay; `[Music]` and the like are words, for they tell what is heard. X-TIMESTAMP-MAP is not applied: it ties
one segment to a transport stream, and beside a whole video the cue times count from the video's start.
"""

from __future__ import annotations

import html
import re
import stat
from dataclasses import dataclass
from pathlib import Path

_MAX_BYTES = 64 << 20  # a day of speech is 1 MB
_TIME = r"(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2})(?:[.,:](\d{1,9}))?"
_TIMING = re.compile(rf"\s*{_TIME}\s*-{{1,2}}>\s*{_TIME}(?:\s.*)?")
_TAG = re.compile(
    r"</?(?:[A-Za-z][^<>]*|\d[\d:.]*)?>|\{\\[^{}]*\}"
)  # <i> </v> <v Bob> <00:00:01.000> {\an8}; not "a < b"
_INVISIBLE = re.compile("[\u200b\u200e\u200f\u2060\ufeff\x00]")


@dataclass(frozen=True, slots=True)
class ShownCue:
    """One cue as it stands on the screen, in its lines; rolling captions repeat lines of the cue before."""

    start_seconds: float
    end_seconds: float
    lines: tuple[str, ...]


def read_cue_file(path: Path) -> list[ShownCue]:
    """The cues in order of time. OSError when the file cannot be read, ValueError when it is no cue file."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("not a regular file")  # a pipe would be waited for without end
    if status.st_size > _MAX_BYTES:
        raise ValueError(f"{status.st_size} bytes are too many for a subtitle file")
    return parse_cues(decode_text(path.read_bytes()))


def parse_cues(text: str) -> list[ShownCue]:
    lines = re.split(r"\r\n|\r|\n", text.removeprefix("\ufeff"))
    is_vtt = lines[0].startswith("WEBVTT")
    cues: list[ShownCue] = []
    at = 0
    while at < len(lines):
        timing = _TIMING.fullmatch(lines[at])
        at += 1
        if timing is None:
            continue  # a header, a counter, a NOTE, STYLE or REGION block, junk
        first = at
        at = _end_of_payload(lines, at, is_vtt=is_vtt)
        shown = clean_lines(lines[first:at])
        start, end = _seconds(*timing.groups()[:4]), _seconds(*timing.groups()[4:])
        if shown and end > start:
            cues.append(ShownCue(start, end, shown))
    if not cues and text.strip() and not is_vtt and not any(_TIMING.fullmatch(line) for line in lines):
        raise ValueError("no cue in it; WebVTT or SubRip is expected")
    return sorted(cues, key=lambda cue: (cue.start_seconds, cue.end_seconds))


def _end_of_payload(lines: list[str], at: int, *, is_vtt: bool) -> int:
    """WebVTT ends a cue at an empty line (a line of spaces is none); SubRip in the wild has empty lines in a cue."""
    first = at
    while at < len(lines) and not _TIMING.fullmatch(lines[at]):
        if is_vtt and not lines[at]:
            return at
        at += 1
    if at < len(lines) and at > first and lines[at - 1].strip().isdigit():
        return at - 1  # the next cue's counter
    return at


def clean_lines(lines: list[str]) -> tuple[str, ...]:
    """The words of each line that has any."""
    shown = []
    for line in lines:
        words = html.unescape(_TAG.sub("", line.replace("\\N", " ").replace("\\h", " ")))
        words = " ".join(_INVISIBLE.sub("", words).split())
        if words:
            shown.append(words)
    return tuple(shown)


def _seconds(hours: str | None, minutes: str, seconds: str, fraction: str | None) -> float:
    # in whole milliseconds first, so that 1.005 is 1005 ms and not 1004
    millis = round(int((fraction or "0").ljust(9, "0")) / 1e6)
    return (((int(hours or 0) * 60 + int(minutes)) * 60 + int(seconds)) * 1000 + millis) / 1000


def decode_text(data: bytes) -> str:
    """Unicode by its mark or its look, else GB18030 or Windows-1252 where the text looks like it, else ValueError."""
    for mark, encoding in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if data.startswith(mark):
            return data.decode(encoding, errors="replace" if encoding == "utf-8-sig" else "strict")
    head = data[:4096]
    if head[1::2].count(0) > len(head) // 4:  # the digits of the times have a zero byte each
        return data.decode("utf-16-le")
    if head[0::2].count(0) > len(head) // 4:
        return data.decode("utf-16-be")
    for encoding, looks_right in (("utf-8", None), ("gb18030", _looks_chinese), ("cp1252", _looks_western)):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if looks_right is None or looks_right(text):
            return text
    raise ValueError("its encoding is not known; save it as UTF-8")


def _looks_chinese(text: str) -> bool:
    """Mostly the everyday characters, which stand in rows B0 to D7 of GB 2312. Big5 and Japanese read as GB do not
    (Japanese has kana); Korean does, but never beyond row C8, where two in five characters of real Chinese are."""
    rows = [char.encode("gb18030")[0] for char in text if "\u3040" <= char <= "\u9fff"]
    everyday = sum(0xB0 <= row <= 0xD7 for row in rows)
    late = sum(0xC8 < row <= 0xD7 for row in rows)
    return everyday > 0.8 * len(rows) > 0 and (len(rows) < 20 or late > 0.1 * len(rows))


def _looks_western(text: str) -> bool:
    """Accents are rare among Western letters; another alphabet read as Windows-1252 is nothing but accents."""
    letters = [char for char in text if char.isalpha() or 0x9F < ord(char) < 0x100]
    return sum(ord(char) > 0x7F for char in letters) <= 0.3 * len(letters)
