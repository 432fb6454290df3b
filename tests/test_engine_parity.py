"""The engine says token for token what `generate` says, in float32, whatever shares the slots with a row."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import GenerationConfig

from tests.engine_models import KINDS, STOP_IDS, TOKENIZER, Kind, clips, engine, model_of, said
from tests.minigpt4_models import TEXTS, answer_settings
from vidlabel.data import AskedClip
from vidlabel.models.minigpt4_video.answers import Asked, ask
from vidlabel.models.minigpt4_video.generate import GenerateCaptioner
from vidlabel.models.minigpt4_video.model import MiniGPT4Video

EIGHT = (*TEXTS, "Why?", "And then what happens to it?", "Who is it and what do they want of them?", "Go on.")
MAX_NEW_TOKENS = 10


def plain_generate(model: MiniGPT4Video, clip: AskedClip, penalty: float) -> dict[tuple[str, str], str]:
    """transformers' own `generate` and repetition penalty, one row at a time without padding."""
    asked, _ = ask(clip, TOKENIZER, model.config, max_tokens=400)
    with torch.inference_mode():
        images = model.encode_images(model.preprocess(clip.frames.images))
        return {(clip.clip.clip_id, one.question.text): _one(model, one, images, penalty) for one in asked}


def _one(model: MiniGPT4Video, one: Asked, images: torch.Tensor, penalty: float) -> str:
    embeds = torch.cat([model.embed_prefix(one.prompt.prefix, images), model.embed_ids(one.prompt.suffix)])[None]
    config = GenerationConfig(
        max_new_tokens=MAX_NEW_TOKENS,
        do_sample=False,
        repetition_penalty=penalty,
        eos_token_id=list(STOP_IDS),
        pad_token_id=0,
    )
    mask = torch.ones(embeds.shape[:2], dtype=torch.long)
    ids = model.llama_model.generate(inputs_embeds=embeds, attention_mask=mask, generation_config=config)[0].tolist()
    return " ".join(str(token) for token in ids if token not in STOP_IDS)


@pytest.mark.filterwarnings("ignore:Passing `repetition_penalty`")  # that it counts new tokens only is what we want
@pytest.mark.parametrize("penalty", [1.0, 1.5])
@pytest.mark.parametrize("kind", KINDS)
def test_greedy_tokens_are_those_of_plain_generate(kind: Kind, penalty: float) -> None:
    """Ragged prefixes and suffixes, more clips than slots, more questions than rows, ends at different steps."""
    model, asked = model_of(kind), clips(5, texts=EIGHT[1:6])
    options = answer_settings(max_new_tokens=MAX_NEW_TOKENS, repetition_penalty=penalty)
    answers = list(engine(model, options, num_slots=2, rows_per_slot=3).answer(asked))
    expected = {key: text for clip in asked for key, text in plain_generate(model, clip, penalty).items()}
    assert {(a.clip_id, a.question.text): a.text for a in answers} == expected
    assert len({a.num_tokens for a in answers if a.finish_reason == "stop"}) > 2
    assert len(set(expected.values())) > 12  # clips and questions are told apart


@settings(max_examples=12, derandomize=True, deadline=None, database=None)
@given(data=st.data())
def test_any_shape_says_what_generate_says(data: st.DataObject) -> None:
    def number(low: int, high: int, name: str) -> int:
        return data.draw(st.integers(low, high), label=name)

    model = model_of(data.draw(st.sampled_from(KINDS)))
    options = answer_settings(
        max_new_tokens=number(1, 9, "max_new_tokens"),
        repetition_penalty=data.draw(st.sampled_from([1.0, 1.5])),
        temperature=data.draw(st.sampled_from([0.0, 0.0, 0.8])),
        top_p=data.draw(st.sampled_from([0.7, 1.0])),
    )
    texts = tuple(data.draw(st.permutations(EIGHT))[: number(1, 8, "questions")])
    asked = data.draw(st.permutations(clips(number(1, 5, "clips"), texts=texts)))
    oracle = GenerateCaptioner(model, TOKENIZER, options, batch_size=8)
    captioner = engine(model, options, num_slots=number(1, 6, "slots"), rows_per_slot=number(1, 8, "rows"))
    oracle.stop_ids = captioner.stop_ids = STOP_IDS[: number(0, len(STOP_IDS), "stop ids")]
    expected, found = list(oracle.answer(asked)), list(captioner.answer(asked))
    assert said(found) == said(expected)
    logprobs = {(a.clip_id, a.question): a.mean_logprob for a in expected}
    for answer in found:
        assert answer.mean_logprob == pytest.approx(logprobs[answer.clip_id, answer.question], abs=1e-4)


def test_sampled_answers_do_not_depend_on_neighbours_slots_or_order() -> None:
    model, asked = model_of("mistral"), clips(5, texts=EIGHT[:3])
    options = answer_settings(max_new_tokens=12, temperature=0.9, top_p=0.9)
    expected = said(GenerateCaptioner(model, TOKENIZER, options, batch_size=1).answer(asked))
    assert len(set(expected.values())) > 10
    for num_slots, rows_per_slot, order in ((1, 1, 1), (2, 3, -1), (8, 2, 1)):
        captioner = engine(model, options, num_slots=num_slots, rows_per_slot=rows_per_slot, stop_ids=None)
        assert said(captioner.answer(asked[::order])) == expected


def test_sampled_answers_change_with_the_seed() -> None:
    options = answer_settings(max_new_tokens=12, temperature=0.9)
    captioner = engine(model_of("llama"), options)
    first, again, other = (said(captioner.answer(clips(2, seed=seed))) for seed in (1, 1, 2))
    assert first == again
    assert first != other
