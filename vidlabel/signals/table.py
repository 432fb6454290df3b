"""The signals: their columns, ranges and meanings. What measures each is in `measuring.py`, under the same name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vidlabel.errors import InputError

Kind = Literal["float", "bool", "int", "string"]  # as in `columns.py`
Value = float | bool | int | str | None  # None: cannot be known of this clip


@dataclass(frozen=True, slots=True)
class Signal:
    """One column. `range` is written for a reader; `source` says what it is measured from, and how."""

    name: str
    kind: Kind
    range: str
    meaning: str
    source: str


SIGNALS: tuple[Signal, ...] = (
    Signal(
        "motion", "float", "0 and up",
        "mean speed of all pixels, in picture diagonals a second: 0 stands still, 0.1 is brisk, 1 is a whip pan",
        "dense optical flow (DIS) between frames about 0.08 s apart, at 10 moments of the clip; the camera's own "
        "motion counts, what shows nothing counts as still; empty where no two moments could be compared",
    ),
    Signal(
        "camera_motion", "string",
        "static, pan_left, pan_right, tilt_up, tilt_down, zoom_in, zoom_out, roll, shake, unclear",
        "what the camera does for most of the clip; a thing that fills most of the picture can pass for the camera",
        "a robust similarity fitted to the same flow; a move counts from 1% of the diagonal a second, shake is a speed "
        "that changes as much within 0.2 s",
    ),
    Signal(
        "static_share", "float", "0 to 1",
        "share of the time in which nothing changes: 1 is a slide or a frozen picture",
        "every frame's glance against the one half a second later: fewer than 0.5% of samples differ by 8 grey levels; "
        "empty where the clip is shorter than that",
    ),
    Signal(
        "flash", "bool", "true or false", "the whole picture flashes, brighter or darker, at least once",
        "every frame's glance: mean luma swings by 10% of full within 0.2 s, and back within 0.5 s (the general flash "
        "of WCAG 2)",
    ),
    Signal(
        "strobe", "bool", "true or false", "more than three flashes within one second",
        "the same (the limit of WCAG 2); an uncomfortable clip, for people too",
    ),
    Signal(
        "cut_inside", "bool", "true or false", "a hard cut is seen inside the clip",
        "every frame's glance: a step far above those around it, after which the picture stays another one; dissolves "
        "are not found",
    ),
    Signal(
        "black_share", "float", "0 to 1", "share of the time in which the picture is black",
        "every frame's glance: 98% of samples have at most 10% luma (as ffmpeg's blackdetect)",
    ),
    Signal(
        "white_share", "float", "0 to 1", "share of the time in which the picture is white",
        "likewise: 98% of samples have at least 90% luma",
    ),
    Signal(
        "brightness", "float", "0 to 1", "mean luma: 0 is black, 1 is white",
        "every pixel's luma (BT.601) in thumbnails of up to 12 sampled frames; bars count",
    ),
    Signal(
        "contrast", "float", "0 to 1", "how far luma spreads within a picture",
        "the standard deviation of luma in a thumbnail, doubled so that half black, half white is 1; median",
    ),
    Signal(
        "saturation", "float", "0 to 1", "how colourful: 0 is grey",
        "(max - min) of red, green and blue, in thumbnails; mean",
    ),
    Signal(
        "blur", "float", "0 to 1", "how unsharp: 0.4 is crisp, 0.6 usual, 0.8 has no fine detail",
        "1 / (1 + 4 x mean square of the gradient / the same at an eighth of the size), of thumbnails of 320 pixels, "
        "so that neither size, contrast nor the number of edges matters much; median; empty where nothing can be sharp",
    ),
    Signal(
        "letterboxed", "bool", "true or false", "black bars above and below",
        "lines of the thumbnails in which no sampled frame shows anything, at top and bottom; writing in a bar is "
        "allowed for",
    ),
    Signal(
        "pillarboxed", "bool", "true or false", "black bars left and right",
        "the same, of columns",
    ),
    Signal(
        "content_box", "string", "left,top,right,bottom, each 0 to 1",
        "what is inside the bars, in shares of width and height; 0.000,0.000,1.000,1.000 where there are none",
        "the same",
    ),
    Signal(
        "overlay_share", "float", "0 to 0.25",
        "share of the picture under something that stays while the picture changes: a logo, a watermark, a title",
        "edges that up to 12 thumbnails have in one place; empty where too little changes to tell (a fixed camera)",
    ),
    Signal(
        "text_coverage", "float", "0 to 1", "share of the picture under text, burnt in or filmed",
        "the text detector of RapidOCR (extra `text`) on up to 3 frames of 640 pixels; mean of the area of its boxes; "
        "half a second of a core a frame",
    ),
    Signal(
        "phash", "string", "16 hexadecimal digits a frame", "alike for copies of a clip; for vidlabel dedup",
        "signs of the lowest frequencies of luma and colour, the mean of each in steps; up to 12 frames, evenly spread",
    ),
)  # fmt: skip

VERSION = "2"  # changes when what is measured does: rows of two versions are not mixed
NEEDS_EXTRA = frozenset({"text_coverage"})
PIXELS, ALL = "pixels", "all"  # names of groups: without and with those that need an extra

_BY_NAME = {signal.name: signal for signal in SIGNALS}


def parse_signals(text: str) -> tuple[str, ...]:
    """'all', 'pixels', or names joined by commas -> names in the table's order."""
    names = {name.strip() for name in text.split(",") if name.strip()}
    for name in sorted(names - _BY_NAME.keys() - {PIXELS, ALL}):
        raise InputError(f"--signals {text}: no signal {name!r}; there are {PIXELS}, {ALL}, {', '.join(_BY_NAME)}")
    if not names:
        raise InputError(f"--signals {text or repr(text)}: give {PIXELS}, {ALL}, or some of {', '.join(_BY_NAME)}")
    if ALL in names:
        return tuple(_BY_NAME)
    return tuple(name for name in _BY_NAME if name in names or (PIXELS in names and name not in NEEDS_EXTRA))


def describe() -> str:
    """The table, for people."""
    indent = f"\n{'':24} "
    return "\n".join(
        f"{signal.name:16} {signal.kind:7} {signal.meaning}{indent}range: {signal.range}{indent}from: {signal.source}"
        for signal in SIGNALS
    )
