"""Who decodes when: slots refill while others go on, answers leave at once, and scarce memory costs only its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

from tests.engine_models import SIZE, STOP_IDS, TOKENIZER, clips, engine, language_config, model_of, said, tiny_model
from tests.minigpt4_models import TEXTS, ScarceVision, answer_settings, asked_clip
from vidlabel.data import Answer, AskedClip, Cue
from vidlabel.engine.attention import ExtendWork, PrefillWork, StepWork
from vidlabel.engine.budget import Budget
from vidlabel.engine.captioner import EngineCaptioner
from vidlabel.engine.maths import MathsKernels
from vidlabel.engine.rows import Rows
from vidlabel.errors import InputError
from vidlabel.models.minigpt4_video.model import MiniGPT4Video

Work = type[PrefillWork] | type[ExtendWork] | type[StepWork]


class FedClips:
    """Clips of which only so many are decoded so far."""

    def __init__(self, clips: list[AskedClip], num_ready: int) -> None:
        self.clips, self.num_ready, self.num_pulled = clips, num_ready, 0

    def would_wait(self) -> bool:
        return self.num_pulled >= self.num_ready

    def __iter__(self) -> Iterator[AskedClip]:
        for clip in self.clips:
            assert not self.would_wait(), "pulled a clip that is still to be decoded, while answers could be made"
            self.num_pulled += 1
            yield clip


def scarce(kind: Work, max_tokens: int) -> MiniGPT4Video:
    """A model whose last layer has memory for so many tokens of one kind of work."""
    model = tiny_model(language_config("mistral"))

    def check(_module: nn.Module, _args: Any, kwargs: dict[str, Any]) -> None:
        if isinstance(kwargs["work"], kind) and kwargs["hidden_states"].shape[1] > max_tokens:
            raise torch.OutOfMemoryError("not enough memory")

    model.llama_model.model.layers[-1].self_attn.register_forward_pre_hook(check, with_kwargs=True)
    return model


SETTINGS = answer_settings(max_new_tokens=8)


def expected(asked: list[AskedClip]) -> dict[tuple[str, str], tuple[str, int, str, str | None]]:
    return said(engine(model_of("mistral"), SETTINGS).answer(asked))


@pytest.mark.parametrize(
    ("kind", "max_tokens", "budget"),
    [
        (PrefillWork, 60, lambda captioner: captioner.budgets.prefill),
        (ExtendWork, 30, lambda captioner: captioner.budgets.extend),
        (StepWork, 3, lambda captioner: captioner.budgets.step),
        (StepWork, 1, lambda captioner: captioner.budgets.step),
    ],
)
def test_out_of_memory_halves_that_stages_budget_and_every_answer_still_comes(
    kind: Work, max_tokens: int, budget: Callable[[EngineCaptioner], Budget]
) -> None:
    asked = clips(6)
    captioner = engine(scarce(kind, max_tokens), SETTINGS)
    budgets = captioner.budgets
    assert budget(captioner).size > max_tokens
    before = {budgets.prefill: budgets.prefill.size, budgets.extend: budgets.extend.size}
    assert said(captioner.answer(asked)) == expected(asked)
    assert budget(captioner).size <= max_tokens
    learnt = budget(captioner)
    assert all(other.size == size for other, size in before.items() if other is not learnt)
    assert said(captioner.answer(asked)) == expected(asked)  # and nothing of it stuck


def test_a_clip_that_does_not_fit_alone_is_its_own_error() -> None:
    asked = clips(5)
    asked[2] = asked_clip("clip2", texts=TEXTS[:2], num_frames=4, cues=(Cue(0, 1, "red ball " * 40),), size=SIZE)
    captioner = engine(scarce(PrefillWork, 100), SETTINGS, num_slots=3)
    answers = said(captioner.answer(asked))
    assert len(answers) == 10
    for (clip_id, text), answer in answers.items():
        if clip_id == "clip2":
            assert answer[3] is not None
            assert "out of memory with this clip alone (" in answer[3]
        else:
            assert answer == expected(asked)[clip_id, text]


def test_a_question_that_does_not_fit_alone_is_its_own_error() -> None:
    asked = clips(3, texts=("Why?", "what " * 60, TEXTS[0]))
    answers = said(engine(scarce(ExtendWork, 50), SETTINGS).answer(asked))
    whole = expected(asked)
    for key, answer in answers.items():
        if key[1].startswith("what what"):
            assert answer[3] is not None
            assert "out of memory" in answer[3]
        else:
            assert answer == whole[key]
    assert len(answers) == len(whole) == 9


def test_no_memory_for_even_one_row_is_an_error_of_each_question_and_the_run_ends() -> None:
    answers = list(engine(scarce(StepWork, 0), answer_settings(max_new_tokens=8), stop_ids=()).answer(clips(3)))
    assert len(answers) == 6
    assert all("out of memory" in (answer.error or "") for answer in answers)


@pytest.mark.parametrize("max_frames", [0, 1, 3])
def test_out_of_memory_in_the_tower_takes_fewer_frames_at_a_time(max_frames: int) -> None:
    whole = model_of("llama")
    model = ScarceVision(whole.config, whole.llama_model.config)
    model.load_state_dict(whole.state_dict())
    model.max_frames = max_frames
    asked = clips(4)
    answers = said(engine(model, SETTINGS).answer(asked))
    if max_frames == 0:
        assert len(answers) == 8
        assert all("single frame" in (answer[3] or "") for answer in answers.values())
    else:
        assert answers == said(engine(whole, SETTINGS).answer(asked))


class NarrowCaptioner(EngineCaptioner):
    """On a machine that has memory for prefixes up to so many positions."""

    longest = 10_000

    def _make_rows(self, prefix_length: int, suffix_length: int) -> Rows:
        if prefix_length > self.longest:
            raise InputError("not one clip fits into memory")
        return super()._make_rows(prefix_length, suffix_length)


def test_a_clip_for_which_no_slot_can_be_made_is_its_own_error() -> None:
    long = asked_clip("long", num_frames=4, cues=(Cue(0, 1, "red ball " * 60),), size=SIZE)
    asked = [long, *clips(2), asked_clip("again", num_frames=4, cues=long.frames.cues, size=SIZE), *clips(4)[2:]]
    captioner = NarrowCaptioner(model_of("mistral"), TOKENIZER, SETTINGS, kernels=MathsKernels(), num_slots=2)
    captioner.stop_ids = STOP_IDS
    captioner.longest = 120
    answers = said(captioner.answer(asked))
    failed = {key for key, answer in answers.items() if answer[3] is not None}
    assert {clip_id for clip_id, _ in failed} == {"long", "again"}
    assert {key: answer for key, answer in answers.items() if key not in failed} == expected(clips(4))


def test_slots_are_made_anew_for_longer_clips_and_nothing_is_lost() -> None:
    asked = [*clips(3), asked_clip("long", num_frames=4, cues=(Cue(0, 1, "red ball " * 90),), size=SIZE), *clips(6)[3:]]
    captioner = engine(model_of("mistral"), SETTINGS, num_slots=2)
    answers = said(captioner.answer(asked))
    alone = {key: answer for clip in asked for key, answer in expected([clip]).items()}
    assert answers == alone


def test_decoding_goes_on_while_the_next_clip_would_keep_it_waiting() -> None:
    feed = FedClips(clips(3, texts=TEXTS[:2]), num_ready=1)
    answers = engine(model_of("llama"), SETTINGS, num_slots=2).answer(feed)
    first = [next(answers), next(answers)]
    assert {answer.clip_id for answer in first} == {"clip0"}
    assert feed.num_pulled == 1
    feed.num_ready = 3
    assert {answer.clip_id for answer in answers} == {"clip1", "clip2"}


def test_with_nothing_to_do_it_waits_for_the_next_clip() -> None:
    """All answers are out, so pulling and waiting is all that is left, whatever the feed says of it."""

    class Slow(FedClips):
        def __iter__(self) -> Iterator[AskedClip]:
            for clip in self.clips:
                self.num_pulled += 1
                yield clip

    answers = list(engine(model_of("llama"), SETTINGS).answer(Slow(clips(3), num_ready=0)))
    assert len(answers) == 6


def test_an_answer_comes_when_its_row_ends_not_when_its_batch_does() -> None:
    """Answers come in the order in which rows end, and the freed slot takes the next clip while others decode."""
    pulled: list[str] = []

    def feed() -> Iterator[AskedClip]:
        for clip in clips(8, texts=TEXTS[:3]):
            pulled.append(clip.clip.clip_id)
            yield clip

    captioner = engine(model_of("llama"), answer_settings(max_new_tokens=24), num_slots=2, rows_per_slot=3)
    pulled_at: list[tuple[Answer, int]] = [(answer, len(pulled)) for answer in captioner.answer(feed())]
    first = [answer.num_tokens for answer, count in pulled_at if count == 2]
    assert first == sorted(first)
    assert len(set(first)) > 1  # the first answers came before the longest of their company
    order = [answer.clip_id for answer, _ in pulled_at]
    # clip 2 took the place of the first that left: its answers mix with those of the other that was there before
    assert {"clip0", "clip1"} & set(order[order.index("clip2") :])


def test_clips_are_pulled_only_as_slots_are_free() -> None:
    num_pulled = 0

    def endless() -> Iterator[AskedClip]:
        nonlocal num_pulled
        while True:
            num_pulled += 1
            yield asked_clip(f"clip{num_pulled}", texts=TEXTS[:2], num_frames=1, size=SIZE)

    answered: dict[str, int] = {}
    for answer in engine(model_of("qwen2"), SETTINGS, num_slots=3).answer(endless()):
        answered[answer.clip_id] = answered.get(answer.clip_id, 0) + 1
        num_done = sum(count == 2 for count in answered.values())
        assert num_pulled <= num_done + 3
        if num_done == 7:
            break


def test_only_live_rows_and_slots_are_stepped() -> None:
    captioner = engine(model_of("llama"), answer_settings(max_new_tokens=24), num_slots=3)
    answers = list(captioner.answer(clips(5)))
    # every token but a row's first takes one row-step; an end token is a token too
    spoken = sum(answer.num_tokens + (answer.finish_reason == "stop") for answer in answers)
    assert captioner.stats.row_steps == spoken - len(answers)
    assert captioner.stats.steps < captioner.stats.slot_steps < captioner.stats.row_steps


def test_a_budget_gives_back_what_cannot_be_done_and_does_the_rest_in_order() -> None:
    done: list[int] = []

    def work(batch: list[int]) -> None:
        if sum(batch) > 10:
            raise torch.OutOfMemoryError("not enough memory")
        done.extend(batch)

    budget = Budget(40, "tokens", torch.device("cpu"))
    failed = budget.spend([5, 4, 11, 3, 3, 3, 9], lambda size: size, lambda batch: work(list(batch)))
    assert (done, failed, budget.size) == ([5, 4, 3, 3, 3, 9], [11], 8)
