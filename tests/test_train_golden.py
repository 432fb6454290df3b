"""What is learnt from is the reference's: loss and gradients of its recorded training cases, and what learns.

The golden data record losses. Gradients are held against plain torch on the recorded layout: the merged model's
weight gradients, from which those of LoRA's factors follow by the chain rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.minigpt4_models import GOLDEN, VARIANTS, golden_config, golden_sources
from vidlabel.data import Cue
from vidlabel.models.minigpt4_video.golden.folder import Golden, read_golden
from vidlabel.models.minigpt4_video.golden.training import IGNORED, lay_out
from vidlabel.models.minigpt4_video.loading import load_sources
from vidlabel.models.minigpt4_video.model import IMAGENET_MEAN, IMAGENET_STD
from vidlabel.models.minigpt4_video.tokenizer import SentencePieceTokenizer
from vidlabel.models.minigpt4_video.unmerged import Unmerged, unmerged_sources
from vidlabel.train.batches import Item, collate
from vidlabel.train.features import Timing
from vidlabel.train.lessons import IMAGE, Lesson, LessonForm, make_lesson
from vidlabel.train.objective import Objective
from vidlabel.train.settings import Language
from vidlabel.train.stages import Learning, get_ready, learning_names

CASES = ("two_samples", "answer_truncated", "context_truncated")


@pytest.fixture(scope="module", params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def golden(variant: str) -> Golden:
    return read_golden(GOLDEN / variant)


def _begun(variant: str, golden: Golden, language: Language = "lora") -> Unmerged:
    lora = golden.config["lora"]
    begun = unmerged_sources(golden_sources(variant), golden_config(variant), dtype=torch.float32)
    learning = Learning(language, rank=lora["r"], alpha=lora["alpha"], dropout=0.0)
    get_ready(begun.model, learning, begun.lora, seed=0)
    return begun


def _cases(golden: Golden, name: str) -> dict[str, Any]:
    case: dict[str, Any] = golden.read_json("train_cases.json")[name]
    return case


def _batch(golden: Golden, case: dict[str, Any], begun: Unmerged) -> dict[str, Any]:
    """A recorded case through our own layout, from pictures, cues, question and answer."""
    form = LessonForm("reference", case["max_context_len"], case["max_txt_len"])
    config = form.applied(begun.model.config)
    items = []
    for i, (instruction, answer) in enumerate(zip(case["instruction_input"], case["answer"], strict=True)):
        shown, question = instruction.rsplit("\n", 1)
        parts = shown.split("<Img><ImageHere>")[1:]
        cues = [Cue(t, t + 0.5, part.removeprefix("<Cap>")) for t, part in enumerate(parts) if part]
        timing = Timing(tuple(float(t) for t in range(len(parts))), tuple(cues))
        lesson = make_lesson(
            begun.tokenizer, config, form, pts_seconds=timing.pts_seconds, cues=cues, asked=[(question, answer)]
        )
        pictures = _pictures(golden.tensors["pool.pixels"][case["frames"][i][: case["length"][i]]])
        items.append(Item(lesson, str(i), pictures, timing))
    batch = collate(items)
    batch.pop("failures")
    return batch


def _pictures(pixels: Tensor) -> Tensor:
    """The uint8 pictures (T, S, S, 3) that were normalised to these."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return ((pixels * std + mean) * 255).round().to(torch.uint8).permute(0, 2, 3, 1)


@pytest.mark.parametrize("name", CASES)
def test_loss_and_gradients_are_the_reference_s(variant: str, golden: Golden, name: str) -> None:
    case, begun = _cases(golden, name), _begun(variant, golden)
    loss = Objective(begun.model).train()(**_batch(golden, case, begun))["loss"]
    assert loss.item() == pytest.approx(case["loss_mean"], abs=1e-5)
    loss.backward()
    expected = _expected_gradients(variant, golden, case, begun)
    found = {name: p.grad for name, p in begun.model.named_parameters() if p.requires_grad}
    assert set(found) == set(expected)
    for key, gradient in expected.items():
        assert gradient.abs().max() > 0, key
        assert (found[key] - gradient).abs().max() < 2e-5 * gradient.abs().max(), key


