"""Golden cases of preprocessing and of the vision side, stage by stage."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from vidlabel.models.minigpt4_video.golden.compare import (
    EMBEDDING_TOLERANCE,
    GREY_LEVEL_TOLERANCE,
    PROBE_TOLERANCE,
    CaseResult,
    compare,
)
from vidlabel.models.minigpt4_video.golden.folder import Golden
from vidlabel.models.minigpt4_video.model import IMAGENET_STD, MiniGPT4Video, normalise
from vidlabel.models.minigpt4_video.tensors import read_safetensors
from vidlabel.models.minigpt4_video.vision import interpolate_pos_embed, pool_tokens
from vidlabel.resizing import resize


def check_preprocessing(golden: Golden) -> Iterator[CaseResult]:
    """Resizing and normalising, in grey levels, of every golden image that can be found."""
    if golden.has("pool.frames_u8", "pool.pixels"):
        yield _check_pixels("pool.pixels", golden.tensors["pool.frames_u8"], golden.tensors["pool.pixels"])
    for folder in (golden.folder / "preprocess", golden.folder.parent / "preprocess"):
        file = folder / "tensors.safetensors"
        if file.is_file():
            yield from _check_images(file)
            return


def check_vision(model: MiniGPT4Video, golden: Golden) -> Iterator[CaseResult]:
    """Every recorded stage from pixels to the language model's tokens."""
    pixels = golden.tensors["pool.pixels"]
    stages = vision_stages(model, pixels)
    for name, expected in golden.under("vision.").items():
        found = stages.get(name, torch.empty(0))[: len(expected)]  # early stages are recorded for the first images only
        # what is promised is the end of the line; before it, numbers are larger and so is their last digit
        scale = 1.0 if name == "encode_img" else max(1.0, float(expected.abs().max()))
        yield compare(f"vision.{name}", found, expected, EMBEDDING_TOLERANCE * scale)
    if golden.has("alt_ln.weight", "alt_ln.bias", "alt_ln.encode_img"):
        yield _check_other_norm(model, pixels, golden)
    for name, expected in golden.under("interp_pos_embed.").items():
        found = interpolate_pos_embed(model.visual_encoder.pos_embed, expected.shape[1] - 1)
        yield compare(f"interp_pos_embed.{name}", found, expected, EMBEDDING_TOLERANCE)


def check_probes(model: MiniGPT4Video, golden: Golden) -> Iterator[CaseResult]:
    """The norms alone, where a wrong epsilon shows."""
    probes: dict[str, tuple[str, nn.Module]] = {
        "ln_vision_out": ("ln_in", model.ln_vision),
        "vit_block0_norm1_out": ("ln_in", model.visual_encoder.get_submodule("blocks.0.norm1")),
        "rms_final_norm_out": ("rms_in", model.llama_model.base_model.norm),
    }
    for name, (given, module) in probes.items():
        if golden.has(f"probe.{given}", f"probe.{name}"):
            found = module(golden.tensors[f"probe.{given}"])
            yield compare(f"probe.{name}", found, golden.tensors[f"probe.{name}"], PROBE_TOLERANCE)


def vision_stages(model: MiniGPT4Video, pixels: Tensor) -> dict[str, Tensor]:
    """Outputs of the vision side's parts, by the golden data's names."""
    tower, stages = model.visual_encoder, dict[str, Tensor]()
    named = {"patch_embed": tower.patch_embed, **{f"block{i}": block for i, block in enumerate(tower.blocks)}}

    def keep(name: str) -> object:
        return named[name].register_forward_hook(lambda _module, _inputs, output: stages.update({name: output}))

    handles = [keep(name) for name in named]
    stages["encoder_out"] = tower(pixels)
    for handle in handles:
        handle.remove()  # type: ignore[attr-defined]
    stages["ln_vision_out"] = model.ln_vision(stages["encoder_out"])
    stages["pooled_pre_proj"] = pool_tokens(stages["ln_vision_out"][:, 1:], model.config.pool_size)
    stages["encode_img"] = model.encode_images(pixels)
    return stages


def _check_other_norm(model: MiniGPT4Video, pixels: Tensor, golden: Golden) -> CaseResult:
    """With another affine of ln_vision, as a checkpoint may carry one."""
    norm = model.ln_vision
    kept = {name: tensor.clone() for name, tensor in norm.state_dict().items()}
    norm.load_state_dict({name: golden.tensors[f"alt_ln.{name}"] for name in kept})
    found = model.encode_images(pixels)
    norm.load_state_dict(kept)
    return compare("alt_ln.encode_img", found, golden.tensors["alt_ln.encode_img"], EMBEDDING_TOLERANCE)


def _check_images(file: Path) -> Iterator[CaseResult]:
    tensors = read_safetensors(file)
    for name, image in tensors.items():
        if not name.endswith(".u8"):
            continue
        stem = name.removesuffix("u8")
        for other, expected in tensors.items():
            if other.startswith(stem) and other != name:
                yield _check_pixels(f"preprocess.{other}", image[None], expected[None])


def _check_pixels(name: str, images: Tensor, expected: Tensor) -> CaseResult:
    """uint8 (N, H, W, 3) against the reference's normalised (N, 3, S, S), in grey levels."""
    resized = torch.from_numpy(resize(images.numpy(), expected.shape[-1]))
    found = normalise(resized.permute(0, 3, 1, 2))
    levels = torch.tensor(IMAGENET_STD).view(3, 1, 1) * 255
    result = compare(name, found * levels, expected * levels, GREY_LEVEL_TOLERANCE)
    return (
        result
        if math.isinf(result.largest_difference)
        else CaseResult(name, round(result.largest_difference, 3), GREY_LEVEL_TOLERANCE)
    )
