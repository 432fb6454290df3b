"""The numbers of `vidlabel stats` as a table for people, and as JSON for machines."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import asdict

from vidlabel.tables.stats import Spread, Stats

_WIDTH = 110
_NAME = 20
_SHOWN = 10  # values of a column; JSON has them all


def to_json(stats: Stats) -> str:
    return json.dumps(asdict(stats), ensure_ascii=False, indent=2)


def to_text(stats: Stats) -> str:
    return "\n".join(_lines(stats))


def _lines(stats: Stats) -> Iterator[str]:
    yield _line("labels" if stats.has_texts else "rows", f"{stats.labels:>12,}")
    for name, count in (("clips", stats.clips), ("videos", stats.videos)):
        if count is not None:
            yield _line(name, f"{count:>12,}")
    if stats.clip_hours is not None:
        yield _line("hours of clips", f"{stats.clip_hours:>12,.2f}")
    if stats.video_hours is not None:
        yield _line("hours of videos", f"{stats.video_hours:>12,.2f}")
    for name, counts in stats.by.items():
        yield from _shares(name.replace("_", " "), counts, stats.labels)
    yield from _spreads(stats)
    if stats.flags is not None:
        yield from _shares("flag", stats.flags, stats.labels)
        yield _line("  clean", _share(stats.clean or 0, stats.labels))
    if stats.has_texts:
        yield from _texts(stats)
    yield from _failures(stats)


def _spreads(stats: Stats) -> Iterator[str]:
    rows: list[tuple[str, Spread | None, int]] = [
        ("words", stats.words, 0),
        ("characters", stats.characters, 0),
        ("seconds of a clip", stats.clip_seconds, 2),
        *((name, spread, 3) for name, spread in [*stats.scores.items(), *stats.signals.items()]),
    ]
    if not any(spread for _, spread, _ in rows):
        return
    heads = ("mean", "least", "quarter", "median", "3 quarters", "most")
    yield ""
    yield f"{'':{_NAME}}" + "".join(f"{head:>12}" for head in heads)
    for name, spread, digits in rows:
        if spread is not None:
            numbers = (spread.least, spread.lower_quartile, spread.median, spread.upper_quartile, spread.most)
            cells = [f"{spread.mean:,.{max(digits, 1)}f}", *(f"{number:,.{digits}f}" for number in numbers)]
            yield f"{name:{_NAME}}" + "".join(f"{cell:>12}" for cell in cells)


def _texts(stats: Stats) -> Iterator[str]:
    yield ""
    yield _line("different texts", f"{stats.distinct_texts:>12,}")
    yield _line("labels that share", _share(stats.repeated_labels, stats.labels))
    for repeated in stats.most_repeated:
        text = textwrap.shorten(repeated.text, _WIDTH - _NAME - 12, placeholder=" ...")
        yield _line(f"  {repeated.labels:,} x", text)
    words = stats.vocabulary
    yield _line("different words", f"{words.num_distinct:,} of {words.num_words:,}")
    if words.type_token_ratio is not None:
        yield _line("", f"{words.type_token_ratio:.3f} different ones a word, in a sample of {words.sample_words:,}")
    frequent = ", ".join(f"{word} {count:,}" for word, count in words.most_frequent.items())
    for number, line in enumerate(textwrap.wrap(frequent, _WIDTH - _NAME)):
        yield _line("" if number else "most frequent", line)


def _failures(stats: Stats) -> Iterator[str]:
    if (failures := stats.failures) is not None:
        yield ""
        yield _line("failures", f"{failures.total:,}, {failures.permanent:,} of them for good")
        yield from _shares("stage", failures.by_stage, failures.total)
        yield from _shares("reason", failures.by_reason, failures.total)


def _shares(title: str, counts: Mapping[str, int], total: int) -> Iterator[str]:
    yield ""
    yield title
    for value, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:_SHOWN]:
        yield _line(f"  {textwrap.shorten(value, _WIDTH - 24, placeholder=' ...') or '(empty)'}", _share(count, total))
    if len(counts) > _SHOWN:
        yield f"  and {len(counts) - _SHOWN} others"


def _share(count: int, total: int) -> str:
    return f"{count:>12,}{count / (total or 1):>9.2%}"


def _line(name: str, value: str) -> str:
    return f"{name:{_NAME}}  {value}".rstrip()
