"""One measured run of the engine, and what its figures mean beside the floor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from benchmarks.engine_floor import Load, Rates, Shape, decode_bytes, floor, occupancy
from benchmarks.engine_machine import seconds_of
from vidlabel.config import AnswerSettings
from vidlabel.data import Answer, AskedClip
from vidlabel.engine.attention import Kernels
from vidlabel.engine.captioner import EngineCaptioner
from vidlabel.engine.choice import Choice, build_kernels, choose_kernels
from vidlabel.engine.graph import capture
from vidlabel.engine.rows import Asking, Rows
from vidlabel.engine.stats import EngineStats
from vidlabel.models.minigpt4_video.answers import ask
from vidlabel.models.minigpt4_video.model import MiniGPT4Video
from vidlabel.models.minigpt4_video.prompt import prompt_budget
from vidlabel.models.minigpt4_video.tokenizer import PromptTokenizer


@dataclass(frozen=True, slots=True)
class Measured:
    """Wall seconds of a run, and the engine's own account of it."""

    num_clips: int
    num_answers: int
    num_tokens: int
    seconds: float
    stats: EngineStats
    kernels: str
    peak_gib: float


class _LimitedRows(Rows):
    """Rows that end after a number of tokens of their own, by question: as answers of unlike lengths do."""

    def __init__(self, made: Rows, limits: Mapping[tuple[int, ...], int]) -> None:
        super().__init__(
            made.model,
            made.slots,
            made.kernels,
            made.choosing,
            max_new_tokens=made.max_new_tokens,
            stop_ids=made.stop_ids,
        )
        self._of_question = limits
        self._limits = torch.full_like(self._num_new, made.max_new_tokens)

    def extend(self, batch: Sequence[Asking]) -> None:
        rows, limits = zip(*((asking.row, self._of_question[asking.suffix]) for asking in batch), strict=True)
        device = self._limits.device
        self._limits[torch.tensor(rows, device=device)] = torch.tensor(limits, device=device)
        super().extend(batch)

    def _say(self, rows: torch.Tensor, *args: torch.Tensor) -> None:
        super()._say(rows, *args)
        self._done[rows] |= self._num_new[rows] >= self._limits[rows]
        self.slots.suffix_lengths[rows] = self.slots.suffix_lengths[rows].masked_fill(self._done[rows], 0)


class MixedCaptioner(EngineCaptioner):
    """The engine with answers of given lengths, by the tokens of their questions."""

    limits: Mapping[tuple[int, ...], int]

    def _make_rows(self, prefix_length: int, suffix_length: int) -> Rows:
        made = super()._make_rows(prefix_length, suffix_length)
        made.release()
        rows = _LimitedRows(made, self.limits)
        if rows.kernels.fixed_rows and self.model.device.type == "cuda":
            rows.capture(capture)
        return rows


def kernels_for(model: MiniGPT4Video, path: str) -> Kernels:
    if path == "auto":
        return choose_kernels(model)
    return build_kernels(Choice(path, "asked for", use_graph=path != "maths"), model.device)  # type: ignore[arg-type]


def load_of(model: MiniGPT4Video, tokenizer: PromptTokenizer, clip: AskedClip, answers: tuple[int, ...]) -> Load:
    """What one clip's prompts come to."""
    prompts = [asked.prompt for asked in _asked(model, tokenizer, clip, max(answers))]
    return Load(
        num_frames=len(clip.frames.images),
        prefix=prompts[0].prefix.num_tokens,
        suffixes=tuple(len(prompt.suffix) for prompt in prompts),
        answers=answers,
    )


def limits_of(
    model: MiniGPT4Video, tokenizer: PromptTokenizer, clip: AskedClip, answers: tuple[int, ...]
) -> dict[tuple[int, ...], int]:
    """The answers' lengths by the tokens of the clip's questions."""
    asked = _asked(model, tokenizer, clip, max(answers))
    limits = {one.prompt.suffix: length for one, length in zip(asked, answers, strict=True)}
    assert len(limits) == len(answers), "questions must differ"
    return limits


def _asked(model: MiniGPT4Video, tokenizer: PromptTokenizer, clip: AskedClip, new_tokens: int) -> list[Any]:
    budget = prompt_budget(model.config, model.max_positions, new_tokens)
    asked, refused = ask(clip, tokenizer, model.config, max_tokens=budget)
    assert not refused, refused[0].error
    return list(asked)


