"""8-bit and 4-bit weights: smaller, close to the full ones, and loaded from a converted folder alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
import torch
from transformers import MistralConfig

from tests.minigpt4_models import TEXTS, answer_settings, asked_clip, golden_config, golden_model, golden_sources
from vidlabel.captioners import load_captioner
from vidlabel.config import Limits
from vidlabel.errors import InputError
from vidlabel.models.minigpt4_video.loading import load_model
from vidlabel.models.minigpt4_video.model import MiniGPT4Video
from vidlabel.models.minigpt4_video.quantisation import SELF_TEST_TOLERANCE, load_quantised
from vidlabel.models.minigpt4_video.saving import save_model
from vidlabel.models.minigpt4_video.self_test import run_self_test
from vidlabel.models.presets import resolve

pytest.importorskip("bitsandbytes")

BITS: list[Literal["8bit", "4bit"]] = ["8bit", "4bit"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A converted folder whose layers are wide enough for bitsandbytes' blocks."""
    torch.manual_seed(0)
    vocab_size = golden_model("mistral_small")[0].llama_model.config.vocab_size
    language = MistralConfig(
        vocab_size=vocab_size,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
    )
    folder = tmp_path_factory.mktemp("models") / "own"
    save_model(
        folder,
        MiniGPT4Video(golden_config("mistral_small"), language),
        golden_sources("mistral_small").language_model,
    )
    return folder


@pytest.mark.parametrize("quantize", BITS)
def test_language_model_is_rounded_and_the_rest_is_not(folder: Path, quantize: Literal["8bit", "4bit"]) -> None:
    model, _ = load_quantised(folder, quantize, device="cpu", dtype=torch.float16)
    whole, _ = load_model(folder, dtype=torch.float16)
    layer, whole_layer = (m.llama_model.model.layers[0].mlp.up_proj.weight for m in (model, whole))
    assert layer.dtype == (torch.int8 if quantize == "8bit" else torch.uint8)
    assert whole_layer.nbytes / layer.nbytes == (2 if quantize == "8bit" else 4)
    assert model.llama_model.lm_head.weight.dtype == torch.float16
    assert model.dtype == torch.float16
    kept = dict(whole.named_parameters())
    for name, value in model.named_parameters():
        if not name.startswith("llama_model."):
            assert torch.equal(value, kept[name]), name
            assert value.dtype == kept[name].dtype, name
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert not model.training


@pytest.mark.parametrize(("quantize", "allowed"), [("8bit", 0.1), ("4bit", 1.0)])
def test_rounded_weights_answer_about_as_the_full_ones(
    folder: Path, quantize: Literal["8bit", "4bit"], allowed: float
) -> None:
    model, tokenizer = load_quantised(folder, quantize, device="cpu", dtype=torch.float16)
    result = run_self_test(folder, model, tokenizer)
    assert 0 < result.largest_difference < allowed < SELF_TEST_TOLERANCE


def test_other_weights_than_the_recorded_ones_are_still_found_out(folder: Path) -> None:
    model, tokenizer = load_quantised(folder, "8bit", device="cpu", dtype=torch.float16)
    with torch.no_grad():
        model.llama_model.lm_head.weight.copy_(model.llama_model.lm_head.weight.flip(0))
    assert not run_self_test(folder, model, tokenizer).largest_difference <= SELF_TEST_TOLERANCE


@pytest.mark.parametrize("engine", ["generate", "slots"])
@pytest.mark.parametrize("quantize", BITS)
def test_a_quantised_captioner_answers_everything(
    folder: Path, quantize: Literal["8bit", "4bit"], engine: Literal["generate", "slots"]
) -> None:
    spec = resolve(str(folder))
    settings = replace(
        answer_settings(max_new_tokens=4), model=str(folder), model_fingerprint=spec.fingerprint, quantize=quantize
    )
    captioner = load_captioner(settings, Limits(engine=engine), device="cpu")
    answers = list(captioner.answer([asked_clip(name, texts=TEXTS[:2]) for name in "ab"]))
    assert sorted((answer.clip_id, answer.error) for answer in answers) == [("a", None)] * 2 + [("b", None)] * 2
    assert all(answer.num_tokens > 0 for answer in answers)


def test_lost_weights_are_named(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in folder.iterdir():
        if path.name != "language_model":
            (copy / path.name).symlink_to(path)
    (copy / "language_model").mkdir()
    (copy / "language_model" / "config.json").symlink_to(folder / "language_model" / "config.json")
    with pytest.raises(InputError, match=r"language_model: has no model\.safetensors"):
        load_quantised(copy, "8bit", device="cpu", dtype=torch.float32)
