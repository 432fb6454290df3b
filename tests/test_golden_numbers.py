"""The model is the reference model: every recorded number of the golden data comes out again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from tests.minigpt4_models import GOLDEN, VARIANTS, golden_config, golden_sources, qwen_folder
from vidlabel.errors import InputError
from vidlabel.models.minigpt4_video.convert import convert
from vidlabel.models.minigpt4_video.golden import check_golden
from vidlabel.models.minigpt4_video.golden.folder import read_golden


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_golden_case_is_recomputed_within_tolerance(variant: str) -> None:
    results = check_golden(GOLDEN / variant, GOLDEN / variant)
    assert [result for result in results if not result.passed] == []
    names = {result.name for result in results}
    inputs = ("pool.frames_u8", "alt_ln.weight", "alt_ln.bias", "probe.ln_in", "probe.rms_in")
    recorded = set(read_golden(GOLDEN / variant).tensors) - set(inputs)
    assert recorded <= names  # nothing that was recorded is left out
    assert {f"preprocess.{stem}.56" for stem in ("landscape_320x180", "odd_101x67")} <= names
    assert sum(name.startswith("sampling.") and name.endswith(".prompt") for name in names) == 20
    assert sum(name.endswith(".answers") for name in names) == 15
    assert sum(name.endswith((".loss", ".loss_per_sample")) for name in names) == 6


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_converted_folder_gives_the_same_numbers_as_its_sources(variant: str, tmp_path: Path) -> None:
    convert(golden_sources(variant), tmp_path / "own", golden_config(variant))
    results = check_golden(tmp_path / "own", _copy_light(tmp_path, variant))
    assert [result for result in results if not result.passed] == []


def test_weights_without_their_lora_fail_on_logits_and_not_on_images(tmp_path: Path) -> None:
    folder = _copy_light(tmp_path)
    checkpoint = torch.load(folder / "checkpoint.pth", weights_only=True)
    for name, tensor in checkpoint["model"].items():
        if "lora_B" in name:
            tensor.zero_()
    torch.save(checkpoint, folder / "checkpoint.pth")
    failed = {result.name for result in check_golden(folder, folder) if not result.passed}
    assert {"nosub_infer.logits_step0", "nosub_infer.output_ids", "train.two_samples.loss"} <= failed
    assert not any(name.startswith(("vision.", "tokenizer.", "probe.")) for name in failed)


def test_a_norm_with_another_epsilon_is_noticed(tmp_path: Path) -> None:
    folder = _copy_light(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    config["vit"]["norm_eps"] = 1e-5
    (folder / "config.json").write_text(json.dumps(config))
    failed = {result.name for result in check_golden(folder, folder) if not result.passed}
    assert {"probe.vit_block0_norm1_out", "vision.encode_img"} <= failed


def test_a_folder_that_is_no_golden_folder_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a golden folder"):
        check_golden(GOLDEN / "llama_small", tmp_path)


def test_a_model_of_other_sizes_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"vision is VisionConfig\(image_size=28.* golden data are of .*image_size=56"):
        check_golden(qwen_folder(tmp_path / "qwen"), GOLDEN / "llama_small")


def test_a_folder_without_its_sources_says_which_is_missing(tmp_path: Path) -> None:
    folder = _copy_light(tmp_path)
    (folder / "eva_vit.pth").unlink()
    with pytest.raises(InputError, match=r"expected one vision tower .*eva_vit"):
        check_golden(folder, folder)


def _copy_light(tmp_path: Path, variant: str = "llama_small") -> Path:
    """A variant with its short cases only."""
    folder = tmp_path / "golden"
    shutil.copytree(GOLDEN / variant, folder)
    cases = json.loads((folder / "cases.json").read_text())
    light = {name: case for name, case in cases.items() if name in ("nosub_infer", "eos_batch", "_sampling")}
    (folder / "cases.json").write_text(json.dumps(light))
    return folder
