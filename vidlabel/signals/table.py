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
        "brightness", "float", "0 to 1", "mean luma: 0 is black, 1 is white",
        "the mean of every pixel's luma (BT.601), over the sampled frames",
    ),
    Signal(
        "contrast", "float", "0 to 1", "how far luma spreads within a picture",
        "the standard deviation of luma in a frame, doubled so that half black, half white is 1; median over frames",
    ),
    Signal(
        "saturation", "float", "0 to 1", "how colourful: 0 is grey",
        "(max - min) of red, green and blue, over 255; the mean over pixels and frames",
    ),
    Signal(
        "blur", "float", "0 to 1", "how unsharp: near 0 is crisp, near 1 has no fine detail",
        "the variance of the Laplacian over the variance of luma, of a thumbnail; median over frames with any contrast",
    ),
)  # fmt: skip

_BY_NAME = {signal.name: signal for signal in SIGNALS}


def signal_named(name: str) -> Signal:
    return _BY_NAME[name]


def parse_signals(text: str) -> tuple[str, ...]:
    """'all', or names joined by commas -> names in the table's order."""
    if text.strip() == "all":
        return tuple(_BY_NAME)
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in _BY_NAME:
            raise InputError(f"--signals {text}: no signal {name!r}; there are all, {', '.join(_BY_NAME)}")
    if not names:
        raise InputError(f"--signals {text or repr(text)}: give all, or some of {', '.join(_BY_NAME)}")
    return tuple(name for name in _BY_NAME if name in names)
