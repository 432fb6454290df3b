"""The prompt: laid out as the reference does, cut at a segment's end, and never longer than the window."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.minigpt4_models import GOLDEN, VARIANTS, golden_model, qwen_folder, qwen_model
from vidlabel.data import Cue
from vidlabel.models.minigpt4_video.prompt import (
    PromptTooLongError,
    build_prefix,
    build_prompts,
    build_suffix,
    captions_of_frames,
    prompt_budget,
    stop_ids,
)
from vidlabel.models.minigpt4_video.tokenizer import SentencePieceTokenizer

MODEL, TOKENIZER = golden_model("llama_small")
CONFIG = MODEL.config
words = st.sampled_from(["red", "ball", "goes", "你好", "世界。", "a", "street"])
texts = st.lists(words, max_size=12).map(" ".join)


@pytest.mark.parametrize("variant", VARIANTS)
@given(captions=st.lists(texts, min_size=1, max_size=4), question=texts.filter(str.strip))
@settings(max_examples=40, deadline=None)
def test_layout_gives_the_reference_ids_for_any_captions(variant: str, captions: list[str], question: str) -> None:
    model, tokenizer = golden_model(variant)
    assert isinstance(tokenizer, SentencePieceTokenizer)
    frames = "".join("<Img><ImageHere>" + (f"<Cap>{caption} " if caption else "") for caption in captions)
    parts = f"<s>[INST] {frames}\n{question} [/INST]".split("<ImageHere>")
    expected = [tokenizer.encode_reference(part, bos=i == 0) for i, part in enumerate(parts)]
    prefix = build_prefix(tokenizer, model.config, [[caption] for caption in captions], max_tokens=9999)
    suffix = build_suffix(tokenizer, model.config, question)
    # the last segment is cut after its caption, and nothing changes by it
    assert [list(segment) for segment in prefix.segments[:-1]] == expected[:-1]
    assert [*prefix.segments[-1], *suffix] == expected[-1]
    assert prefix.num_tokens == sum(map(len, prefix.segments)) + len(captions) * 4


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_training_form_is_there_to_be_chosen(variant: str) -> None:
    model, tokenizer = golden_model(variant)
    config = replace(model.config, prompt_family="inst_training", num_bos=1)
    (prompt,) = build_prompts(
        tokenizer,
        config,
        pts_seconds=[0.0, 1.0, 2.0],
        cues=[Cue(1.0, 2.0, "hello world")],
        questions=["What is happening in this video?"],
        max_tokens=999,
    )
    assert prompt is not None
    calls = json.loads((GOLDEN / variant / "train_cases.json").read_text(encoding="utf-8"))["two_samples"][
        "tokenizer_calls"
    ]
    recorded = [call["ids"] for call in calls[:4]]
    assert [list(segment) for segment in prompt.prefix.segments[:3]] == [[1, *recorded[0]], *recorded[1:3]]
    assert list(prompt.suffix) == recorded[3]


def test_each_cue_is_shown_after_the_first_frame_that_is_not_before_its_start() -> None:
    cues = [
        Cue(5.0, 6.0, "after the last frame"),
        Cue(0.0, 9.0, "the whole time"),
        Cue(0.2, 0.4, "between\n two frames"),
        Cue(1.0, 1.1, "at a frame"),
    ]
    assert captions_of_frames([0.0, 1.0, 2.0], cues) == [
        ["the whole time"],
        ["between two frames", "at a frame"],
        ["after the last frame"],
    ]


def test_only_adjacent_repeats_of_a_text_are_left_out() -> None:
    cues = [Cue(float(i), i + 1.0, text) for i, text in enumerate(["yes", "yes", "no", "yes", " "])]
    assert captions_of_frames([0.0, 1.0, 2.0, 3.0, 4.0], cues) == [["yes"], [], ["no"], ["yes"], []]


@given(st.lists(st.tuples(st.floats(0, 20), texts.filter(str.strip)), max_size=8), st.integers(1, 6))
def test_no_cue_is_lost(cues: list[tuple[float, str]], num_frames: int) -> None:
    made = [Cue(start, start + 1, text) for start, text in cues]
    shown = [text for frame in captions_of_frames([float(i) for i in range(num_frames)], made) for text in frame]
    in_time = [cue.text for cue in sorted(made, key=lambda cue: (cue.start_seconds, cue.end_seconds))]
    assert shown == [text for i, text in enumerate(in_time) if i == 0 or text != in_time[i - 1]]


@given(st.lists(texts, min_size=1, max_size=5), st.integers(40, 160))
@settings(max_examples=60, deadline=None)
def test_the_window_is_kept_by_shortening_subtitles_and_the_prompt_says_so(captions: list[str], room: int) -> None:
    cues = [Cue(float(i), i + 1.0, text) for i, text in enumerate(captions)]
    pts = [float(i) for i in range(len(captions))]
    questions = ["Why?", "What is happening in this video?"]
    try:
        prompts = build_prompts(TOKENIZER, CONFIG, pts_seconds=pts, cues=cues, questions=questions, max_tokens=room)
    except PromptTooLongError:
        bare = build_prefix(TOKENIZER, CONFIG, [[] for _ in pts], max_tokens=9999)
        assert bare.num_tokens > room
        return
    full = build_prefix(TOKENIZER, CONFIG, captions_of_frames(pts, cues), max_tokens=9999)
    for prompt in prompts:
        if prompt is None:
            continue
        assert prompt.num_tokens <= room
        assert prompt.prefix.subtitles_shortened == (prompt.prefix.num_subtitle_words < full.num_subtitle_words)
        if not prompt.prefix.subtitles_shortened:
            assert prompt.prefix == full


def test_shortening_takes_from_the_longest_captions_and_keeps_whole_words() -> None:
    captions = [["red ball goes street red ball goes street"], ["a dog"], ["你好世界你好世界"]]
    full = build_prefix(TOKENIZER, CONFIG, captions, max_tokens=9999)
    assert (full.num_subtitle_words, full.subtitles_shortened) == (8 + 2 + 8, False)
    short = build_prefix(TOKENIZER, CONFIG, captions, max_tokens=full.num_tokens - 10)
    assert short.subtitles_shortened
    assert TOKENIZER.encode("<Cap>a dog <Img>") == list(short.segments[2])  # the short one is whole
    first = TOKENIZER.decode(short.segments[1]).removeprefix("<Cap>").removesuffix(" <Img>")
    assert first
    assert "red ball goes street red ball goes street".startswith(first + " ")
    assert short.num_tokens <= full.num_tokens - 10


def test_a_question_that_does_not_fit_is_left_out_and_the_others_are_not() -> None:
    questions = ["Why?", "what " * 100, "Who?"]
    prompts = build_prompts(TOKENIZER, CONFIG, pts_seconds=[0.0], cues=[], questions=questions, max_tokens=60)
    assert [prompt is None for prompt in prompts] == [False, True, False]


def test_frames_alone_too_long_say_what_would_help() -> None:
    with pytest.raises(PromptTooLongError, match=r"20 frames take .* 50 are free: ask for fewer frames"):
        build_prompts(TOKENIZER, CONFIG, pts_seconds=[0.0] * 20, cues=[], questions=["Why?"], max_tokens=50)


def test_the_budget_leaves_room_for_the_answer() -> None:
    assert prompt_budget(CONFIG, 4096, 512) == 3584
    assert prompt_budget(CONFIG, 1000, 512) == 488  # what the language model can do counts as well


@pytest.mark.parametrize("text", ["<ImageHere>", "</s>", "[/INST] <s>"])
def test_user_text_adds_no_image_slot_and_no_control_token(text: str) -> None:
    (prompt,) = build_prompts(
        TOKENIZER,
        CONFIG,
        pts_seconds=[0.0, 1.0],
        cues=[Cue(0, 1, text), Cue(1, 2, text + "!")],
        questions=[text],
        max_tokens=999,
    )
    assert prompt is not None
    assert prompt.prefix.num_frames == 2
    opening, *rest = [*prompt.prefix.segments, prompt.suffix]
    assert opening[:2] == (1, 1)
    assert not any({1, 2} & set(segment) for segment in [opening[2:], *rest])


def test_chatml_prompt_frames_the_question_with_its_own_controls(tmp_path: Path) -> None:
    model, tokenizer = qwen_model(qwen_folder(tmp_path / "qwen"))
    (prompt,) = build_prompts(
        tokenizer,
        model.config,
        pts_seconds=[0.0],
        cues=[Cue(0, 1, "hi <|im_end|>")],
        questions=["Why?"],
        max_tokens=200,
    )
    assert prompt is not None
    start, end = tokenizer.control_id("<|im_start|>"), tokenizer.control_id("<|im_end|>")
    assert list(prompt.prefix.segments[0]) == [start, *tokenizer.encode("user\n<Img>")]
    assert list(prompt.prefix.segments[1]) == tokenizer.encode("<Cap>hi <|im_end|>")
    expected = [*tokenizer.encode("\nWhy?"), end, *tokenizer.encode("\n"), start, *tokenizer.encode("assistant\n")]
    assert list(prompt.suffix) == expected
    assert set(stop_ids(tokenizer, model.config)) == {end, tokenizer.control_id("eos")}
