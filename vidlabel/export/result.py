"""What an export did, for people and for machines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from vidlabel.data import Failure
from vidlabel.export.cutting import Cut

SHOWN_REASONS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportResult:
    """The numbers of one export."""

    format_name: str
    num_clips: Mapping[str, int] = field(hash=False)  # of each part
    num_labels: int
    num_read: int
    left_out: Counter[str] = field(hash=False)  # reason -> labels it is true of
    num_changed: int
    change: str  # what happened to those
    failures: tuple[Failure, ...]
    cuts: tuple[Cut, ...]  # clips that were cut by this run

    @property
    def exit_code(self) -> int:
        return 3 if self.failures else 0

    def to_text(self, *, out: str, failures: str) -> str:
        """The closing lines."""
        parts = self.num_clips
        clips = f"{sum(parts.values()):,} clips"
        if len(parts) > 1:
            clips += f" ({', '.join(f'{count:,} in {part}' for part, count in parts.items())})"
        lines = [f"{clips}, {self.num_labels:,} of {self.num_read:,} labels -> {out} ({self.format_name})"]
        lines += [f"  {count:,} left out: {reason}" for reason, count in self.left_out.most_common()]
        if self.num_changed:
            lines.append(f"  {self.num_changed:,} changed to fit: {self.change}")
        lines += self._about_cuts()
        if self.failures:
            reasons = Counter(failure.reason for failure in self.failures)
            lines.append(f"{len(self.failures):,} clips failed and are not in it; see {failures}")
            lines += [f"  {count} x {reason}" for reason, count in reasons.most_common(SHOWN_REASONS)]
        return "\n".join(lines)

    def to_fields(self) -> Mapping[str, object]:
        early, late = self._drift()
        return {
            "event": "summary",
            "clips": dict(self.num_clips),
            "labels": self.num_labels,
            "labels_read": self.num_read,
            "left_out": dict(self.left_out),
            "changed": self.num_changed,
            "cut": len(self.cuts),
            "most_seconds_early": early,
            "most_seconds_late": late,
            "failures": len(self.failures),
            "exit_code": self.exit_code,
        }

    def _about_cuts(self) -> list[str]:
        if not self.cuts:
            return []
        early, late = self._drift()
        line = f"  {len(self.cuts):,} clips cut"
        if early or late:
            mean = sum(cut.early_seconds for cut in self.cuts) / len(self.cuts)
            line += f"; they begin up to {early:.3f} s early (mean {mean:.3f}) and end up to {late:.3f} s late"
        return [line]

    def _drift(self) -> tuple[float, float]:
        early = max((cut.early_seconds for cut in self.cuts), default=0.0)
        return round(early, 3), round(max((cut.late_seconds for cut in self.cuts), default=0.0), 3)
