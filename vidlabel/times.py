"""Reads the times that manifests hold: seconds, or hours, minutes and seconds with colons."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from decimal import Decimal

_CLOCK = re.compile(r"(?:(\d{1,6}):)?(\d{1,6}):(\d{1,2})(?:[.,](\d{1,12}))?", re.ASCII)
_SECONDS = re.compile(r"\d{1,12}(?:\.\d{0,18})?|\.\d{1,18}", re.ASCII)


def parse_time(value: object) -> float | None:
    """Seconds; None for an empty cell. ValueError says what is wrong, without naming where.

    83.5, "83.5", "1:23.5", "0:01:23.500" and "00:01:23,500" are all the same time.
    """
    if isinstance(value, str):
        text = value.strip()
        return None if text in ("", "nan", "NaN") else _parse_text(text)
    if value is None:
        return None
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise ValueError(f"{value!r} is no time; seconds or H:MM:SS.mmm is needed")
    if math.isnan(value):
        return None
    seconds = float(value)
    if not 0 <= seconds < math.inf:
        raise ValueError(f"{value!r} is no time; it must be 0 or later")
    return seconds


def _parse_text(text: str) -> float:
    if _SECONDS.fullmatch(text):
        return float(text)
    clock = _CLOCK.fullmatch(text)
    if clock is None:
        raise ValueError(f"{text!r} is no time; seconds or H:MM:SS.mmm is needed, 0 or later")
    hours, minutes, seconds, fraction = clock.groups(default="0")
    if int(seconds) >= 60 or (clock[1] is not None and int(minutes) >= 60):
        raise ValueError(f"{text!r} is no time; minutes and seconds go up to 59")
    # read as one number, so that it is the double nearest to what is written, which a sum is not
    return float(f"{(int(hours) * 60 + int(minutes)) * 60 + int(seconds)}.{fraction}")
