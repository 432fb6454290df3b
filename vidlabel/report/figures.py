"""What the plots show, as numbers: one series a file, over the same bins. The page draws them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from vidlabel.report.gathering import Gathered
from vidlabel.tables.stats import Stats

Floats = npt.NDArray[np.float64]

_BINS = 32
_BARS = 12  # the rest of a long tail is one bar
_MOMENTS = 120
_STEPS = (1, 10, 60, 300, 900, 3600, 4 * 3600, 86_400, 7 * 86_400, 30 * 86_400)  # seconds


@dataclass(frozen=True, slots=True)
class Figure:
    """`bars`: a value for each label. `histogram`: for each bin between two edges. `line`: at each edge, a time."""

    name: str
    title: str
    kind: Literal["bars", "histogram", "line"]
    unit: str
    series: Sequence[Sequence[float]]
    labels: Sequence[str] = ()
    edges: Sequence[float] = ()
    column: str | None = None  # what a bar filters by
    is_whole: bool = False  # bins are of whole numbers


def figures(gathered: Sequence[Gathered], stats: Sequence[Stats]) -> list[dict[str, object]]:
    """Plots that have something to show."""
    made = [
        _bars("flags", "Flags", [_with_clean(one) for one in stats], "labels", column="flags"),
        _histogram("words", "Words a label", [one.words.astype(np.float64) for one in gathered], "labels", whole=True),
        _histogram("seconds", "Clip length in seconds", [one.clip_seconds() for one in gathered], "clips"),
        _histogram("grounding", "Grounding", [one.groundings for one in gathered], "labels"),
        _histogram(
            "per-clip", "Labels a clip", [one.labels_per_clip().astype(np.float64) for one in gathered], "clips",
            whole=True,
        ),
        _bars("languages", "Languages", [one.by.get("language", {}) for one in stats], "labels", column="language"),
        _bars("vocabulary", "Most frequent words", [one.vocabulary.most_frequent for one in stats], "times"),
        _bars("failures", "Failures by reason", [_failures(one) for one in stats], "videos or clips"),
        _throughput([one.made_at for one in gathered]),
    ]  # fmt: skip
    return [asdict(figure) for figure in made if figure is not None]


def _with_clean(stats: Stats) -> Mapping[str, int]:
    return {} if stats.flags is None else {"clean": stats.clean or 0, **stats.flags}


def _failures(stats: Stats) -> Mapping[str, int]:
    return {} if stats.failures is None else stats.failures.by_reason


def _bars(
    name: str, title: str, counts: Sequence[Mapping[str, int]], unit: str, *, column: str | None = None
) -> Figure | None:
    totals: dict[str, int] = {}
    for one in counts:
        for label, count in one.items():
            totals[label] = totals.get(label, 0) + count
    labels = sorted(totals, key=lambda label: -totals[label])
    if not labels:
        return None
    shown, rest = labels[:_BARS], labels[_BARS:]
    series = [[float(one.get(label, 0)) for label in shown] for one in counts]
    if rest and unit != "times":
        shown = [*shown, f"{len(rest)} others"]
        series = [
            [*values, float(sum(one.get(label, 0) for label in rest))]
            for values, one in zip(series, counts, strict=True)
        ]
    return Figure(name, title, "bars", unit, series, labels=shown, column=column)


def _histogram(name: str, title: str, values: Sequence[Floats], unit: str, *, whole: bool = False) -> Figure | None:
    """The bins reach to where all but a few in a thousand are; those beyond are in the first and the last bin."""
    finite = [one[np.isfinite(one)] for one in values]
    together = np.concatenate(finite)
    if not len(together):
        return None
    low, high = np.percentile(together, [0.2, 99.8])
    if whole:
        edges = _whole_edges(int(low), int(high))
    else:
        edges = np.linspace(low, high, _BINS + 1) if high > low else np.array([low - 0.5, low + 0.5])
    series = [np.histogram(np.clip(one, edges[0], np.nextafter(edges[-1], low)), edges)[0].tolist() for one in finite]
    return Figure(name, title, "histogram", unit, series, edges=[_short(edge) for edge in edges], is_whole=whole)


def _whole_edges(low: int, high: int) -> Floats:
    step = max(1, -(-(high - low + 1) // _BINS))
    return np.arange(low, high + step + 1, step, dtype=np.float64)


def _throughput(made_at: Sequence[Floats]) -> Figure | None:
    finite = [one[np.isfinite(one)] for one in made_at]
    together = np.concatenate(finite)
    if not len(together) or together.max() - together.min() < 1:
        return None
    first, last = float(together.min()), float(together.max())
    step = next((step for step in _STEPS if (last - first) / step <= _MOMENTS), (last - first) / _MOMENTS)
    edges = np.arange(first // step * step, last + step, step)
    edges = np.append(edges, edges[-1] + step)
    series = [np.round(np.histogram(one, edges)[0] * 3600 / step, 1).tolist() for one in finite]
    return Figure("throughput", "Labels an hour, over time", "line", "an hour", series, edges=edges.tolist())


def _short(value: float) -> float:
    return float(f"{value:.4g}")
