"""The known answer beside the weights, and the fingerprint: both notice what changed and nothing else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.minigpt4_models import GOLDEN, golden_config, golden_sources
from vidlabel.errors import InputError
from vidlabel.models.minigpt4_video.convert import convert
from vidlabel.models.minigpt4_video.fingerprint import fingerprint
from vidlabel.models.minigpt4_video.loading import load_model
from vidlabel.models.minigpt4_video.self_test import run_self_test


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "own"
    convert(golden_sources("llama_small"), folder, golden_config("llama_small"))
    return folder


@pytest.fixture
def own(converted: Path, tmp_path: Path) -> Path:
    shutil.copytree(converted, tmp_path / "own")
    return tmp_path / "own"


def change_tensor(path: Path, name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    tensors = load_file(path)
    tensors[name] = change(tensors[name]).contiguous()
    save_file(tensors, path, metadata={"format": "pt"})


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_an_untouched_model_passes_in_every_type(dtype: torch.dtype, own: Path) -> None:
    result = run_self_test(own, *load_model(own, dtype=dtype))
    assert result.passed
    assert result.largest_difference <= result.tolerance


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("file", "tensor"),
    [
        ("language_model/model.safetensors", "model.layers.1.self_attn.v_proj.weight"),
        ("language_model/model.safetensors", "lm_head.weight"),
        ("model.safetensors", "llama_proj.weight"),
        ("model.safetensors", "visual_encoder.blocks.0.attn.qkv.weight"),
        ("model.safetensors", "visual_encoder.pos_embed"),
    ],
)
def test_a_changed_weight_anywhere_fails_and_says_what_differs(
    file: str, tensor: str, dtype: torch.dtype, own: Path
) -> None:
    change_tensor(own / file, tensor, lambda t: t.flip(0, 1) if t.ndim == 2 else t * -1 if "pos" in tensor else t)
    result = run_self_test(own, *load_model(own, dtype=dtype))
    assert not result.passed
    assert any("logits differ" in problem for problem in result.problems)


def test_another_tokenisation_is_named(own: Path) -> None:
    config = own / "language_model" / "tokenizer_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "legacy": True}))
    result = run_self_test(own, *load_model(own))
    assert result.problems[0].startswith("the tokenizer gives [1, 1, ")


def test_not_a_number_is_no_pass(own: Path) -> None:
    change_tensor(own / "model.safetensors", "llama_proj.bias", lambda t: t * torch.nan)
    assert not run_self_test(own, *load_model(own)).passed


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"version": 9}', '{"version": 1, "margins": [1], "greedy_ids": []}']
)
def test_a_damaged_record_is_one_clear_line(content: str, own: Path) -> None:
    model, tokenizer = load_model(own)
    (own / "self_test.json").write_text(content)
    with pytest.raises(InputError, match=r"self_test\.json: "):
        run_self_test(own, model, tokenizer)


def test_the_fingerprint_is_of_the_content_and_not_of_the_place(own: Path, tmp_path: Path) -> None:
    before = fingerprint(own)
    shutil.copytree(own, tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "self_test.json").unlink()
    assert fingerprint(tmp_path / "elsewhere") == before


@pytest.mark.parametrize("name", ["config.json", "language_model/config.json", "language_model/tokenizer.model"])
def test_the_fingerprint_changes_with_any_file(name: str, own: Path) -> None:
    before = fingerprint(own)
    with (own / name).open("ab") as file:
        file.write(b" ")
    assert fingerprint(own) != before


def test_the_fingerprint_of_a_large_file_changes_when_its_numbers_do(tmp_path: Path) -> None:
    weights = torch.arange(6_000_000, dtype=torch.float32)  # 24 MB: sampled, not read whole
    save_file({"w": weights}, tmp_path / "model.safetensors")
    before = fingerprint(tmp_path)
    save_file({"w": weights + 1.0}, tmp_path / "model.safetensors")
    trained = fingerprint(tmp_path)
    save_file({"w": weights}, tmp_path / "model.safetensors")
    assert fingerprint(tmp_path) == before != trained


def test_the_fingerprint_of_no_folder_is_an_input_error() -> None:
    with pytest.raises(InputError, match="not a folder"):
        fingerprint(GOLDEN / "nowhere")
