"""Loading accounts for every tensor: what is missing, extra, of a wrong shape, unused or damaged is named."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.minigpt4_models import GOLDEN, VARIANTS, golden_config, golden_model, golden_sources, qwen_folder
from vidlabel.errors import InputError
from vidlabel.models.minigpt4_video.checkpoint import read_checkpoint
from vidlabel.models.minigpt4_video.convert import convert
from vidlabel.models.minigpt4_video.loading import (
    Sources,
    iterate_tensors,
    load_model,
    load_sources,
    read_llm_config,
    released_config,
)
from vidlabel.models.minigpt4_video.lora import merge_lora
from vidlabel.models.minigpt4_video.saving import save_model

CONFIG = golden_config("llama_small")
LAYER = "llama_model.base_model.model.model.layers.1.self_attn.q_proj"


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    """The three sources of llama_small, free to be spoilt."""
    shutil.copytree(GOLDEN / "llama_small", tmp_path / "sources")
    folder = tmp_path / "sources"
    return Sources(folder / "eva_vit.pth", folder / "Llama-2-tiny-chat-hf", folder / "checkpoint.pth")


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    values = torch.load(path, weights_only=True)
    change(values)
    torch.save(values, path)


def same_weights(one: torch.nn.Module, other: torch.nn.Module, *, tolerance: float = 0.0) -> bool:
    theirs = other.state_dict()
    return all(torch.allclose(t, theirs[name], rtol=0, atol=tolerance) for name, t in one.state_dict().items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("blocks.2.mlp.fc1.weight"), r"eva_vit\.pth: blocks\.2\.mlp\.fc1\.weight missing"),
        (lambda t: t.update({"blocks.0.gamma": torch.ones(3)}), r"blocks\.0\.gamma not part of this model"),
        (lambda t: t.update({"cls_token": torch.ones(1, 1, 5)}), r"cls_token \(1, 1, 5\) instead of \(1, 1, 32\)"),
        (lambda t: t.update({"epoch": 3}), r"expected tensors by name"),
    ],
)
def test_vision_tensors_are_all_accounted_for(change: Callable[..., object], message: str, sources: Sources) -> None:
    edit(sources.vision, change)
    with pytest.raises(InputError, match=message):
        load_sources(sources, CONFIG)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.pop("llama_proj.bias"), r"expected llama_proj\.bias and llama_proj\.weight"),
        (lambda m: m.update({"other": torch.ones(1)}), r"other is not part of"),
        (lambda m: m.update({"llama_proj.bias": torch.ones(3)}), r"llama_proj\.bias \(3,\) instead of \(48,\)"),
        (lambda m: m.pop(f"{LAYER}.lora_B.weight"), r"layers\.1\.self_attn\.q_proj\.lora_B\.weight missing"),
        (
            lambda m: [m.pop(f"{LAYER}.lora_{s}.weight") for s in "AB"],
            r"layers\.1\.self_attn\.q_proj\.lora_A\.weight .* missing",
        ),
        (lambda m: [m.pop(name) for name in list(m) if "lora" in name], r"has no LoRA tensors"),
        (lambda m: m.update({f"{LAYER}.lora_B.weight": torch.ones(48, 3)}), r"ranks differ"),
        (
            lambda m: m.update({f"{LAYER}.lora_B.weight": torch.ones(40, 8)}),
            r"LoRA of .*q_proj.* \(40, 48\).* \(48, 48\)",
        ),
        (
            lambda m: m.update({n.replace("v_proj", "x_proj"): m.pop(n) for n in list(m) if "v_proj" in n}),
            r"x_proj.* has no place in .*Llama-2-tiny-chat-hf",
        ),
        (lambda m: m.update({f"{LAYER}.lora_A.default.weight": torch.ones(8, 48)}), r"lora_A twice"),
        (lambda m: m.update({f"{LAYER}.lora_A.two.weight": torch.ones(8, 48)}), r"not a LoRA tensor of a known form"),
    ],
)
def test_checkpoint_tensors_are_all_accounted_for(
    change: Callable[..., object], message: str, sources: Sources
) -> None:
    edit(sources.checkpoint, lambda values: change(values["model"]))
    with pytest.raises(InputError, match=message):
        load_sources(sources, CONFIG)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("model.norm.weight"), r"llama_model\.model\.norm\.weight missing"),
        (lambda t: t.update({"model.extra": torch.ones(2)}), r"llama_model\.model\.extra not part of this model"),
        (
            lambda t: t.update({"lm_head.weight": torch.ones(9, 48)}),
            r"lm_head\.weight \(9, 48\) instead of \(640, 48\)",
        ),
        (lambda t: t.update({"lm_head.weight": torch.ones(640, 48).to(torch.int8)}), r"lm_head\.weight is torch\.int8"),
    ],
)
def test_language_model_tensors_are_all_accounted_for(
    change: Callable[..., object], message: str, sources: Sources
) -> None:
    tensors = dict(iterate_tensors(sources.language_model))
    change(tensors)
    for path in sources.language_model.glob("model*"):
        path.unlink()
    save_file(tensors, sources.language_model / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=message):
        load_sources(sources, CONFIG)


@pytest.mark.parametrize("keep", [0, 10, 1000, 60000])
def test_files_cut_short_are_one_clear_line(keep: int, sources: Sources) -> None:
    shard = sources.language_model / "model-00001-of-00002.safetensors"
    for path in (sources.vision, sources.checkpoint, shard):
        whole = path.read_bytes()
        path.write_bytes(whole[:keep])
        with pytest.raises(InputError, match=f"{path.name}: (not a whole|cannot be read)") as caught:
            load_sources(sources, CONFIG)
        assert "\n" not in str(caught.value)
        path.write_bytes(whole)


def test_a_file_with_code_in_it_is_never_run(sources: Sources, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(tmp_path / "ran"),)

    torch.save({"model": Evil()}, sources.checkpoint)
    with pytest.raises(InputError, match="holds more than tensors"):
        load_sources(sources, CONFIG)
    assert not (tmp_path / "ran").exists()


def test_a_missing_shard_is_named(sources: Sources) -> None:
    (sources.language_model / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(
        InputError, match=r"model-00002-of-00002\.safetensors missing, named by model\.safetensors\.index"
    ):
        load_sources(sources, CONFIG)


def test_an_index_cannot_point_outside_of_its_folder(sources: Sources) -> None:
    index = sources.language_model / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"lm_head.weight": "../checkpoint.pth"}}))
    with pytest.raises(InputError, match="outside of its folder"):
        load_sources(sources, CONFIG)


def test_newer_peft_names_and_stray_buffers_load_the_same_weights(sources: Sources) -> None:
    def rename(values: dict[str, Any]) -> None:
        model = {
            name.replace(".weight", ".default.weight") if "lora_" in name else name: t
            for name, t in values["model"].items()
        }
        model["llama_model.base_model.model.model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(6)
        values["model"] = model

    edit(sources.checkpoint, rename)
    assert same_weights(load_sources(sources, CONFIG)[0], golden_model("llama_small")[0])


@pytest.mark.parametrize("newer", [False, True])
def test_a_checkpoint_with_all_weights_in_it_is_used_whole(newer: bool, sources: Sources) -> None:
    whole = load_file(GOLDEN / "llama_small" / "weights.safetensors")
    if newer:
        named = {
            n.replace("q_proj.weight", "q_proj.base_layer.weight").replace("lm_head.0.", "lm_head."): t
            for n, t in whole.items()
        }
        whole = {n.replace(".weight", ".default.weight") if "lora_" in n else n: t for n, t in named.items()}
    whole["ln_vision.weight"] = whole["ln_vision.weight"] * 2
    edit(sources.checkpoint, lambda values: values.update({"model": whole}))
    model, _ = load_sources(sources, CONFIG)
    assert torch.equal(model.ln_vision.weight, torch.full((32,), 2.0))
    model.ln_vision.weight.fill_(1.0)
    assert same_weights(model, golden_model("llama_small")[0], tolerance=1e-7)


@pytest.mark.parametrize(("alpha", "scaling"), [(2, 0.25), (32.0, 4.0), (None, 2.0)])
def test_lora_scaling_comes_from_the_checkpoint_and_its_shapes(
    alpha: float | None, scaling: float, sources: Sources
) -> None:
    def change(values: dict[str, Any]) -> None:
        if alpha is None:
            del values["config"]
        else:
            values["config"]["model"]["lora_alpha"] = alpha

    edit(sources.checkpoint, change)
    assert {lora.scaling for lora in read_checkpoint(sources.checkpoint).lora.values()} == {scaling}


def test_an_alpha_that_is_no_number_is_named(sources: Sources) -> None:
    edit(sources.checkpoint, lambda values: values["config"]["model"].update({"lora_alpha": "lots"}))
    with pytest.raises(InputError, match=r"config\.model\.lora_alpha should be a number above 0, got 'lots'"):
        load_sources(sources, CONFIG)


def test_merging_layer_by_layer_equals_peft_on_the_whole_model(sources: Sources) -> None:
    from peft import LoraConfig, inject_adapter_in_model
    from transformers import AutoModelForCausalLM

    whole = AutoModelForCausalLM.from_config(read_llm_config(sources.language_model), dtype=torch.float32)
    whole.load_state_dict({name: tensor.float() for name, tensor in iterate_tensors(sources.language_model)})
    inject_adapter_in_model(LoraConfig(r=8, lora_alpha=2, target_modules=["q_proj", "v_proj"]), whole)
    ours = load_sources(sources, CONFIG)[0].llama_model
    for name, lora in read_checkpoint(sources.checkpoint).lora.items():
        layer = whole.get_submodule(name)
        layer.lora_A["default"].weight.data.copy_(lora.a)
        layer.lora_B["default"].weight.data.copy_(lora.b)
        layer.merge()
        assert torch.equal(layer.get_base_layer().weight, ours.get_submodule(name).weight)


def test_merging_is_done_in_float32_and_leaves_its_input_alone() -> None:
    lora = read_checkpoint(golden_sources("llama_small").checkpoint).lora["model.layers.0.self_attn.q_proj"]
    weight = torch.randn(48, 48).half()
    before = weight.clone()
    merged = merge_lora(weight, lora, name="q_proj", source="test")
    assert merged.dtype == torch.float32
    assert torch.allclose(merged, before.float() + lora.scaling * lora.b @ lora.a, atol=1e-6)
    assert torch.equal(weight, before)


def test_bin_shards_load_like_safetensors(sources: Sources) -> None:
    folder = sources.language_model
    names: dict[str, str] = {}
    for i, path in enumerate(sorted(folder.glob("*.safetensors"))):
        tensors = load_file(path)
        torch.save(tensors, folder / f"pytorch_model-{i}.bin")
        names |= dict.fromkeys(tensors, f"pytorch_model-{i}.bin")
        path.unlink()
    (folder / "model.safetensors.index.json").unlink()
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": names}))
    assert same_weights(load_sources(sources, CONFIG)[0], golden_model("llama_small")[0])


def test_old_torch_files_that_are_no_zip_archives_load(sources: Sources) -> None:
    values = torch.load(sources.vision, weights_only=True)
    torch.save(values, sources.vision, _use_new_zipfile_serialization=False)
    assert same_weights(load_sources(sources, CONFIG)[0], golden_model("llama_small")[0])


def test_a_tower_for_another_image_size_gets_its_positions_resized(sources: Sources) -> None:
    vision = replace(CONFIG.vision, image_size=28)
    model, _ = load_sources(sources, replace(CONFIG, vision=vision))
    golden = load_file(GOLDEN / "llama_small" / "tensors.safetensors")["interp_pos_embed.2x2"]
    assert torch.allclose(model.visual_encoder.pos_embed, golden, atol=5e-6)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_converted_folder_loads_the_same_weights_in_any_type(
    variant: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    convert(golden_sources(variant), tmp_path / "own", golden_config(variant))
    own, tokenizer = load_model(tmp_path / "own", dtype=dtype)
    original, _ = load_sources(golden_sources(variant), golden_config(variant), dtype=dtype)
    assert same_weights(own, original)
    assert own.config == original.config
    assert tokenizer.encode("<Img>") == golden_model(variant)[1].encode("<Img>")
    assert not any(tensor.requires_grad for tensor in own.parameters())


def test_half_precision_keeps_the_towers_norms_and_positions_in_float32() -> None:
    model, _ = load_sources(golden_sources("llama_small"), CONFIG, dtype=torch.float16)
    kinds: dict[torch.dtype, set[str]] = {torch.float32: set(), torch.float16: set()}
    for name, tensor in model.visual_encoder.named_parameters():
        kinds[tensor.dtype].add(name.split(".", 2)[-1] if name.startswith("blocks") else name)
    recorded = json.loads((GOLDEN / "llama_small" / "config.json").read_text())["vit_fp16_dtypes_on_cuda"]
    for dtype, names in kinds.items():
        assert names == {name.removeprefix("blocks.N.") for name in recorded[str(dtype)]}
    assert model.ln_vision.weight.dtype == torch.float32
    assert {tensor.dtype for tensor in model.llama_model.parameters()} == {torch.float16}


def test_a_random_model_is_saved_and_loaded_the_same_with_tied_weights(tmp_path: Path) -> None:
    folder = qwen_folder(tmp_path / "qwen")
    assert "lm_head.weight" not in dict(iterate_tensors(folder / "language_model"))
    model, tokenizer = load_model(folder)
    assert model.llama_model.lm_head.weight is model.llama_model.model.embed_tokens.weight
    save_model(tmp_path / "again", model, folder / "language_model")
    assert same_weights(load_model(tmp_path / "again")[0], model)
    assert tokenizer.decode(tokenizer.encode("What is")) == "What is"


def test_saving_in_half_precision_halves_the_file(tmp_path: Path) -> None:
    folder = qwen_folder(tmp_path / "qwen")
    save_model(tmp_path / "half", load_model(folder)[0], folder / "language_model", dtype=torch.float16)
    sizes = [(f / "model.safetensors").stat().st_size for f in (folder, tmp_path / "half")]
    assert sizes[1] < 0.6 * sizes[0]


def test_an_existing_folder_is_replaced_only_when_asked_and_only_if_it_is_a_model(tmp_path: Path) -> None:
    folder = qwen_folder(tmp_path / "qwen")
    model, _ = load_model(folder)
    tokenizer = tmp_path / "qwen_tokenizer"
    with pytest.raises(InputError, match="exists already"):
        save_model(folder, model, tokenizer)
    model.llama_proj.weight.zero_()
    save_model(folder, model, tokenizer, overwrite=True)
    assert not load_model(folder)[0].llama_proj.weight.any()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"cat")
    with pytest.raises(InputError, match="exists already"):
        save_model(tmp_path / "photos", model, tokenizer, overwrite=True)
    assert (tmp_path / "photos" / "cat.jpg").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos", "qwen", "qwen_tokenizer"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / "config.json").unlink(), r"config\.json: cannot be read"),
        (lambda f: (f / "model.safetensors").unlink(), r"model\.safetensors: not a whole safetensors file"),
        (lambda f: (f / "model.safetensors").write_bytes(b"12345678901234"), r"not a whole safetensors file"),
        (lambda f: shutil.rmtree(f / "language_model"), r"no model\.safetensors|not a language model folder"),
        (lambda f: (f / "language_model" / "config.json").write_text('{"model_type": "nonsense"}'), r"config\.json"),
        (
            lambda f: save_file(
                {**load_file(f / "model.safetensors"), "llama_model.x": torch.ones(1)}, f / "model.safetensors"
            ),
            r"llama_model\.x belongs into .*language_model",
        ),
    ],
)
def test_a_damaged_own_folder_says_what_is_wrong(spoil: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    folder = qwen_folder(tmp_path / "qwen")
    spoil(folder)
    with pytest.raises(InputError, match=message):
        load_model(folder)


def test_the_released_setup_follows_the_model_type_never_the_folder_name(tmp_path: Path) -> None:
    llama = tmp_path / "mistral-7b"  # a misleading name
    shutil.copytree(GOLDEN / "llama_small" / "Llama-2-tiny-chat-hf", llama)
    assert released_config(llama).num_frames == 45
    mistral = golden_sources("mistral_small").language_model
    assert (released_config(mistral).num_frames, released_config(mistral).context_window) == (90, 8012)
    assert released_config(mistral).tokens_per_frame == 64
    (llama / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(InputError, match="model_type 'gpt2' is not one of llama, mistral"):
        released_config(llama)


def test_half_precision_encodes_nearly_the_same() -> None:
    exact, _ = golden_model("llama_small")
    half, _ = load_sources(golden_sources("llama_small"), CONFIG, dtype=torch.bfloat16)
    pixels: Tensor = load_file(GOLDEN / "llama_small" / "tensors.safetensors")["pool.pixels"]
    with torch.inference_mode():
        want, found = exact.encode_images(pixels), half.encode_images(pixels, chunk=5)
        assert torch.allclose(exact.encode_images(pixels, chunk=5), want, atol=5e-6)
    assert found.dtype == torch.bfloat16
    assert float((found.float() - want).abs().max() / want.std()) < 0.1
