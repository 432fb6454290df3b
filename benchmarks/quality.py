"""How well `vidlabel.quality` tells good answers from bad ones, and how fast, on the labelled set of the tests.

    python benchmarks/quality.py                both halves of tests/data/quality
    python benchmarks/quality.py --misses       also every answer that is judged wrongly

All of the set was written by hand for this project: 557 answers before the checks were, the others in batches after
them. What the checks made of each of the first three batches at first sight: 89 %, 93 % and 78 % of the faults caught
(the last is mostly refusals and openings, the most open-ended of faults) and 4 of 136 good answers flagged. Only then
was the "tune" half of a batch looked at and the checks mended; the "held-out" half never was. One author wrote both, so
expect of other people's models something between first sight and the held-out column. `caught` is over the faults,
`wrongly` over the good answers.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vidlabel.quality import FLAGS, Said, flags_of

DATA = Path(__file__).parent.parent / "tests" / "data" / "quality"
SPLITS = ("tune", "held-out")


@dataclass(frozen=True, slots=True)
class Case:
    """One answer of the set, and the flags it should have; none when it is good."""

    said: Said
    flags: tuple[str, ...]
    split: str


@dataclass(frozen=True, slots=True)
class Score:
    """How often one flag, or any, is right."""

    num_bad: int  # answers that should have the flag
    num_caught: int
    num_good: int  # answers that should have no flag at all
    num_wrongly: int  # of those, how many have this one

    @property
    def caught(self) -> float:
        return self.num_caught / self.num_bad if self.num_bad else 1.0

    @property
    def wrongly(self) -> float:
        return self.num_wrongly / self.num_good if self.num_good else 0.0


def load_cases(folder: Path = DATA) -> list[Case]:
    cases = []
    for file in sorted(folder.glob("*.jsonl")):
        for line in file.read_text(encoding="utf-8").split("\n"):
            if line:
                row = json.loads(line)
                flags, split = tuple(row.pop("flags")), row.pop("split")
                cases.append(Case(Said(**row), flags, split))
    return cases


def score(cases: Sequence[Case], flag: str) -> Score:
    bad = [case for case in cases if flag in case.flags]
    good = [case for case in cases if not case.flags]
    return Score(
        num_bad=len(bad),
        num_caught=sum(flag in flags_of(case.said) for case in bad),
        num_good=len(good),
        num_wrongly=sum(flag in flags_of(case.said) for case in good),
    )


def score_all(cases: Sequence[Case]) -> Score:
    """`caught` over every fault of every answer, by its own name; `wrongly` over good answers with any flag."""
    scores = [score(cases, flag) for flag in FLAGS]
    good = [case for case in cases if not case.flags]
    return Score(
        num_bad=sum(one.num_bad for one in scores),
        num_caught=sum(one.num_caught for one in scores),
        num_good=len(good),
        num_wrongly=sum(bool(flags_of(case.said)) for case in good),
    )


def print_table(cases: Sequence[Case]) -> None:
    halves = [[case for case in cases if case.split == split] for split in SPLITS]
    print(f"{'':16}" + "".join(f"{split:>14} caught   wrongly" for split in SPLITS))
    for flag in (*(flag for flag in FLAGS if flag != "duplicate"), "all"):
        row = f"{flag:16}"
        for half in halves:
            one = score_all(half) if flag == "all" else score(half, flag)
            caught = f"{one.num_caught}/{one.num_bad} {one.caught:7.1%}"
            row += f"{caught:>21}{f'{one.num_wrongly}/{one.num_good}':>10}"
        print(row)


def print_misses(cases: Sequence[Case], splits: Sequence[str]) -> None:
    for case in cases:
        flags = flags_of(case.said)
        if case.split in splits and (set(case.flags) - set(flags) or (not case.flags and flags)):
            print(
                f"{case.split}: {list(flags)} should be {list(case.flags)}: {case.said.question!r} {case.said.text!r}"
            )


def answers_per_second(cases: Sequence[Case], seconds: float) -> float:
    """The whole set, round after round, on one core."""
    started, num = time.process_time(), 0
    while (spent := time.process_time() - started) < seconds:
        for case in cases:
            flags_of(case.said)
        num += len(cases)
    return num / spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--misses", nargs="*", choices=SPLITS, help="print the answers judged wrongly, of these halves")
    parser.add_argument("--seconds", type=float, default=2.0, help="how long to measure the speed")
    arguments = parser.parse_args()
    cases = load_cases()
    print_table(cases)
    if arguments.misses is not None:
        print_misses(cases, arguments.misses or SPLITS)
    good = [case for case in cases if not case.flags and case.said.task == "caption"]
    num_characters = sum(len(case.said.text) for case in good) / len(good)
    print(f"{answers_per_second(cases, arguments.seconds):,.0f} answers/s over the whole set, on one core")
    print(f"{answers_per_second(good, arguments.seconds):,.0f} good captions/s, of {num_characters:.0f} characters")


if __name__ == "__main__":
    main()
