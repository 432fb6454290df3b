"""The engine behind the Captioner seam: what it computes once, what it leaves as it was, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from transformers import GPTNeoXConfig

from tests.engine_models import (
    KINDS,
    SIZE,
    STOP_IDS,
    TOKENIZER,
    Kind,
    clips,
    engine,
    language_config,
    model_of,
    said,
    tiny_model,
)
from tests.minigpt4_models import TEXTS, answer_settings, asked_clip
from vidlabel.data import Cue, Question
from vidlabel.engine.captioner import EngineCaptioner
from vidlabel.engine.choosing import Choosing
from vidlabel.engine.maths import MathsKernels
from vidlabel.engine.rows import Asking, Prefilling, Rows
from vidlabel.engine.slots import Slots, slot_shape
from vidlabel.engine.vision import Encoded, KeptFeatures
from vidlabel.errors import InputError
from vidlabel.models.minigpt4_video.answers import ask
from vidlabel.models.minigpt4_video.generate import GenerateCaptioner

SETTINGS = answer_settings(max_new_tokens=8)


@pytest.mark.parametrize("kind", KINDS)
def test_no_mask_is_built_and_each_forward_is_packed(kind: Kind) -> None:
    model = tiny_model(language_config(kind))
    masks: list[Any] = []
    widths: list[int] = []

    def see(_module: nn.Module, _args: Any, kwargs: dict[str, Any]) -> None:
        masks.append(kwargs["attention_mask"])
        widths.append(kwargs["hidden_states"].shape[1])

    model.llama_model.model.layers[0].self_attn.register_forward_pre_hook(see, with_kwargs=True)
    captioner = engine(model, SETTINGS)
    answers = list(captioner.answer(clips(5)))
    assert len(answers) == 10
    assert all(mask is None for mask in masks)
    stats = captioner.stats
    assert sum(widths) == stats.prefill_tokens + stats.extend_tokens + stats.row_steps


@pytest.mark.parametrize("kind", KINDS)
def test_generate_works_on_the_same_model_before_between_and_after(kind: Kind) -> None:
    model, asked = tiny_model(language_config(kind)), clips(4)
    generate = GenerateCaptioner(model, TOKENIZER, SETTINGS)
    generate.stop_ids = STOP_IDS
    before = model.llama_model.config._attn_implementation
    expected = said(generate.answer(asked))
    answers = engine(model, SETTINGS, num_slots=2).answer(asked)
    first = next(answers)
    assert model.llama_model.config._attn_implementation == before
    assert said(generate.answer(asked)) == expected
    assert said([first, *answers]) == expected
    assert said(generate.answer(asked)) == expected


def test_a_clip_that_is_asked_again_is_not_encoded_again_and_answers_the_same() -> None:
    model, asked = model_of("llama"), clips(4)
    more = [replace(clip, questions=tuple(Question(text, "test") for text in TEXTS[2:])) for clip in asked]
    plain = engine(model, SETTINGS)
    keeping = EngineCaptioner(model, TOKENIZER, SETTINGS, kernels=MathsKernels(), num_slots=4, keep_features=True)
    keeping.stop_ids = STOP_IDS
    num_frames = sum(len(clip.frames.images) for clip in asked)
    for again in (asked, more):
        expected, answers = list(plain.answer(again)), list(keeping.answer(again))
        assert said(answers) == said(expected)
        numbers = {(one.clip_id, one.question.text): one.mean_logprob for one in expected}
        assert numbers == {
            (one.clip_id, one.question.text): pytest.approx(one.mean_logprob, abs=1e-6) for one in answers
        }
        assert keeping.stats.vision_frames == num_frames
    assert plain.stats.vision_frames == 2 * num_frames  # unless it is asked for, nothing is kept


def test_a_clip_that_comes_twice_at_once_is_encoded_once() -> None:
    captioner = EngineCaptioner(model_of("llama"), TOKENIZER, SETTINGS, num_slots=4, keep_features=True)
    one, two = asked_clip("a", texts=TEXTS[:1], size=SIZE), asked_clip("b", texts=TEXTS[:1], size=SIZE)
    follow_up = replace(one, questions=(Question(TEXTS[1], "test"),))
    assert len(list(captioner.answer([one, follow_up, two]))) == 3
    assert captioner.stats.vision_frames == len(one.frames.images) + len(two.frames.images)


def test_features_are_kept_within_their_bytes_and_while_their_frames_live() -> None:
    first, second, third, large = (asked_clip(name, num_frames=1, size=SIZE).frames for name in "abcd")

    def filled(num_bytes: int, value: float) -> Encoded:
        return Encoded(torch.full((num_bytes // 4 - 1,), value), torch.full((1,), value))

    kept = KeptFeatures(max_bytes=100)
    kept.add(first, filled(40, 1.0))
    kept.add(second, filled(40, 2.0))
    assert kept.get(first) is not None  # so that the second has not been looked at for longest
    kept.add(third, filled(40, 3.0))
    kept.add(large, filled(104, 4.0))  # would push out all others and still not fit
    looks = [kept.get(frames) for frames in (first, second, third, large)]
    assert [None if look is None else float(look.embeds[0]) for look in looks] == [1.0, None, 3.0, None]
    assert (kept.num_bytes, kept.free_bytes) == (80, 20)
    del first
    assert kept.num_bytes == 40


def test_each_frame_and_each_prefix_is_computed_once_whatever_is_asked() -> None:
    captioner, asked = engine(model_of("llama"), SETTINGS, rows_per_slot=2), clips(5, texts=TEXTS)
    assert len(list(captioner.answer(asked))) == 20
    assert captioner.stats.vision_frames == sum(len(clip.frames.images) for clip in asked)
    prompts = [ask(clip, TOKENIZER, captioner.model.config, max_tokens=400)[0] for clip in asked]
    assert captioner.stats.prefill_tokens == sum(ones[0].prompt.prefix.num_tokens for ones in prompts)
    assert captioner.stats.extend_tokens == sum(len(one.prompt.suffix) for ones in prompts for one in ones)


def test_logits_are_made_for_one_token_of_each_row_only() -> None:
    model = tiny_model(language_config("llama"))
    rows: list[int] = []
    model.llama_model.lm_head.register_forward_hook(lambda _m, _i, out: rows.append(len(out)))
    captioner = engine(model, SETTINGS)
    list(captioner.answer(clips(5)))
    assert sum(rows) == 10 + captioner.stats.row_steps


def test_questions_whose_prefixes_differ_are_each_answered_on_their_own() -> None:
    """A very long question shortens the subtitles further, so the clip has two prefixes and takes two slots."""
    cues = (Cue(0.0, 1.0, "the red ball goes down the street " * 40),)
    asked = asked_clip("a", texts=("Why?", "and what " * 80, TEXTS[0]), cues=cues, size=SIZE)
    prompts, _ = ask(asked, TOKENIZER, model_of("llama").config, max_tokens=512 - 8)
    assert len({one.prompt.prefix for one in prompts}) == 2
    generate = GenerateCaptioner(model_of("llama"), TOKENIZER, SETTINGS)
    generate.stop_ids = STOP_IDS
    for num_slots in (1, 2):
        assert said(engine(model_of("llama"), SETTINGS, num_slots=num_slots).answer([asked])) == said(
            generate.answer([asked])
        )


def test_an_abandoned_run_leaves_no_trace_in_the_next() -> None:
    captioner, asked = engine(model_of("mistral"), SETTINGS), clips(5)
    expected = said(captioner.answer(asked))
    abandoned = captioner.answer(clips(7, seed=3)[2:])
    next(abandoned)
    abandoned.close()
    assert said(captioner.answer(asked)) == expected


def test_two_runs_at_once_do_not_meet() -> None:
    captioner = engine(model_of("mistral"), SETTINGS)
    expected = said(captioner.answer(clips(4)))
    one, other = captioner.answer(clips(4)), captioner.answer(clips(4)[::-1])
    mixed = [next(one), next(other), next(one), next(other)]
    assert said([*mixed[::2], *one]) == said([*mixed[1::2], *other]) == expected


def test_numbers_that_overflow_are_an_error_and_no_label() -> None:
    model = tiny_model(language_config("llama"))
    model.llama_model.lm_head.weight.mul_(torch.inf)
    answers = list(engine(model, SETTINGS).answer(clips(1)))
    assert len(answers) == 2
    assert all("overflow in torch.float32: choose another --dtype" in (answer.error or "") for answer in answers)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_says_nearly_what_float32_says(dtype: torch.dtype) -> None:
    """The log-probability of the first token, which no earlier difference can have changed."""
    options = answer_settings(max_new_tokens=1)
    exact = {(a.clip_id, a.question): a for a in engine(model_of("mistral"), options).answer(clips(3))}
    half = tiny_model(language_config("mistral")).to(dtype)
    for answer in engine(half, options).answer(clips(3)):
        assert answer.error is None
        assert answer.mean_logprob == pytest.approx(exact[answer.clip_id, answer.question].mean_logprob, abs=0.05)


def test_a_step_over_all_rows_at_once_says_the_same_as_over_the_live_ones() -> None:
    """The form that a CUDA graph records: dead rows are computed too, and stay dead."""

    class AllRows(MathsKernels):
        fixed_rows = True

    model = model_of("mistral")
    spoken = []
    for kernels in (MathsKernels(), AllRows()):
        shape = slot_shape(model.llama_model.config, num_slots=3, rows_per_slot=2, prefix_length=40, suffix_length=30)
        slots = Slots(shape, dtype=torch.float32, device=torch.device("cpu"))
        rows = Rows(model, slots, kernels, Choosing(1.3, 0.0, 1.0), max_new_tokens=9, stop_ids=STOP_IDS)
        torch.manual_seed(1)
        rows.prefill([Prefilling(2, torch.randn(31, 32)), Prefilling(0, torch.randn(17, 32))])
        rows.extend([Asking(4, (7, 8, 9), 0), Asking(1, (17, 3), 0), Asking(5, (4,), 0)])
        ended = rows.finished()
        while rows.live:
            rows.step()
            ended += rows.finished()
        spoken.append({found.row: (found.ids, found.stopped) for found in ended})
        assert not slots.suffix_lengths.any()
    assert spoken[0] == spoken[1]
    assert set(spoken[0]) == {1, 4, 5}


def test_a_language_model_that_would_answer_wrongly_is_refused() -> None:
    refused = {
        "sees only 100 positions back": language_config("mistral", sliding_window=100),
        "sliding_window": language_config(
            "qwen2", sliding_window=64, use_sliding_window=True, max_window_layers=1, layer_types=None
        ),
        "rotary positions of type 'dynamic'": language_config(
            "llama", rope_parameters={"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
        ),
        "this one is 'gpt_neox'": GPTNeoXConfig(
            vocab_size=64, hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=32
        ),
    }
    for words, config in refused.items():
        with pytest.raises(InputError, match=words) as refusal:
            engine(tiny_model(config), SETTINGS)
        assert "--engine generate" in str(refusal.value)
    engine(tiny_model(language_config("mistral", sliding_window=4096)), SETTINGS)  # wider than any prompt
