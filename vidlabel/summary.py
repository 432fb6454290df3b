"""What a run did, in numbers, for people and for machines; and the exit code that follows from it."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from vidlabel.progress import clock

SHOWN_REASONS = 10


@dataclass(frozen=True, slots=True)
class Summary:
    """The numbers of one run."""

    num_done_before: int = 0  # videos
    num_videos: int = 0  # finished by this run, well or not
    num_left: int = 0  # videos not begun or not finished: for the next run
    num_given_up: int = 0  # videos and clips that failed before and were left alone
    num_clips: int = 0
    num_labels: int = 0
    reasons: Counter[str] = field(default_factory=Counter)  # of this run's failures
    num_skipped_before: int = 0  # videos that --where left out in an earlier run, known without a look at them
    skip_reasons: Counter[str] = field(default_factory=Counter)  # clips that it left out in this run, by part of it
    skipped_file: str | None = None  # where that is written down; None: there was no condition
    seconds: float = 0.0
    waited_seconds: float = 0.0  # the captioner's, for frames
    signal_number: int | None = None
    stopped_by: str | None = None  # what ended the run before its time, though no signal did: too many failures
    shards_left: tuple[str, ...] = ()  # that have not ended yet, where this run was one of several

    @property
    def num_failures(self) -> int:
        return self.reasons.total()

    @property
    def num_skipped(self) -> int:
        return self.skip_reasons.total()

    @property
    def exit_code(self) -> int:
        """0 all labelled, 1 too many failed, 3 some failed, 130 or 143 stopped by a signal."""
        if self.signal_number is not None:
            return 128 + self.signal_number
        if self.stopped_by is not None:
            return 1
        return 3 if self.num_failures or self.num_given_up else 0

    @property
    def clips_per_second(self) -> float:
        return self.num_clips / self.seconds if self.seconds else 0.0

    @property
    def waited_share(self) -> float:
        return self.waited_seconds / self.seconds if self.seconds else 0.0

    def to_text(self, *, labels: str, failures: str) -> str:
        """The closing lines for people. `labels` and `failures` name the files."""
        speed = f"{self.clips_per_second:.2f} clips/s; {self.waited_share:.0%} of the time waiting for frames"
        counts = f"{self.num_videos} videos, {self.num_clips} clips, {self.num_labels} labels"
        lines = [f"{counts} in {clock(self.seconds)} ({speed}) -> {labels}"]
        if self.num_done_before:
            how = "labelled before, or skipped by --where" if self.skipped_file else "labelled before and skipped"
            lines.append(f"{self.num_done_before} videos were {how}")
        if self.num_skipped:
            lines.append(f"{self.num_skipped} skipped by --where; see {self.skipped_file}")
            lines += [f"  {count} x not {part}" for part, count in self.skip_reasons.most_common(SHOWN_REASONS)]
        if self.num_skipped_before:
            lines.append(f"{self.num_skipped_before} videos were skipped by --where before")
        if self.num_failures or self.num_given_up:
            before = f", {self.num_given_up} failed before and left alone" if self.num_given_up else ""
            lines.append(f"{self.num_failures} failed{before}; see {failures}")
            lines += [f"  {count} x {reason}" for reason, count in self.reasons.most_common(SHOWN_REASONS)]
            if len(self.reasons) > SHOWN_REASONS:
                lines.append(f"  and {len(self.reasons) - SHOWN_REASONS} other reasons")
        if self.num_left:
            lines.append(f"{self.num_left} videos are left for the next run")
        if self.stopped_by is not None:
            lines.append(self.stopped_by)
        if self.shards_left:
            shown = ", ".join(self.shards_left[:SHOWN_REASONS]) + (", ..." if self.shards_left[SHOWN_REASONS:] else "")
            lines.append(f"{labels} is written when all shards have ended; still to come: {shown}")
        if self.signal_number is not None:
            name = signal.Signals(self.signal_number).name
            lines.append(f"stopped by {name}; what was labelled is saved, the same command goes on from here")
        return "\n".join(lines)

    def to_fields(self) -> Mapping[str, object]:
        """The closing line for machines."""
        return {
            "event": "summary",
            "videos": self.num_videos,
            "videos_done_before": self.num_done_before,
            "videos_left": self.num_left,
            "clips": self.num_clips,
            "labels": self.num_labels,
            "failures": self.num_failures,
            "failures_by_reason": dict(self.reasons.most_common()),
            "given_up": self.num_given_up,
            "skipped": self.num_skipped,
            "skipped_by_reason": dict(self.skip_reasons.most_common()),
            "skipped_before": self.num_skipped_before,
            "seconds": round(self.seconds, 3),
            "clips_per_second": round(self.clips_per_second, 3),
            "waited_for_frames_share": round(self.waited_share, 4),
            "stopped_by": self.stopped_by,
            "shards_left": list(self.shards_left),
            "exit_code": self.exit_code,
        }