def run_engine(
    model: MiniGPT4Video,
    tokenizer: PromptTokenizer,
    clips: Sequence[AskedClip],
    answers: tuple[int, ...],
    *,
    num_slots: int | None,
    path: str,
    repetition_penalty: float,
    measure: bool,
) -> Measured:
    """All clips through one captioner that has answered a clip before; every answer's length is checked."""
    settings = AnswerSettings(
        "random", "random", "benchmark", "", max_new_tokens=max(answers), repetition_penalty=repetition_penalty
    )
    kernels = kernels_for(model, path)
    captioner = MixedCaptioner(
        model, tokenizer, settings, kernels=kernels, num_slots=num_slots, rows_per_slot=len(answers)
    )
    captioner.limits = limits_of(model, tokenizer, clips[0], answers)
    _check(list(captioner.answer(clips[:1])), clips[:1], answers)
    stats = captioner.stats
    for name, value in asdict(EngineStats(num_slots=stats.num_slots, measure=measure)).items():
        setattr(stats, name, value)
    if model.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    given: list[Answer] = []
    seconds = seconds_of(lambda: given.extend(captioner.answer(clips)), model.device)
    _check(given, clips, answers)
    peak = torch.cuda.max_memory_allocated() / 2**30 if model.device.type == "cuda" else 0.0
    num_tokens = sum(answer.num_tokens for answer in given)
    return Measured(len(clips), len(given), num_tokens, seconds, stats, kernels.name, peak)


def _check(given: Sequence[Answer], clips: Sequence[AskedClip], answers: tuple[int, ...]) -> None:
    errors = [answer.error for answer in given if answer.error]
    assert not errors, errors[0]
    lengths = dict(zip(clips[0].questions, answers, strict=True))
    assert len(given) == len(clips) * len(answers)
    assert all(answer.num_tokens == lengths[answer.question] for answer in given), "an answer ended early"


def figures(found: Measured, shape: Shape, load: Load, rates: Rates, *, bytes_per_element: int) -> dict[str, Any]:
    """Everything worth printing of a run. Shares are of the rates measured on this machine."""
    stats, num_rows = found.stats, len(load.answers)
    in_flight = min(stats.num_slots, found.num_clips)
    least = floor(shape, load, rates, clips_in_flight=in_flight, bytes_per_element=bytes_per_element)
    extend_flops = found.num_clips * sum(shape.prefill_flops(suffix, load.prefix) for suffix in load.suffixes)
    read = decode_bytes(
        shape, load, num_clips=found.num_clips, num_steps=stats.steps, bytes_per_element=bytes_per_element
    )
    busy = stats.vision_seconds + stats.prefill_seconds + stats.extend_seconds + stats.step_seconds

    def mfu(flops: float, seconds: float) -> float:
        return flops / seconds / rates.flops if seconds else 0.0

    return {
        "questions": num_rows,
        "answers": list(load.answers),
        "kernels": found.kernels,
        "slots": stats.num_slots,
        "clips": found.num_clips,
        "prefix_tokens": load.prefix,
        "seconds": found.seconds,
        "clips_per_second": found.num_clips / found.seconds,
        "captions_per_second": found.num_answers / found.seconds,
        "tokens": found.num_tokens,
        "peak_gib": found.peak_gib,
        "vision": {
            "seconds": stats.vision_seconds,
            "frames": stats.vision_frames,
            "mfu": mfu(stats.vision_frames * shape.frame_flops(), stats.vision_seconds),
        },
        "prefill": {
            "seconds": stats.prefill_seconds,
            "tokens": stats.prefill_tokens,
            "mfu": mfu(found.num_clips * shape.prefill_flops(load.prefix), stats.prefill_seconds),
        },
        "extend": {
            "seconds": stats.extend_seconds,
            "tokens": stats.extend_tokens,
            "mfu": mfu(extend_flops, stats.extend_seconds),
        },
        "decode": {
            "seconds": stats.step_seconds,
            "tokens": found.num_clips * load.row_steps,
            "steps": stats.steps,
            "ms_per_step": 1e3 * stats.step_seconds / max(1, stats.steps),
            "bytes_per_second": read / stats.step_seconds if stats.step_seconds else 0.0,
            "share_of_copy": read / stats.step_seconds / rates.bytes if stats.step_seconds else 0.0,
        },
        "slot_occupancy": occupancy(found.num_clips * load.num_steps, stats.steps, stats.num_slots),
        "row_occupancy": occupancy(found.num_clips * load.row_steps, stats.steps, stats.num_slots * num_rows),
        "idle_share": max(0.0, 1 - busy / found.seconds),
        "floor": asdict(least) | {"seconds_per_clip": least.seconds, "clips_per_second": 1 / least.seconds},
        "share_of_floor": least.seconds * found.num_clips / found.seconds,
    }
