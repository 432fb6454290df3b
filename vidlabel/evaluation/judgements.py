"""Answers -> what a judge thinks of them. Each judgement is kept as it comes, so that a run that ends goes on later."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from vidlabel.atomic import write_whole
from vidlabel.data import stable_id
from vidlabel.evaluation.answered import Answered
from vidlabel.evaluation.chat import ChatModel, NoReplyError
from vidlabel.evaluation.verdicts import KINDS, Kind, Verdict, prompt_for, read_verdict
from vidlabel.jsonl import json_line
from vidlabel.progress import LINE_SECONDS, LogFormat, say

logger = logging.getLogger(__name__)

_BAD_TRIES = 3  # of a question whose reply cannot be read


@dataclass(frozen=True, slots=True)
class Part:
    """All verdicts of one kind."""

    num_judged: int
    mean_score: float  # 0 to 5
    accuracy: float | None  # share of yes, where the judge was asked for yes or no


@dataclass(frozen=True, slots=True)
class Judged:
    """What the judge said of everything."""

    model: str
    parts: Mapping[str, Part] = field(hash=False)
    num_bad_replies: int = 0  # answers whose verdict could not be read
    num_failed: int = 0  # answers without a reply
    num_unpaired: int = 0  # answers whose twin, of two that should agree, is missing
    reasons: Mapping[str, int] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class _Case:
    """One thing to be judged."""

    key: str
    kind: Kind
    answers: tuple[Answered, ...]


def judge(
    answers: Sequence[Answered],
    model: ChatModel,
    store: Path,
    *,
    concurrency: int = 4,
    log_format: LogFormat = "text",
) -> Judged:
    """Of the answers to questions; captions have no right answer. InputError when the endpoint refuses us."""
    cases, num_unpaired = _cases([answer for answer in answers if answer.task == "qa"], model.model)
    known = _stored(store)
    waiting = [case for case in cases if case.key not in known]
    num_bad, reasons = 0, dict[str, int]()
    with store.open("a", encoding="utf-8") as stream:
        for case, verdict in _asked(waiting, model, concurrency, log_format):
            if isinstance(verdict, NoReplyError):
                reasons[str(verdict)] = reasons.get(str(verdict), 0) + 1
            elif verdict is None:
                num_bad += 1
            else:
                known[case.key] = verdict
                _keep(stream, case, verdict, model.model)
    for reason, count in reasons.items():
        logger.warning("%d answers were not judged: %s; the same command asks again", count, reason)
    found: dict[str, list[Verdict]] = {
        kind: [known[c.key] for c in cases if c.kind == kind and c.key in known] for kind in _kinds(cases)
    }
    parts = {kind: _part(verdicts) for kind, verdicts in found.items() if verdicts}
    return Judged(model.model, parts, num_bad, sum(reasons.values()), num_unpaired, reasons)


def _asked(
    cases: Sequence[_Case], model: ChatModel, concurrency: int, log_format: LogFormat
) -> Iterator[tuple[_Case, Verdict | NoReplyError | None]]:
    """In the order in which the judge replies; None where a reply cannot be read."""
    told = time.monotonic()
    with ThreadPoolExecutor(concurrency) as pool:
        futures = {pool.submit(_ask, model, case): case for case in cases}
        try:
            for number, future in enumerate(as_completed(futures)):
                if time.monotonic() - told >= LINE_SECONDS:
                    told = time.monotonic()
                    fields = {"event": "judging", "judged": number, "total": len(cases)}
                    say(f"{number} of {len(cases)} answers judged", fields, log_format)
                yield futures[future], future.result()
        except BaseException:  # a refusal of us, or Ctrl-C: what is under way need not wait for its next try
            model.stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _cases(answers: Sequence[Answered], model: str) -> tuple[list[_Case], int]:
    cases: list[_Case] = []
    twins: dict[str, list[Answered]] = {}
    for answer in answers:
        if answer.pair:
            twins.setdefault(answer.pair, []).append(answer)
            continue
        cases += [_case(kind, (answer,), model) for kind in KINDS.get(answer.group, ("match",))]
    whole = [tuple(both) for both in twins.values() if len(both) == 2]
    cases += [_case("consistency", both, model) for both in whole]
    return cases, sum(map(len, twins.values())) - 2 * len(whole)


def _case(kind: Kind, answers: tuple[Answered, ...], model: str) -> _Case:
    return _Case(stable_id(model, kind, *prompt_for(kind, answers)), kind, answers)


def _ask(model: ChatModel, case: _Case) -> Verdict | NoReplyError | None:
    try:
        for _ in range(_BAD_TRIES):
            verdict = read_verdict(case.kind, model.ask(*prompt_for(case.kind, case.answers)))
            if verdict is not None:
                return verdict
    except NoReplyError as error:
        return error
    return None


def _kinds(cases: Sequence[_Case]) -> list[Kind]:
    return list(dict.fromkeys(case.kind for case in cases))


def _part(verdicts: Sequence[Verdict]) -> Part:
    told = [verdict.is_match for verdict in verdicts if verdict.is_match is not None]
    return Part(
        num_judged=len(verdicts),
        mean_score=sum(verdict.score for verdict in verdicts) / len(verdicts),
        accuracy=sum(told) / len(told) if told else None,
    )


def _keep(stream: TextIO, case: _Case, verdict: Verdict, model: str) -> None:
    row = {
        "key": case.key,
        "judge_model": model,
        "kind": case.kind,
        "example_ids": [answer.example_id for answer in case.answers],
        "pred": None if verdict.is_match is None else ("yes" if verdict.is_match else "no"),
        "score": verdict.score,
    }
    stream.write(json_line(row))
    stream.flush()


def _stored(store: Path) -> dict[str, Verdict]:
    """What was kept. A line that a killed run left half written goes, or the next one would be written behind it."""
    if not store.exists():
        return {}
    text = store.read_text(encoding="utf-8", errors="replace")
    rows = list(_rows(text))
    whole = "".join(json_line(row) for row in rows)
    if whole != text:
        write_whole(store, whole)
    return {
        str(row["key"]): Verdict(int(str(row["score"])), None if row["pred"] is None else row["pred"] == "yes")
        for row in rows
    }


def _rows(text: str) -> Iterator[dict[str, object]]:
    for line in text.split("\n"):
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and {"key", "pred", "score"} <= row.keys():
            yield row
