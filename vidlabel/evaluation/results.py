"""The results of an evaluation: a table for people, JSON with settings and versions for everything else."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime

import vidlabel
from vidlabel.evaluation.judgements import Judged
from vidlabel.evaluation.likeness import versions
from vidlabel.evaluation.measures import Measures

_COLUMNS = (
    "",
    "answers",
    "loss",
    "exact",
    "right",
    "holds",
    "BLEU-4",
    "ROUGE-L",
    "METEOR",
    "CIDEr",
    "words",
    "flagged",
)


@dataclass(frozen=True, slots=True)
class Results:
    """Of one evaluation."""

    settings: Mapping[str, object] = field(hash=False)
    num_examples: int
    num_unanswered: int  # examples without an answer, in no number below
    left_out: Mapping[str, int] = field(hash=False)  # rows of the data, by reason
    measures: Mapping[str, Measures] = field(hash=False)  # of each task, and each part of one
    judged: Judged | None = None

    def to_json(self) -> str:
        values: dict[str, object] = {
            "vidlabel_version": vidlabel.__version__,
            "created_at": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            "settings": self.settings,
            "versions": {"python": platform.python_version(), **versions()},
            "num_examples": self.num_examples,
            "num_unanswered": self.num_unanswered,
            "left_out": self.left_out,
            "measures": {part: asdict(measures) for part, measures in self.measures.items()},
        }
        if self.judged is not None:
            values["judged"] = asdict(self.judged)
        return json.dumps(values, indent=2, ensure_ascii=False) + "\n"

    def to_text(self) -> str:
        rows = [_COLUMNS, *(_row(part, measures) for part, measures in self.measures.items())]
        lines = _aligned(rows)
        if self.judged is not None:
            lines += ["", *_aligned(_judged_rows(self.judged))]
        return "\n".join(lines)


def _row(part: str, of: Measures) -> tuple[str, ...]:
    like = of.likeness
    return (
        part,
        str(of.num_answers),
        _number(of.loss),
        *(f"{share:.1%}" for share in (of.exact, of.right, of.holds)),
        *(_number(value) for value in (like.bleu4, like.rouge_l, like.meteor, like.cider)),
        f"{of.mean_words:.1f}",
        f"{of.flagged:.1%}",
    )


def _judged_rows(judged: Judged) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("judged by " + judged.model, "answers", "yes", "score")]
    for part, verdict in judged.parts.items():
        yes = "-" if verdict.accuracy is None else f"{verdict.accuracy:.1%}"
        rows.append((part, str(verdict.num_judged), yes, f"{verdict.mean_score:.2f}"))
    if judged.num_bad_replies or judged.num_failed:
        rows.append((f"{judged.num_bad_replies} replies could not be read, {judged.num_failed} were not given",))
    return rows


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    table = [row for row in rows if len(row) == len(rows[0])]
    widths = [max(len(row[place]) for row in table) for place in range(len(rows[0]))]
    lines = []
    for row in rows:
        if len(row) != len(rows[0]):
            lines.append(row[0])
            continue
        cells = [row[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    return lines


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
