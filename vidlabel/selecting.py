"""`--where` and `--signals` as typed -> which clips are wanted, and what is measured of each.

A name in the condition is a fact of the clip, else a column of the manifest, else a signal, which is then measured. A
signal that `--signals` names is measured whatever the manifest says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from vidlabel.columns import kind_of, unify
from vidlabel.data import Video
from vidlabel.labels import LABEL_SCHEMA
from vidlabel.selection import EVERYTHING, FACTS, Selection
from vidlabel.signals.table import SIGNALS, parse_signals
from vidlabel.where.binding import Kind, bind
from vidlabel.where.parsing import parse

_KINDS: Mapping[str, Kind] = {"float": "number", "int": "number", "bool": "truth", "string": "text"}
_OF_SIGNALS: Mapping[str, Kind] = {signal.name: _KINDS[signal.kind] for signal in SIGNALS}
_HIDDEN = "manifest_"  # before a column of the manifest whose name is taken, as in the labels


def select(where: str | None, signals: str | None, videos: Iterable[Video]) -> tuple[Selection, tuple[str, ...]]:
    """The selection, and the signals to measure. The videos are gone through only for the columns of their manifest."""
    asked = () if signals is None else parse_signals(signals)
    if where is None:
        return EVERYTHING, asked
    parsed = parse(where)
    own: dict[str, Kind] = {**FACTS, **{name: _OF_SIGNALS[name] for name in asked}}
    columns = {} if parsed.columns.keys() <= own.keys() else _manifest_kinds(videos)
    there = {_HIDDEN + name if name in own or name in LABEL_SCHEMA.names else name: name for name in columns}
    kinds: dict[str, Kind] = {**_OF_SIGNALS, **{shown: columns[name] for shown, name in there.items()}, **own}
    bound = bind(parsed, kinds)
    from_manifest = {shown: name for shown, name in there.items() if shown in bound.kinds}
    selection = Selection(bound, from_manifest)
    if from_manifest:
        for video in videos:
            selection.reject_video(video)  # an InputError where a value is not of its kind, before any work
    needed = {name for name in bound.kinds if name in _OF_SIGNALS and name not in from_manifest}
    return selection, parse_signals(",".join(needed | set(asked))) if needed | set(asked) else ()


def _manifest_kinds(videos: Iterable[Video]) -> dict[str, Kind]:
    found: dict[str, str] = {}
    for video in videos:
        for name, value in video.extra.items():
            found[name] = unify(found.get(name, "null"), kind_of(value))
    return {name: _kind(kind) for name, kind in found.items()}


def _kind(stored: str) -> Kind:
    """Texts may be numbers, as all of a csv file's are; what is missing everywhere is of any kind."""
    if stored.startswith("list:"):
        return "numbers" if stored.removeprefix("list:") in ("int", "float", "bigint") else "texts"
    return "truth" if stored == "bool" else "number" if stored in ("int", "float", "bigint") else "cell"
