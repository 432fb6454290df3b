"""One compared case of golden data: its largest difference and how much is allowed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

# float32 on a CPU; from the golden data's README
EMBEDDING_TOLERANCE = 5e-6
LOGIT_TOLERANCE = 1e-4
PROBE_TOLERANCE = 1e-6
LOSS_TOLERANCE = 1e-5
GREY_LEVEL_TOLERANCE = 2.0


@dataclass(frozen=True, slots=True)
class CaseResult:
    """`largest_difference` of exact things (ids, texts) is the number of places that differ, and none may."""

    name: str
    largest_difference: float
    tolerance: float

    @property
    def passed(self) -> bool:
        return self.largest_difference <= self.tolerance  # false for not-a-number


def compare(name: str, found: Tensor, expected: Tensor, tolerance: float) -> CaseResult:
    """The largest absolute difference; infinite where the shapes differ."""
    if found.shape != expected.shape:
        return CaseResult(name, float("inf"), tolerance)
    difference = (found.detach().cpu().double() - expected.cpu().double()).abs()
    # equal infinities (scores that are ruled out) differ by nothing
    difference[found.detach().cpu() == expected.cpu()] = 0
    return CaseResult(name, float(difference.max()) if difference.numel() else 0.0, tolerance)


def compare_exact(name: str, found: Sequence[object], expected: Sequence[object]) -> CaseResult:
    """How many items differ, those that only one side has included."""
    differing = sum(mine != theirs for mine, theirs in zip(found, expected, strict=False))
    return CaseResult(name, float(differing + abs(len(found) - len(expected))), 0.0)
