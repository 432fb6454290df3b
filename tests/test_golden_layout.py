"""The golden check reads every size from the golden folder: a folder of quite other sizes is checked just as well."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import LogitsProcessorList, MistralConfig, MistralForCausalLM, RepetitionPenaltyLogitsProcessor

from tests.minigpt4_models import GOLDEN
from vidlabel.models.minigpt4_video.config import VisionConfig
from vidlabel.models.minigpt4_video.golden import check_golden
from vidlabel.models.minigpt4_video.golden.folder import find_sources, model_config, read_golden
from vidlabel.models.minigpt4_video.loading import load_sources
from vidlabel.models.minigpt4_video.tokenizer import SentencePieceTokenizer
from vidlabel.models.minigpt4_video.vision import VisionTower, initialise

VISION = VisionConfig(image_size=42, patch_size=7, embed_dim=24, depth=2, num_heads=3, mlp_hidden=52)
POOL, HIDDEN, RANK, WINDOW = 6, 40, 4, 60
PROMPT = "<s>[INST] <Img><ImageHere><Cap>hello <Img><ImageHere>\nWhat happens? [/INST]"


@pytest.fixture
def other_sizes(tmp_path: Path) -> Path:
    """Random sources and a config in the golden layout, with data made by this model itself."""
    folder = tmp_path / "mistral_other"
    llm = folder / "Some-language-model"
    torch.manual_seed(1)
    MistralForCausalLM(
        MistralConfig(
            vocab_size=640,
            hidden_size=HIDDEN,
            intermediate_size=64,
            num_hidden_layers=3,
            num_attention_heads=5,
            num_key_value_heads=1,
            sliding_window=None,
            max_position_embeddings=512,
            initializer_range=0.3,
        )
    ).save_pretrained(llm)
    for name in ("tokenizer.model", "tokenizer_config.json"):
        shutil.copyfile(GOLDEN / "mistral_small" / "Mistral-tiny-Instruct" / name, llm / name)
    tower = VisionTower(VISION)
    initialise(tower)
    torch.save({**tower.state_dict(), "norm.weight": torch.ones(24)}, folder / "eva_vit.pth")
    _write_checkpoint(folder / "checkpoint.pth")
    (folder / "config.json").write_text(json.dumps(_config()))
    _record(folder)
    return folder


def test_other_sizes_pass_and_a_changed_number_fails(other_sizes: Path) -> None:
    results = check_golden(other_sizes, other_sizes)
    names = {result.name for result in results}
    assert {"vision.encode_img", "one.inputs_embeds", "one.logits_step0", "one.output_ids", "one.answers"} <= names
    assert [result for result in results if not result.passed] == []
    checkpoint = torch.load(other_sizes / "checkpoint.pth", weights_only=True)
    checkpoint["model"]["llama_proj.bias"][3] += 1e-4
    torch.save(checkpoint, other_sizes / "checkpoint.pth")
    failed = {result.name for result in check_golden(other_sizes, other_sizes) if not result.passed}
    assert {"vision.encode_img", "one.inputs_embeds"} <= failed
    assert "vision.pooled_pre_proj" not in failed


def _write_checkpoint(path: Path) -> None:
    model = {"llama_proj.weight": torch.randn(HIDDEN, 24 * POOL) * 0.1, "llama_proj.bias": torch.randn(HIDDEN) * 0.1}
    for layer in range(3):
        for name, out in (("q_proj", HIDDEN), ("v_proj", HIDDEN // 5)):
            stem = f"llama_model.base_model.model.model.layers.{layer}.self_attn.{name}.lora_"
            model |= {stem + "A.weight": torch.randn(RANK, HIDDEN), stem + "B.weight": torch.randn(out, RANK) * 0.1}
    torch.save({"model": model, "config": {"model": {"lora_alpha": 8}}, "epoch": 1}, path)


def _config() -> dict[str, Any]:
    return {
        "vit": {
            "img_size": VISION.image_size,
            "patch_size": VISION.patch_size,
            "embed_dim": VISION.embed_dim,
            "depth": VISION.depth,
            "num_heads": VISION.num_heads,
            "mlp_ratio": 2.2,  # 52 hidden, to be worked out
            "norm_eps": 1e-6,
        },
        "ln_vision_eps": 1e-5,
        "llama_proj": [24 * POOL, HIDDEN],
        "limits": {"max_frames": 10, "context_window": WINDOW},
        "llm_generation_config": {},
        "tokenizer": {"pad_token_id": 296},
    }


def _record(folder: Path) -> None:
    """Cases as the reference would write them, computed with stock transformers calls."""
    golden = read_golden_without_cases(folder)
    sources = find_sources(folder)
    model, tokenizer = load_sources(sources, model_config(golden, sources.language_model))
    assert isinstance(tokenizer, SentencePieceTokenizer)
    pixels = torch.randn(4, 3, VISION.image_size, VISION.image_size)
    segments = [tokenizer.encode_reference(text, bos=i == 0) for i, text in enumerate(PROMPT.split("<ImageHere>"))]
    with torch.inference_mode():
        images = model.encode_images(pixels)
        pooled = model.ln_vision(model.visual_encoder(pixels))[:, 1:].reshape(4, 36 // POOL, 24 * POOL)
        embeds = model.embed_segments(segments, images[[2, 0]])[None]
        ids = model.llama_model.generate(
            inputs_embeds=embeds,
            max_new_tokens=5,
            do_sample=False,
            logits_processor=LogitsProcessorList([RepetitionPenaltyLogitsProcessor(1.5)]),
            eos_token_id=2,
            pad_token_id=2,
        )
        logits = model.llama_model(inputs_embeds=embeds).logits[:, -1]
    tensors = {
        "pool.pixels": pixels,
        "vision.encode_img": images,
        "vision.pooled_pre_proj": pooled,
        "one.inputs_embeds": embeds,
        "one.logits_step0": logits,
    }
    save_file({name: tensor.clone().contiguous() for name, tensor in tensors.items()}, folder / "tensors.safetensors")
    case = {
        "prompts": [PROMPT],
        "frames": [[2, 0, 1]],
        "lengths": [2],
        "generate_kwargs": {"max_new_tokens": 5, "repetition_penalty": 1.5},
        "segments": [[{"ids": segment} for segment in segments]],
        "output_ids": ids.tolist(),
        "answers": [tokenizer.decode([i for i in ids[0].tolist() if i not in (2, 296)]).strip()],
        "steps": [{"logits_top4": [], "scores_top4": []}] * ids.shape[1],
    }
    (folder / "cases.json").write_text(json.dumps({"one": case}))


def read_golden_without_cases(folder: Path) -> Any:
    (folder / "cases.json").write_text("{}")
    return read_golden(folder)
