"""The language model without its adapter: what LoRA added to the weights is taken off again while text is written.

Our own folders hold merged weights, and beside them the factors in `adapter.safetensors`; a model that was trained
whole has none and is its own base.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from vidlabel.errors import InputError
from vidlabel.models.minigpt4_video.lora import Lora
from vidlabel.models.minigpt4_video.model import MiniGPT4Video
from vidlabel.models.minigpt4_video.tensors import read_safetensors

FILE = "adapter.safetensors"


def save_adapter(folder: Path, lora: Mapping[str, Lora]) -> None:
    """By layer of the language model (`model.layers.0.self_attn.q_proj`)."""
    tensors = {f"{layer}.lora_{side}": getattr(one, side.lower()) for layer, one in lora.items() for side in "AB"}
    scaling = {layer: one.scaling for layer, one in lora.items()}
    held = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(held, folder / FILE, metadata={"format": "pt", "scaling": json.dumps(scaling)})


def read_adapter(folder: Path) -> dict[str, Lora]:
    """Of one of our own folders; empty where the model has none."""
    from safetensors import safe_open

    path = folder / FILE
    if not path.exists():
        return {}
    tensors = read_safetensors(path)
    with safe_open(path, "pt") as file:
        scaling: dict[str, float] = json.loads((file.metadata() or {}).get("scaling", "{}"))
    wanted = {f"{layer}.lora_{side}" for layer in scaling for side in "AB"}
    if wanted != set(tensors):
        raise InputError(f"{path}: its tensors and its list of layers differ; convert the model again")
    return {layer: Lora(tensors[f"{layer}.lora_A"], tensors[f"{layer}.lora_B"], s) for layer, s in scaling.items()}


@torch.inference_mode()
def base_weights(model: MiniGPT4Video, lora: Mapping[str, Lora]) -> dict[str, Tensor]:
    """The adapted weights as they were before, by name in the language model: `weight - scaling * b @ a`, taken off in
    float32 and rounded once to the model's type."""
    found: dict[str, Tensor] = {}
    for layer, one in lora.items():
        try:
            weight = model.llama_model.get_parameter(f"{layer}.weight")
        except AttributeError as error:
            raise InputError(f"the adapter has a layer {layer} that the language model does not have") from error
        if not weight.is_floating_point():
            raise InputError("the adapter cannot be taken off quantised weights; leave out --quantize")
        added = one.scaling * (one.b.to(weight.device).float() @ one.a.to(weight.device).float())
        found[f"{layer}.weight"] = (weight.float() - added).to(weight.dtype)
    return found


@contextmanager
def without_adapter(model: MiniGPT4Video, base: Mapping[str, Tensor]) -> Iterator[None]:
    """The model speaks with its base weights inside; recorded CUDA graphs keep the others and are not to be run."""
    adapted = {name: model.llama_model.get_parameter(name).data for name in base}
    try:
        for name, tensor in base.items():
            model.llama_model.get_parameter(name).data = tensor
        yield
    finally:
        for name, tensor in adapted.items():
            model.llama_model.get_parameter(name).data = tensor
