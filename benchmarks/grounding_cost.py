"""The engine with and without grounding, in turn, on random weights: what a round of each costs."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace

import torch

from benchmarks.engine_floor import answer_lengths
from benchmarks.engine_machine import describe, wait
from benchmarks.engine_run import MixedCaptioner, limits_of, load_of
from benchmarks.random_models import asked_clips, configs, never_stop, random_model, tokenizer_of
from vidlabel.config import AnswerSettings, Grounding
from vidlabel.data import AskedClip
from vidlabel.engine.captioner import EngineCaptioner
from vidlabel.engine.choice import choose_kernels

MODES: tuple[Grounding, ...] = ("none", "video", "strict")
_REAL_IMAGE_SIZE = 224  # 64 tokens a frame, as in the released models


@dataclass(frozen=True, slots=True)
class Row:
    """`short`: the small model's own 16 tokens a frame, and answers of equal length. `real`: the released models' 64,
    and one caption of 200 tokens with answers of 40 to all other questions."""

    prompts: str
    num_questions: int

    @classmethod
    def of(cls, text: str) -> Row:
        prompts, _, count = text.partition(":")
        if prompts not in ("short", "real") or not count.isdecimal() or int(count) < 1:
            raise argparse.ArgumentTypeError(f"{text}: short:K or real:K, with K questions a clip")
        return cls(prompts, int(count))


@dataclass(slots=True)
class Rounds:
    """Seconds of each round of one mode."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)  # of all threads of this process
    scoring: list[float] = field(default_factory=list)  # wall, of the passes that score
    tokens: int = 0  # that those passes read in a round


@dataclass(frozen=True, slots=True)
class Cost:
    """Medians of what a round costs beside the round of `none` next to it."""

    wall: float
    cpu: float
    scoring: float  # of the round's own time, what its scoring passes add to the rest


def measure(options: argparse.Namespace, row: Row) -> dict[Grounding, Cost]:
    """Every round runs each mode once, every other round backwards; the first is not counted."""
    device, dtype = torch.device(options.device), getattr(torch, options.dtype)
    config, llm_config = configs(options.size, options.model)
    if row.prompts == "real":
        config = replace(config, vision=replace(config.vision, image_size=_REAL_IMAGE_SIZE))
    model, tokenizer = random_model(config, llm_config, options.device, dtype), tokenizer_of(options.model)
    never_stop(model, tokenizer)
    answers = answer_lengths("mix" if row.prompts == "real" else "equal", row.num_questions, options.new_tokens)
    clips = asked_clips(
        config,
        options.clips,
        num_questions=row.num_questions,
        num_frames=options.frames,
        distinct=min(16, options.clips),
    )
    captioner = MixedCaptioner(
        model,
        tokenizer,
        AnswerSettings("random", "", "benchmark", "", max_new_tokens=max(answers)),
        kernels=choose_kernels(model),
        num_slots=options.slots,
        rows_per_slot=row.num_questions,
    )
    captioner.limits = limits_of(model, tokenizer, clips[0], answers)
    rounds = {mode: Rounds() for mode in options.modes}
    for number in range(options.rounds + 1):
        for mode in options.modes[:: -1 if number % 2 else 1]:
            _run(captioner, mode, clips if number else clips[:1], rounds[mode] if number else Rounds(), device)
    prefix = load_of(model, tokenizer, clips[0], answers).prefix
    print(
        f"\n{row.prompts} prompts, {prefix} positions of video, K={row.num_questions}, {options.clips} clips, ",
        end="",
    )
    print(f"answers of {' '.join(map(str, answers))} tokens; {options.size} {options.model}, random weights")
    print(", ".join(describe(device, options.dtype).values()))
    costs = {mode: _cost(rounds[mode], rounds["none"]) for mode in options.modes}
    for mode, cost in costs.items():
        _print(mode, rounds[mode], cost)
    return costs


def _run(
    captioner: EngineCaptioner, mode: Grounding, clips: Sequence[AskedClip], rounds: Rounds, device: torch.device
) -> None:
    captioner.settings = replace(captioner.settings, grounding=mode)
    before = asdict(captioner.stats)
    wait(device)
    wall, cpu = time.perf_counter(), time.process_time()
    given = list(captioner.answer(clips))
    wait(device)
    rounds.wall.append(time.perf_counter() - wall)
    rounds.cpu.append(time.process_time() - cpu)
    rounds.scoring.append(captioner.stats.score_seconds - before["score_seconds"])
    rounds.tokens = captioner.stats.score_tokens - before["score_tokens"]
    assert not any(answer.error for answer in given)
    is_scored = mode == "video" or (mode == "strict" and len(clips) > 1)
    assert all((answer.grounding is not None) == is_scored for answer in given)


def _cost(rounds: Rounds, none: Rounds) -> Cost:
    def median(left: Sequence[float], right: Sequence[float]) -> float:
        return statistics.median(one / other for one, other in zip(left, right, strict=True))

    rest = [wall - scoring for wall, scoring in zip(rounds.wall, rounds.scoring, strict=True)]
    return Cost(median(rounds.wall, none.wall), median(rounds.cpu, none.cpu), median(rounds.wall, rest))


def _print(mode: Grounding, rounds: Rounds, cost: Cost) -> None:
    wall, cpu = (" ".join(f"{one:.2f}" for one in seconds) for seconds in (rounds.wall, rounds.cpu))
    print(f"{mode:8}{cost.wall:6.3f} times none in wall time ({wall} s), {cost.cpu:.3f} in CPU time ({cpu} s)")
    if rounds.tokens:
        print(f"{'':8}{cost.scoring:6.3f} by the scoring's own time; it reads {rounds.tokens} tokens a round")
