"""From files to a model ready to answer: our own folder, or the three original sources put together.

The model is built without memory and gets its tensors assigned one by one in their final type, so that loading takes
little more than the model itself.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from vidlabel.errors import InputError
from vidlabel.models.minigpt4_video.checkpoint import Checkpoint, read_checkpoint, read_vision
from vidlabel.models.minigpt4_video.config import EVA_VIT_G, ModelConfig, VisionConfig, read_config
from vidlabel.models.minigpt4_video.families import base_config
from vidlabel.models.minigpt4_video.lora import merge_lora
from vidlabel.models.minigpt4_video.model import MiniGPT4Video
from vidlabel.models.minigpt4_video.tensors import check_tensors, iterate_tensors, read_safetensors
from vidlabel.models.minigpt4_video.tokenizer import PromptTokenizer, load_tokenizer

LANGUAGE_MODEL = "language_model"  # subfolder of our own folder
WEIGHTS = "model.safetensors"
_LLM = "llama_model."


@dataclass(frozen=True, slots=True)
class Sources:
    """The three original sources of a model."""

    vision: Path  # eva_vit_g.pth
    language_model: Path  # a Hugging Face folder
    checkpoint: Path  # video_*_checkpoint_*.pth


def load_model(
    folder: Path, *, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32
) -> tuple[MiniGPT4Video, PromptTokenizer]:
    """The model in one of our own folders, in eval mode, with its tokenizer."""
    config = read_config(folder)
    path = folder / WEIGHTS
    tensors = read_safetensors(path)
    misplaced = [name for name in tensors if name.startswith(_LLM)]
    if misplaced:
        raise InputError(f"{path}: {misplaced[0]} belongs into {folder / LANGUAGE_MODEL}")
    llm_folder = folder / LANGUAGE_MODEL
    named = ((_LLM + name, tensor) for name, tensor in iterate_tensors(llm_folder))
    model = assemble(
        config, read_llm_config(llm_folder), _chain(tensors, named), source=str(folder), device=device, dtype=dtype
    )
    return model, load_tokenizer(llm_folder)


def load_sources(
    sources: Sources,
    config: ModelConfig | None = None,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> tuple[MiniGPT4Video, PromptTokenizer]:
    """The model from its original files, LoRA merged in float32. Without a config the released sizes are expected."""
    config = config or released_config(sources.language_model)
    model = assemble(
        config,
        read_llm_config(sources.language_model),
        source_tensors(sources, config),
        source=str(sources.checkpoint.parent),
        device=device,
        dtype=dtype,
    )
    return model, load_tokenizer(sources.language_model)


def released_config(
    llm_folder: Path, vision: VisionConfig = EVA_VIT_G, *, num_frames: int | None = None
) -> ModelConfig:
    """The set-up for a language model, by its kind (never by a folder's name); of released models theirs."""
    return base_config(llm_folder, read_llm_config(llm_folder), vision, num_frames=num_frames)


def source_tensors(sources: Sources, config: ModelConfig, *, merge: bool = True) -> Iterator[tuple[str, Tensor]]:
    """All tensors of a model by our names, from the original files; merged ones are float32. Without `merge` the
    language model's are as they were before its adapter."""
    checkpoint = read_checkpoint(sources.checkpoint)
    replaced, lora = dict(checkpoint.replaced), dict(checkpoint.lora)
    for name, tensor in read_vision(sources.vision, config.vision).items():
        name = "visual_encoder." + name
        yield name, replaced.pop(name, tensor)
    yield from checkpoint.projection.items()
    yield from ln_vision_tensors(checkpoint, config).items()
    for name, tensor in iterate_tensors(sources.language_model):
        tensor = replaced.pop(_LLM + name, tensor)
        factors = lora.pop(name.removesuffix(".weight"), None)
        if factors is not None and merge:
            tensor = merge_lora(tensor, factors, name=name, source=str(sources.checkpoint))
        yield _LLM + name, tensor
    unused = sorted(lora) + sorted(replaced)
    if unused:
        raise InputError(f"{sources.checkpoint}: {', '.join(unused[:5])} has no place in {sources.language_model}")


def ln_vision_tensors(checkpoint: Checkpoint, config: ModelConfig) -> Mapping[str, Tensor]:
    """The norm after the tower; the identity where the checkpoint has none."""
    size = config.vision.embed_dim
    identity = {"ln_vision.weight": torch.ones(size), "ln_vision.bias": torch.zeros(size)}
    return checkpoint.ln_vision or identity


def read_llm_config(folder: Path) -> Any:
    """The transformers config of a language model folder; nothing is ever fetched or run."""
    from transformers import AutoConfig

    if not (folder / "config.json").is_file():
        raise InputError(f"{folder}: not a language model folder (it has no config.json)")
    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{folder / 'config.json'}: {str(error).splitlines()[0]}") from error


def assemble(
    config: ModelConfig,
    llm_config: Any,
    tensors: Iterator[tuple[str, Tensor]],
    *,
    source: str,
    device: str | torch.device,
    dtype: torch.dtype,
    always_float32: Collection[str] = (),
) -> MiniGPT4Video:
    """A model from named tensors, each moved to the device in its final type as it comes."""
    model = build_empty(config, llm_config)
    expected = {name: tensor.shape for name, tensor in model.state_dict().items()}
    keep_float32 = float32_names(model).union(always_float32)
    state: dict[str, Tensor] = {}
    for name, tensor in tensors:
        if name.endswith("rotary_emb.inv_freq"):  # a buffer in old transformers, computed today
            continue
        if name in expected and not tensor.is_floating_point():
            raise InputError(f"{source}: {name} is {tensor.dtype}; quantised weights cannot be read")
        state[name] = tensor.to(device=device, dtype=torch.float32 if name in keep_float32 else dtype)
    tied = [f"{_LLM}lm_head.weight"] if getattr(llm_config, "tie_word_embeddings", False) else []
    check_tensors(state, expected, source=source, optional=tied)
    model.load_state_dict(state, strict=False, assign=True)
    model.llama_model.tie_weights()
    left = [name for name, value in (*model.named_parameters(), *model.named_buffers()) if value.is_meta]
    assert not left, f"without a value after loading: {left}"
    model.llama_model.config.dtype = dtype
    return model.to(device).eval().requires_grad_(False)


def build_empty(config: ModelConfig, llm_config: Any) -> MiniGPT4Video:
    """A model whose parameters have no memory yet; computed buffers (rotary frequencies) are real."""
    with torch.device("meta"):
        model = MiniGPT4Video(config, llm_config)
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if any(buffer.is_meta for buffer in child.buffers(recurse=False)):
                setattr(parent, name, type(child)(config=llm_config))
    return model


class _WithVision(Protocol):
    @property
    def ln_vision(self) -> Any: ...
    @property
    def visual_encoder(self) -> Any: ...


def float32_names(model: _WithVision) -> set[str]:
    """Parameters that stay float32 in half precision, as in the reference: all of vision but its matrix products."""
    names = {f"ln_vision.{name}" for name, _ in model.ln_vision.named_parameters()}
    for module_name, module in model.visual_encoder.named_modules():
        if not isinstance(module, nn.Linear | nn.Conv2d):
            prefix = f"visual_encoder.{module_name}." if module_name else "visual_encoder."
            names |= {prefix + name for name, _ in module.named_parameters(recurse=False)}
    return names


def _chain(tensors: Mapping[str, Tensor], more: Iterator[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
    yield from tensors.items()
    yield from more
