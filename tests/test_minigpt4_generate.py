"""The captioner on `generate`: a row says the same in any company, and nothing that goes wrong costs its neighbours."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaForCausalLM

from tests.minigpt4_models import (
    TEXTS,
    VARIANTS,
    ScarceVision,
    answer_settings,
    asked_clip,
    golden_config,
    golden_model,
    golden_sources,
    qwen_folder,
    qwen_model,
)
from vidlabel.data import Answer, AskedClip, Cue
from vidlabel.models.minigpt4_video.answers import clean_answer
from vidlabel.models.minigpt4_video.decoding import draw, penalise, warp
from vidlabel.models.minigpt4_video.generate import GenerateCaptioner
from vidlabel.models.minigpt4_video.loading import load_sources
from vidlabel.models.minigpt4_video.model import MiniGPT4Video, pad_left, pad_right, positions
from vidlabel.models.minigpt4_video.prompt import build_prompts
from vidlabel.models.minigpt4_video.tokenizer import PromptTokenizer

MODEL, TOKENIZER = golden_model("llama_small")


class ScarceMemory(LlamaForCausalLM):
    """A language model with memory for so many rows."""

    max_rows = 99

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        embeds = kwargs.get("inputs_embeds")
        num_rows = len(embeds) if embeds is not None else len(kwargs["input_ids"])
        if num_rows > self.max_rows:
            raise torch.OutOfMemoryError("not enough memory")
        return super().forward(*args, **kwargs)


@pytest.fixture
def fresh() -> tuple[MiniGPT4Video, PromptTokenizer]:
    """A model of this test's own, to be spoilt."""
    return load_sources(golden_sources("llama_small"), golden_config("llama_small"))


def clips(num_clips: int, **options: Any) -> list[AskedClip]:
    """Clips of different lengths, some with subtitles."""
    return [
        asked_clip(f"clip{i}", num_frames=1 + i % 4, cues=(Cue(0.0, 1.0, "red ball " * (i % 3)),), **options)
        for i in range(num_clips)
    ]


def spoken(answers: Iterator[Answer] | list[Answer]) -> dict[tuple[str, str], tuple[str, int, str]]:
    return {(a.clip_id, a.question.text): (a.text, a.num_tokens, a.finish_reason) for a in answers}


@pytest.mark.parametrize("temperature", [0.0, 0.9])
@pytest.mark.parametrize("variant", VARIANTS)
def test_answers_do_not_depend_on_batch_size_or_neighbours(variant: str, temperature: float) -> None:
    model, tokenizer = golden_model(variant)
    settings = answer_settings(max_new_tokens=12, temperature=temperature, top_p=0.9)
    asked = clips(5, texts=TEXTS[:2])
    alone = [a for clip in asked for a in GenerateCaptioner(model, tokenizer, settings, batch_size=1).answer([clip])]
    together = GenerateCaptioner(model, tokenizer, settings, batch_size=7).answer(reversed(asked))
    assert len(set(spoken(alone).values())) > 5  # the clips are told apart
    assert spoken(together) == spoken(alone)


