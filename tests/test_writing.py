"""The language model alone: without its adapter while it writes, and as it was before and after."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.minigpt4_models import (
    VARIANTS,
    answer_settings,
    asked_clip,
    golden_config,
    golden_model,
    golden_sources,
    qwen_folder,
)
from vidlabel.captioners import load_captioner
from vidlabel.config import Limits
from vidlabel.data import Answer, AskedClip, Question
from vidlabel.engine.captioner import EngineCaptioner
from vidlabel.errors import InputError
from vidlabel.models.minigpt4_video.adapter import FILE, base_weights, read_adapter, without_adapter
from vidlabel.models.minigpt4_video.checkpoint import read_checkpoint
from vidlabel.models.minigpt4_video.convert import convert
from vidlabel.models.minigpt4_video.generate import GenerateCaptioner
from vidlabel.models.minigpt4_video.loading import load_model, load_sources
from vidlabel.models.minigpt4_video.prompt import build_opening, build_suffix
from vidlabel.models.minigpt4_video.tensors import iterate_tensors
from vidlabel.models.minigpt4_video.writing import WritingCaptioner
from vidlabel.models.presets import resolve

TEXT = Question("Shorten this description of a video.\nA dog runs over the grass.", "rewrite", sees_video=False)
NEW_TOKENS = 6


def both(clip_id: str) -> AskedClip:
    asked = asked_clip(clip_id)
    return replace(asked, questions=(*asked.questions, TEXT))


def writing(variant: str, *, batch_size: int = 2) -> WritingCaptioner:
    model, tokenizer = load_sources(golden_sources(variant), golden_config(variant))
    base = base_weights(model, read_checkpoint(golden_sources(variant).checkpoint).lora)
    captioner = EngineCaptioner(model, tokenizer, answer_settings(max_new_tokens=NEW_TOKENS), num_slots=2)
    return WritingCaptioner(captioner, model, tokenizer, base, max_new_tokens=NEW_TOKENS, batch_size=batch_size)


@pytest.mark.parametrize("variant", VARIANTS)
def test_base_weights_are_those_of_the_language_model_before_the_adapter(variant: str) -> None:
    sources = golden_sources(variant)
    model, _ = golden_model(variant)
    base = base_weights(model, read_checkpoint(sources.checkpoint).lora)
    original = dict(iterate_tensors(sources.language_model))
    assert len(base) == 2 * model.llama_model.config.num_hidden_layers
    for name, tensor in base.items():
        torch.testing.assert_close(tensor, original[name].float(), atol=1e-6, rtol=1e-5)
        adapted = model.llama_model.get_parameter(name)
        assert not torch.allclose(adapted, tensor, atol=1e-3)
        with without_adapter(model, base):
            assert torch.equal(model.llama_model.get_parameter(name), tensor)
        assert torch.equal(model.llama_model.get_parameter(name), adapted)


@pytest.mark.parametrize("variant", VARIANTS)
def test_text_is_what_the_base_model_writes_and_videos_are_still_described_by_the_adapted_one(variant: str) -> None:
    clips = [both(f"clip{number}") for number in range(5)]
    answers = {(a.clip_id, a.question): a for a in writing(variant).answer(clips)}
    assert len(answers) == 10
    model, tokenizer = golden_model(variant)
    settings = answer_settings(max_new_tokens=NEW_TOKENS)
    for answer in GenerateCaptioner(model, tokenizer, settings).answer([asked_clip(f"clip{n}") for n in range(5)]):
        assert answers[answer.clip_id, answer.question].text == answer.text
    ids = [*build_opening(tokenizer, model.config), *build_suffix(tokenizer, model.config, TEXT.text)]
    base = base_weights(model, read_checkpoint(golden_sources(variant).checkpoint).lora)
    with without_adapter(model, base), torch.inference_mode():
        for _ in range(NEW_TOKENS):
            logits = model.llama_model(inputs_embeds=model.embed_ids(ids)[None]).logits
            ids.append(int(logits[0, -1].argmax()))
            if ids[-1] in tokenizer.eos_ids:
                break
    expected = tokenizer.decode([i for i in ids[-NEW_TOKENS:] if i not in tokenizer.eos_ids]).strip()
    assert {answers[clip.clip.clip_id, TEXT].text for clip in clips} == {expected}


def test_a_clip_that_is_asked_nothing_about_its_video_is_not_waited_behind() -> None:
    """The engine asks whether the next clip would have to be waited for; texts in between are not clips."""

    class Feed:
        def __init__(self) -> None:
            texts = [replace(asked_clip(f"text{n}"), questions=(TEXT,)) for n in range(3)]
            self.left = [asked_clip("a"), *texts, asked_clip("b")]
            self.looks = 0

        def would_wait(self) -> bool:
            self.looks += 1
            return len(self.left) == 1 and self.looks < 40  # the last clip is being decoded for a while

        def __iter__(self) -> Iterator[AskedClip]:
            while self.left:
                yield self.left.pop(0)

    feed = Feed()
    answers = list(writing("mistral_small", batch_size=8).answer(feed))
    assert sorted(answer.clip_id for answer in answers) == ["a", "b", "text0", "text1", "text2"]
    assert answers[0].clip_id == "a"  # said while b was not there yet


def test_a_text_beyond_the_window_is_an_error_of_its_own() -> None:
    long = replace(asked_clip("long"), questions=(replace(TEXT, text="word " * 9000),))
    answers: dict[str, Answer] = {a.clip_id: a for a in writing("mistral_small").answer([long, both("b")])}
    assert "too long" in str(answers["long"].error)
    assert answers["b"].error is None


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "converted"
    convert(golden_sources("mistral_small"), folder, golden_config("mistral_small"))
    return folder


def test_a_converted_folder_keeps_its_adapter_and_gives_the_same_base(converted: Path) -> None:
    lora, original = read_adapter(converted), read_checkpoint(golden_sources("mistral_small").checkpoint).lora
    assert set(lora) == set(original)
    mine = base_weights(load_model(converted)[0], lora)
    for name, tensor in base_weights(golden_model("mistral_small")[0], original).items():
        torch.testing.assert_close(mine[name], tensor)


def test_a_model_without_an_adapter_is_its_own_base(tmp_path: Path) -> None:
    assert read_adapter(qwen_folder(tmp_path / "qwen")) == {}


def test_a_damaged_adapter_file_is_one_clear_line(converted: Path, tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / FILE).write_bytes((converted / FILE).read_bytes()[:100])
    with pytest.raises(InputError, match=FILE):
        read_adapter(folder)


@pytest.mark.parametrize("engine", ["slots", "generate"])
def test_a_run_that_rewrites_or_proposes_gets_a_captioner_that_writes(converted: Path, engine: str) -> None:
    spec = resolve(str(converted))
    settings = replace(
        answer_settings(max_new_tokens=NEW_TOKENS), model=spec.name, model_fingerprint=spec.fingerprint, propose=1
    )
    limits = Limits(engine=engine)  # type: ignore[arg-type]
    answers = list(load_captioner(settings, limits, device="cpu").answer([both("a")]))
    assert sorted(answer.question.sees_video for answer in answers) == [False, True]
    assert all(answer.error is None for answer in answers)
