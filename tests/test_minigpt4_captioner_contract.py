"""What every captioner promises: each question of each clip answered once, with its ids, clips pulled as needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from tests.minigpt4_models import TEXTS, answer_settings, asked_clip, golden_model
from vidlabel.captioner import Captioner, EchoCaptioner
from vidlabel.data import AskedClip
from vidlabel.engine.captioner import EngineCaptioner
from vidlabel.engine.maths import MathsKernels
from vidlabel.models.minigpt4_video.generate import GenerateCaptioner
from vidlabel.models.minigpt4_video.writing import WritingCaptioner

BATCH = 4


def generate() -> Captioner:
    return GenerateCaptioner(*golden_model("mistral_small"), answer_settings(max_new_tokens=4), batch_size=BATCH)


def engine() -> Captioner:
    model, tokenizer = golden_model("mistral_small")
    return EngineCaptioner(
        model, tokenizer, answer_settings(max_new_tokens=4), kernels=MathsKernels(), num_slots=BATCH, rows_per_slot=2
    )


def writing() -> Captioner:
    """Beside it the language model writes; nothing here asks it to."""
    return WritingCaptioner(engine(), *golden_model("mistral_small"), {}, max_new_tokens=4)


CAPTIONERS = pytest.mark.parametrize("make", [EchoCaptioner, generate, engine, writing])


def asked_clips(num_clips: int) -> list[AskedClip]:
    """One to three questions each; clip 5 cannot be answered by a model with a window."""
    clips = [asked_clip(f"clip{i}", texts=TEXTS[: 1 + i % 3], num_frames=1 + i % 2) for i in range(num_clips)]
    clips[5] = asked_clip("clip5", texts=("what " * 10_000, "Why?"))
    return clips


@CAPTIONERS
def test_every_question_of_every_clip_is_answered_exactly_once(make: Callable[[], Captioner]) -> None:
    clips = asked_clips(11)
    answers = list(make().answer(clips))
    asked = Counter((clip.clip.clip_id, question) for clip in clips for question in clip.questions)
    assert Counter((answer.clip_id, answer.question) for answer in answers) == asked
    for answer in answers:
        assert (answer.error is not None) == (
            not answer.text and answer.num_tokens == 0 and answer.mean_logprob is None
        )


@CAPTIONERS
def test_an_answer_belongs_to_its_clip_whatever_the_order(make: Callable[[], Captioner]) -> None:
    clips = asked_clips(8)
    said = {(a.clip_id, a.question.text): a.text for a in make().answer(clips)}
    backwards = {(a.clip_id, a.question.text): a.text for a in make().answer(clips[::-1])}
    assert backwards == said
    frames = {clip.clip.clip_id: len(clip.frames.images) for clip in clips}
    assert all(a.num_frames == frames[a.clip_id] for a in make().answer(clips))


@CAPTIONERS
def test_clips_are_pulled_only_as_they_are_needed(make: Callable[[], Captioner]) -> None:
    pulled = 0

    def endless() -> Iterator[AskedClip]:
        nonlocal pulled
        while True:
            pulled += 1
            yield asked_clip(f"clip{pulled}")

    answers = make().answer(endless())
    for num_taken in range(1, 10):
        next(answers)
        assert pulled < num_taken + BATCH
    assert pulled >= 9


@CAPTIONERS
def test_no_clips_give_no_answers(make: Callable[[], Captioner]) -> None:
    assert list(make().answer([])) == []


@CAPTIONERS
def test_a_captioner_can_be_asked_again(make: Callable[[], Captioner]) -> None:
    captioner = make()
    first, second = (list(captioner.answer([asked_clip("a")])) for _ in range(2))
    assert first == second
