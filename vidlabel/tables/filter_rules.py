"""The rules of `vidlabel filter`, and its account of what they did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from textwrap import shorten

from vidlabel.errors import InputError

_SHOWN = 80  # characters of a reason


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterRules:
    """What a label must meet to stay. A label that lacks what a rule looks at does not meet it."""

    drop_flags: tuple[str, ...] = ()  # "all": any flag
    keep_flags: tuple[str, ...] = ()  # these are no reason to drop, whatever `drop_flags` says
    min_grounding: float | None = None
    min_logprob: float | None = None
    min_agreement: float | None = None
    max_duplicates: int | None = None  # labels with the same text; of answers: and the same question
    min_words: int | None = None
    max_words: int | None = None
    languages: tuple[str, ...] = ()  # en takes en-GB too
    task: str | None = None
    where: str | None = None  # a condition on the columns: see `vidlabel.where`
    strip_openings: bool = False
    reviewed: bool = False  # only labels that somebody accepted or edited
    not_rejected: bool = False  # labels that nobody rejected
    text_column: str | None = None

    def __post_init__(self) -> None:
        if self.keep_flags and not self.drop_flags:
            raise InputError("--keep-flags makes exceptions from --drop-flags: name those too, for example all")
        if self.min_words is not None and self.max_words is not None and self.min_words > self.max_words:
            raise InputError(f"--min-words {self.min_words} is above --max-words {self.max_words}: no label meets both")
        if self.reviewed and self.not_rejected:
            raise InputError("--reviewed keeps fewer labels than --not-rejected: name one of them")
        if not self.asked():
            raise InputError("no rule to filter by; name one, for example --drop-flags all")

    def asked(self) -> dict[str, object]:
        """The rules that were set."""
        # 0 is a rule: `in (None, False)` would take it for False
        return {name: value for name, value in asdict(self).items() if value not in (None, ()) and value is not False}

    @property
    def scores(self) -> Mapping[str, tuple[str, float]]:
        """Column -> the option that bounds it, and the bound."""
        bounds = {
            "grounding": ("--min-grounding", self.min_grounding),
            "mean_logprob": ("--min-logprob", self.min_logprob),
            "agreement": ("--min-agreement", self.min_agreement),
        }
        return {name: (option, least) for name, (option, least) in bounds.items() if least is not None}

    @property
    def reviews_option(self) -> str | None:
        """The option that asks for what people decided; edited texts then take the place of the model's."""
        return "--reviewed" if self.reviewed else "--not-rejected" if self.not_rejected else None

    @property
    def changes_text(self) -> bool:
        return self.strip_openings or self.reviews_option is not None

    @property
    def reads_text(self) -> bool:
        return self.strip_openings or any(x is not None for x in (self.max_duplicates, self.min_words, self.max_words))


@dataclass(frozen=True, slots=True)
class FilterReport:
    """What a filter did."""

    num_rows: int
    num_kept: int
    num_stripped: int = 0  # of the kept
    num_edited: int = 0  # likewise, by reviewers
    dropped: Mapping[str, int] = field(default_factory=dict, hash=False)  # reason -> rows it is true of
    alone: Mapping[str, int] = field(default_factory=dict, hash=False)  # reason -> rows dropped for nothing else

    def to_text(self) -> str:
        shown = {reason: shorten(reason, _SHOWN, placeholder=" ...") for reason in self.dropped}
        width = max([*map(len, shown.values()), len("dropped in all")]) + 2
        lines = [f"{'dropped because':{width}}{'labels':>12}{'for that alone':>16}"] if self.dropped else []
        for reason, count in sorted(self.dropped.items(), key=lambda item: (-item[1], item[0])):
            lines.append(f"{shown[reason]:{width}}{count:>12,}{self.alone.get(reason, 0):>16,}")
        for name, count in (("dropped in all", self.num_rows - self.num_kept), ("kept", self.num_kept)):
            lines.append(f"{name:{width}}{count:>12,}{count / (self.num_rows or 1):>16.1%}")
        for name, count in (("kept, opening off", self.num_stripped), ("kept, edited", self.num_edited)):
            if count:
                lines.append(f"{name:{max(width, len(name))}}{count:>12,}")
        return "\n".join(lines)
