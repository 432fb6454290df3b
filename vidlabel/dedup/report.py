"""The rules of `vidlabel dedup`, and its account of what they did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from vidlabel.errors import InputError

KEEP = ("flags", "grounding", "logprob", "resolution", "length")
By = Literal["any", "embedding", "phash"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DedupRules:
    """When clips are alike, and which of them stays: the first name in `keep` that tells two apart decides."""

    min_similarity: float = 0.98
    max_bits: float = 3.0
    by: By = "any"
    keep: tuple[str, ...] = KEEP

    def __post_init__(self) -> None:
        if not 0 < self.min_similarity <= 1:
            raise InputError(f"--min-similarity {self.min_similarity}: a cosine above 0 and at most 1")
        if not 0 <= self.max_bits <= 32:
            raise InputError(f"--max-bits {self.max_bits}: of 64, so from 0 to 32")
        for name in self.keep:
            if name not in KEEP:
                raise InputError(f"--keep: no rule {name!r}; there are {', '.join(KEEP)}")
        if not self.keep or len(set(self.keep)) < len(self.keep):
            raise InputError(f"--keep: each rule once, for example {','.join(KEEP)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DedupReport:
    """What was found."""

    num_clips: int
    num_labels: int
    num_unknown: int  # clips without an embedding or a hash: they stay
    num_groups: int
    largest_group: int
    dropped_clips: Mapping[str, int] = field(default_factory=dict, hash=False)  # by how they were found
    dropped_labels: Mapping[str, int] = field(default_factory=dict, hash=False)

    @property
    def num_kept_labels(self) -> int:
        return self.num_labels - sum(self.dropped_labels.values())

    @property
    def num_kept_clips(self) -> int:
        return self.num_clips - sum(self.dropped_clips.values())

    def to_text(self) -> str:
        said = {"phash": "dropped, same frames (phash)", "embedding": "dropped, alike (embedding)"}
        rows = [
            (said[name], self.dropped_clips[name], self.dropped_labels[name])
            for name in said
            if self.dropped_clips.get(name)
        ]
        rows.append(("kept", self.num_kept_clips, self.num_kept_labels))
        lines = [f"{'':30}{'clips':>12}{'labels':>12}"]
        lines += [f"{name:30}{num_clips:>12,}{num_labels:>12,}" for name, num_clips, num_labels in rows]
        if self.num_groups:
            lines.append(f"{self.num_groups:,} groups of clips that are alike, the largest of {self.largest_group:,}")
        if self.num_unknown:
            lines.append(f"{self.num_unknown:,} clips have no embedding and no hash, and stay")
        return "\n".join(lines)