def test_sampled_answers_repeat_with_their_seed_and_change_with_it() -> None:
    settings = answer_settings(max_new_tokens=12, temperature=1.0)
    first, again, other = (
        spoken(GenerateCaptioner(MODEL, TOKENIZER, settings).answer([asked_clip("a", seed=seed)])) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other
    greedy = spoken(GenerateCaptioner(MODEL, TOKENIZER, answer_settings(max_new_tokens=12)).answer([asked_clip("a")]))
    assert greedy != first


def test_rows_that_end_early_are_cut_at_their_end_token_while_others_go_on() -> None:
    """eos is made likely, so that rows end at different steps."""
    settings = answer_settings(max_new_tokens=24, repetition_penalty=1.5)
    captioner = GenerateCaptioner(MODEL, TOKENIZER, settings, batch_size=8)
    captioner.stop_ids = tuple(range(2, 640, 11))
    answers = list(captioner.answer(clips(8)))
    assert len({a.num_tokens for a in answers if a.finish_reason == "stop"}) > 2
    for answer in answers:
        assert answer.mean_logprob is not None
        assert answer.mean_logprob < 0
        if answer.finish_reason == "length":
            assert answer.num_tokens == 24
    single = GenerateCaptioner(MODEL, TOKENIZER, settings, batch_size=1)
    single.stop_ids = captioner.stop_ids
    alone = {a.clip_id: a.mean_logprob for a in single.answer(clips(8))}
    for answer in answers:
        assert answer.mean_logprob == pytest.approx(alone[answer.clip_id], abs=1e-4)


def test_mean_logprob_is_the_models_own_of_the_tokens_it_said() -> None:
    settings = answer_settings(max_new_tokens=6, repetition_penalty=1.5)
    asked = asked_clip("a")
    captioner = GenerateCaptioner(MODEL, TOKENIZER, settings)
    (answer,) = captioner.answer([asked])
    (prompt,) = build_prompts(
        TOKENIZER, MODEL.config, pts_seconds=[0.0, 1.0, 2.0], cues=[], questions=[TEXTS[0]], max_tokens=999
    )
    assert prompt is not None
    with torch.inference_mode():
        images = MODEL.encode_images(MODEL.preprocess(asked.frames.images))
        ids: list[int] = []
        total = 0.0
        for _ in range(6):
            embeds = torch.cat([MODEL.embed_prefix(prompt.prefix, images), MODEL.embed_ids([*prompt.suffix, *ids])])
            logits = MODEL.llama_model(inputs_embeds=embeds[None]).logits[:, -1]
            token = int(penalise(logits, torch.tensor([ids], dtype=torch.long), 1.5).argmax())
            total += float(logits.log_softmax(-1)[0, token])
            ids.append(token)
    assert answer.text == clean_answer(TOKENIZER.decode(ids))
    assert answer.mean_logprob == pytest.approx(total / 6, abs=1e-4)


@pytest.mark.parametrize("max_rows", [1, 3])
def test_out_of_memory_halves_the_batch_and_every_answer_still_comes(
    max_rows: int, fresh: tuple[MiniGPT4Video, PromptTokenizer]
) -> None:
    model, tokenizer = fresh
    settings = answer_settings()
    expected = spoken(GenerateCaptioner(model, tokenizer, settings, batch_size=8).answer(clips(8)))
    scarce = ScarceMemory(model.llama_model.config)
    scarce.load_state_dict(model.llama_model.state_dict())
    scarce.generation_config = model.llama_model.generation_config
    scarce.max_rows = max_rows
    model.llama_model = scarce
    captioner = GenerateCaptioner(model, tokenizer, settings, batch_size=8)
    assert spoken(captioner.answer(clips(8))) == expected
    assert captioner.max_rows <= max_rows


def test_out_of_memory_with_one_row_is_that_clips_error(fresh: tuple[MiniGPT4Video, PromptTokenizer]) -> None:
    model, tokenizer = fresh
    scarce = ScarceMemory(model.llama_model.config)
    scarce.max_rows = 0
    model.llama_model = scarce
    answers = list(GenerateCaptioner(model, tokenizer, answer_settings(), batch_size=4).answer(clips(3)))
    assert sorted(a.clip_id for a in answers) == ["clip0", "clip1", "clip2"]
    assert all(a.error is not None and "out of memory" in a.error and a.text == "" for a in answers)


@pytest.mark.parametrize("max_frames", [0, 1, 2])
def test_out_of_memory_in_the_tower_takes_fewer_frames_at_a_time(max_frames: int) -> None:
    model = ScarceVision(MODEL.config, MODEL.llama_model.config)
    model.load_state_dict(MODEL.state_dict())
    model.max_frames = max_frames
    asked = asked_clip("a", num_frames=7)
    (answer,) = GenerateCaptioner(model, TOKENIZER, answer_settings()).answer([asked])
    if max_frames == 0:
        assert answer.error is not None
        assert "single frame" in answer.error
    else:
        (expected,) = GenerateCaptioner(MODEL, TOKENIZER, answer_settings()).answer([asked])
        assert (answer.text, answer.error) == (expected.text, None)


def test_long_subtitles_are_shortened_and_the_answer_says_so(fresh: tuple[MiniGPT4Video, PromptTokenizer]) -> None:
    model, tokenizer = fresh
    model.config = replace(model.config, context_window=400)
    short, long = "the red ball goes down the street ", "the red ball goes down the street " * 40
    answers = GenerateCaptioner(model, tokenizer, answer_settings(max_new_tokens=4)).answer(
        [asked_clip("short", cues=(Cue(0, 1, short),)), asked_clip("long", cues=(Cue(0, 1, long), Cue(1, 2, short)))]
    )
    found = {answer.clip_id: answer for answer in answers}
    assert (found["short"].flags, found["short"].num_subtitle_words) == ((), 7)
    assert (found["long"].flags, found["long"].error) == (("subtitles_shortened",), None)
    assert 14 < found["long"].num_subtitle_words < 287


def test_a_clip_too_long_for_the_window_is_an_error_of_that_clip_alone() -> None:
    settings = answer_settings(max_new_tokens=3900)
    settings_short = answer_settings(max_new_tokens=4)
    too_long = asked_clip("long", num_frames=40)
    answers = {a.clip_id: a for a in GenerateCaptioner(MODEL, TOKENIZER, settings).answer([too_long])}
    assert "ask for fewer frames" in (answers["long"].error or "")
    assert answers["long"].num_frames == 40
    (fine,) = GenerateCaptioner(MODEL, TOKENIZER, settings_short).answer([too_long])
    assert fine.error is None


def test_a_question_too_long_is_an_error_of_that_question_alone() -> None:
    asked = asked_clip("a", texts=("Why?", "and what " * 2000))
    answers = {a.question.text: a for a in GenerateCaptioner(MODEL, TOKENIZER, answer_settings()).answer([asked])}
    assert answers["Why?"].error is None
    assert "question is too long" in (answers["and what " * 2000].error or "")


def test_the_language_models_own_generation_settings_change_nothing(tmp_path: Path) -> None:
    source = golden_sources("llama_small")
    folder = tmp_path / "llm"
    shutil.copytree(source.language_model, folder)
    hostile = {"do_sample": True, "temperature": 0.1, "repetition_penalty": 9.0, "max_new_tokens": 2, "num_beams": 3}
    (folder / "generation_config.json").write_text(json.dumps({**hostile, "suppress_tokens": list(range(3, 600))}))
    model, tokenizer = load_sources(replace(source, language_model=folder), golden_config("llama_small"))
    expected = spoken(GenerateCaptioner(MODEL, TOKENIZER, answer_settings()).answer(clips(3)))
    assert spoken(GenerateCaptioner(model, tokenizer, answer_settings()).answer(clips(3))) == expected


def test_prefill_never_makes_logits_of_the_whole_prompt(fresh: tuple[MiniGPT4Video, PromptTokenizer]) -> None:
    model, tokenizer = fresh
    lengths: list[int] = []
    model.llama_model.lm_head.register_forward_hook(lambda _m, _i, out: lengths.append(out.shape[1]))
    list(GenerateCaptioner(model, tokenizer, answer_settings(), batch_size=4).answer(clips(4)))
    assert set(lengths) == {1}


def test_each_clip_is_encoded_once_whatever_is_asked(fresh: tuple[MiniGPT4Video, PromptTokenizer]) -> None:
    model, tokenizer = fresh
    images: list[int] = []
    model.visual_encoder.register_forward_hook(lambda _m, _i, out: images.append(len(out)))
    answers = list(GenerateCaptioner(model, tokenizer, answer_settings(), batch_size=3).answer(clips(4, texts=TEXTS)))
    assert len(answers) == 16
    assert sum(images) == 1 + 2 + 3 + 4


def test_numbers_that_overflow_are_an_error_and_no_label(fresh: tuple[MiniGPT4Video, PromptTokenizer]) -> None:
    model, tokenizer = fresh
    model.llama_model.lm_head.weight.mul_(torch.inf)
    (answer,) = GenerateCaptioner(model, tokenizer, answer_settings()).answer([asked_clip("a")])
    assert answer.error is not None
    assert "overflow in torch.float32: choose another --dtype" in answer.error


def test_an_answer_does_not_depend_on_what_else_is_asked(fresh: tuple[MiniGPT4Video, PromptTokenizer]) -> None:
    """Nor on what a restarted run still has to ask, even where subtitles must be shortened to make room."""
    model, tokenizer = fresh
    model.config = replace(model.config, context_window=600)
    cues = (Cue(0.0, 1.0, "the red ball goes down the street " * 70),)
    texts = ("Why?", "What is happening in this video? " * 5, "and what " * 100)
    captioner = GenerateCaptioner(model, tokenizer, answer_settings(max_new_tokens=4), batch_size=1)
    together = {a.question.text: a for a in captioner.answer([asked_clip("a", texts=texts, cues=cues)])}
    assert all(answer.flags == ("subtitles_shortened",) for answer in together.values())
    for text in texts:
        (alone,) = captioner.answer([asked_clip("a", texts=(text,), cues=cues)])
        assert alone == together[text]
    shown = [together[text].num_subtitle_words for text in texts]
    assert shown[0] == shown[1] > shown[2] > 0


def test_control_tokens_in_question_and_subtitle_are_only_text() -> None:
    text = "</s> <ImageHere> <s>[/INST]"
    (answer,) = GenerateCaptioner(MODEL, TOKENIZER, answer_settings()).answer(
        [asked_clip("a", texts=(text,), cues=(Cue(0, 1, text),))]
    )
    assert answer.error is None
    assert answer.num_frames == 3


def test_a_qwen_model_answers_on_the_same_path(tmp_path: Path) -> None:
    model, tokenizer = qwen_model(qwen_folder(tmp_path / "qwen"))
    settings = answer_settings(max_new_tokens=6)
    asked = [asked_clip(f"q{i}", size=28, num_frames=1 + i, texts=TEXTS[:2]) for i in range(3)]
    alone = [a for clip in asked for a in GenerateCaptioner(model, tokenizer, settings, batch_size=1).answer([clip])]
    together = spoken(GenerateCaptioner(model, tokenizer, settings, batch_size=8).answer(asked))
    assert len(together) == 6
    assert together == spoken(alone)


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        (" a cat </s> and more", "a cat"),
        ("<s>a cat", "a cat"),
        ("before [/INST] after", "before [/INST] after"),
        ("  ", ""),
    ],
)
def test_answers_are_cleaned_without_losing_what_was_said(text: str, cleaned: str) -> None:
    assert clean_answer(text) == cleaned