def _expected_gradients(variant: str, golden: Golden, case: dict[str, Any], begun: Unmerged) -> dict[str, Tensor]:
    model, tokenizer = load_sources(golden_sources(variant), golden_config(variant))
    assert isinstance(tokenizer, SentencePieceTokenizer)
    language = dict(model.llama_model.named_parameters())
    learnt = [model.llama_proj.weight, model.llama_proj.bias, *(language[f"{layer}.weight"] for layer in begun.lora)]
    for parameter in learnt:
        parameter.requires_grad_(True)
    images = model.encode_images(golden.tensors["pool.pixels"])
    embeds, mask, labels, _ = lay_out(model, tokenizer, golden, images, case)
    logits = model.llama_model(inputs_embeds=embeds, attention_mask=mask, use_cache=False).logits[:, :-1]
    losses = torch.nn.functional.cross_entropy(
        logits.transpose(1, 2), labels[:, 1:], ignore_index=IGNORED, reduction="none"
    )
    (losses.sum() / (labels[:, 1:] != IGNORED).sum()).backward()
    expected: dict[str, Tensor] = {}
    for name, parameter in model.llama_proj.named_parameters():
        assert parameter.grad is not None
        expected[f"llama_proj.{name}"] = parameter.grad
    for layer, one in begun.lora.items():
        gradient = language[f"{layer}.weight"].grad  # of W + s B A
        assert gradient is not None
        expected[f"llama_model.{layer}.lora_A.default.weight"] = one.scaling * one.b.T @ gradient
        expected[f"llama_model.{layer}.lora_B.default.weight"] = one.scaling * gradient @ one.a.T
    return expected


def test_what_learns_with_lora_is_what_the_reference_saves(variant: str, golden: Golden) -> None:
    names = learning_names(_begun(variant, golden).model)
    theirs = golden.config["checkpoint_model_keys"]
    assert names == sorted(
        key.replace("base_model.model.", "").replace("lora_A.", "lora_A.default.").replace("lora_B.", "lora_B.default.")
        for key in theirs
    )


def test_aligning_teaches_the_projection_alone(variant: str, golden: Golden) -> None:
    assert learning_names(_begun(variant, golden, "frozen").model) == ["llama_proj.bias", "llama_proj.weight"]


def test_full_training_leaves_only_the_tower_as_it_is(variant: str, golden: Golden) -> None:
    model = _begun(variant, golden, "full").model
    frozen = {name.split(".")[0] for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {"visual_encoder", "ln_vision"}


def test_the_prompt_of_inference_is_the_one_that_labelling_asks_with(variant: str, golden: Golden) -> None:
    begun = _begun(variant, golden)
    form = LessonForm("inference", 400, 20)
    lesson = make_lesson(
        begun.tokenizer, begun.model.config, form, pts_seconds=[0.0], cues=(), asked=[("What?", "A cat.")]
    )
    said = lesson.ids[lesson.turns[0].answer_start :]
    assert lesson.ids[:2] == (1, 1)
    assert lesson.ids.count(IMAGE) == begun.model.config.tokens_per_frame
    assert said[-1] == 2
    assert begun.tokenizer.decode(said) == "A cat."


def test_turns_in_one_row_are_learnt_as_if_each_stood_alone(variant: str, golden: Golden) -> None:
    begun = _begun(variant, golden)
    form, size = LessonForm("inference", 400, 20), begun.model.config.vision.image_size
    pictures = torch.from_numpy(np.random.default_rng(0).integers(0, 255, (2, size, size, 3), dtype=np.uint8))
    cues = (Cue(0.0, 1.0, "a voice"),)
    asked = [("What?", "A cat."), ("Which colour does the animal have?", "Black, I should say."), ("Why?", "No.")]

    def losses(rows: Sequence[Sequence[tuple[str, str]]]) -> tuple[Tensor, dict[str, Tensor]]:
        items = [Item(_lesson(begun, form, cues, row), "clip", pictures, Timing((0.0, 1.0), cues)) for row in rows]
        batch = collate(items)
        assert (batch["parts"] is None) == all(len(row) == 1 for row in rows)
        batch.pop("failures")
        begun.model.zero_grad()
        loss = Objective(begun.model)(**batch)["loss"]
        loss.backward()
        return loss.detach(), {
            name: one.grad.clone() for name, one in begun.model.named_parameters() if one.grad is not None
        }

    alone, grads_alone = losses([[one] for one in asked])
    together, grads_together = losses([asked])
    in_two, _ = losses([asked[:1], asked[1:]])
    assert torch.allclose(alone, together, atol=1e-5)
    assert torch.allclose(alone, in_two, atol=1e-5)
    assert grads_alone.keys() == grads_together.keys()
    for name, grad in grads_alone.items():
        assert torch.allclose(grad, grads_together[name], atol=1e-5), name


def _lesson(begun: Unmerged, form: LessonForm, cues: tuple[Cue, ...], asked: Sequence[tuple[str, str]]) -> Lesson:
    return make_lesson(begun.tokenizer, begun.model.config, form, pts_seconds=[0.0, 1.0], cues=cues, asked=asked)