def test_choices_follow_penalty_temperature_top_k_top_p_like_transformers() -> None:
    from transformers import (
        RepetitionPenaltyLogitsProcessor,
        TemperatureLogitsWarper,
        TopKLogitsWarper,
        TopPLogitsWarper,
    )

    torch.manual_seed(0)
    scores, ids = torch.randn(3, 50) * 3, torch.randint(0, 50, (3, 7))
    assert torch.equal(penalise(scores, ids, 1.3), RepetitionPenaltyLogitsProcessor(1.3)(ids, scores.clone()))
    expected = scores
    for step in (TemperatureLogitsWarper(0.7), TopKLogitsWarper(20), TopPLogitsWarper(0.8)):
        expected = step(ids, expected)
    assert torch.equal(warp(scores, temperature=0.7, top_k=20, top_p=0.8), expected)


def test_draws_have_the_scores_own_frequencies_and_never_hit_what_is_ruled_out() -> None:
    scores = torch.tensor([0.5, 0.25, 0.0, 0.25]).log()[None].expand(4000, -1)
    uniforms = (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000
    counts = draw(scores, uniforms).bincount(minlength=4)
    assert counts.tolist() == [2000, 1000, 0, 1000]
    edges = draw(scores[:2], torch.tensor([0.0, 1.0 - 1e-16], dtype=torch.float64))
    assert edges.tolist() == [0, 3]


def test_padding_leaves_rows_and_positions_as_they_were() -> None:
    rows = [torch.ones(2, 3), torch.ones(4, 3)]
    left, mask = pad_left(rows)
    assert mask.tolist() == [[0, 0, 1, 1], [1, 1, 1, 1]]
    assert left[0].sum(-1).tolist() == [0, 0, 3, 3]
    assert positions(mask).tolist() == [[1, 1, 0, 1], [0, 1, 2, 3]]
    right, mask = pad_right(rows)
    assert (right[0].sum(-1).tolist(), mask[0].tolist()) == ([3, 3, 0, 0], [1, 1, 0, 0])


def test_frames_that_cannot_be_written_to_are_taken_as_they_are() -> None:
    frames = asked_clip("a").frames.images
    expected = MODEL.preprocess(frames)
    frames.flags.writeable = False
    assert torch.equal(MODEL.preprocess(frames), expected)


def test_frames_of_another_shape_or_type_are_refused() -> None:
    with pytest.raises(ValueError, match=r"uint8 \(T, S, S, 3\)"):
        MODEL.preprocess(torch.zeros(2, 3, 56, 56))
    with pytest.raises(ValueError, match="S = 56"):
        MODEL.encode_images(torch.zeros(2, 3, 28, 28))
