"""A model to train further: its language model as it was before the adapter, and the adapter beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from vidlabel.models.minigpt4_video.adapter import read_adapter
from vidlabel.models.minigpt4_video.checkpoint import Checkpoint, read_checkpoint, read_vision
from vidlabel.models.minigpt4_video.config import ModelConfig, read_config
from vidlabel.models.minigpt4_video.loading import (
    LANGUAGE_MODEL,
    WEIGHTS,
    Sources,
    assemble,
    read_llm_config,
    released_config,
    source_tensors,
)
from vidlabel.models.minigpt4_video.lora import Lora, unmerge_lora
from vidlabel.models.minigpt4_video.model import MiniGPT4Video
from vidlabel.models.minigpt4_video.tensors import iterate_tensors, read_safetensors
from vidlabel.models.minigpt4_video.tokenizer import PromptTokenizer, load_tokenizer

_LLM = "llama_model."


@dataclass(frozen=True, slots=True, eq=False)
class Unmerged:
    """`lora` empty: the model has no adapter. `sources`: the original files it is made of, where it is."""

    model: MiniGPT4Video
    tokenizer: PromptTokenizer
    lora: dict[str, Lora]  # by layer of the language model
    llm_folder: Path  # holds the tokenizer's files
    sources: Sources | None = None
    checkpoint: Checkpoint | None = None  # of the sources


def unmerged_folder(folder: Path, *, dtype: torch.dtype, merge: bool = False) -> Unmerged:
    """Of one of our own folders. With `merge` the weights are left as they are, and so hold what `lora` adds."""
    llm_folder = folder / LANGUAGE_MODEL
    lora = read_adapter(folder)
    tensors = own_tensors(folder, {} if merge else lora)
    config = read_config(folder)
    model = _assemble(config, llm_folder, tensors, str(folder), dtype)
    return Unmerged(model, load_tokenizer(llm_folder), lora, llm_folder)


def unmerged_sources(
    sources: Sources, config: ModelConfig | None, *, dtype: torch.dtype, merge: bool = False
) -> Unmerged:
    """Of original files."""
    config = config or released_config(sources.language_model)
    checkpoint = read_checkpoint(sources.checkpoint)
    tensors = source_tensors(sources, config, merge=merge)
    model = _assemble(config, sources.language_model, tensors, str(sources.checkpoint.parent), dtype)
    tokenizer = load_tokenizer(sources.language_model)
    return Unmerged(model, tokenizer, checkpoint.lora, sources.language_model, sources, checkpoint)


def untrained(
    vision: Path, llm_folder: Path, config: ModelConfig | None = None, *, dtype: torch.dtype, seed: int
) -> Unmerged:
    """A vision tower and a language model that have never met: the projection between them is random. Without a config
    the released sizes are expected."""
    config, llm_config = config or released_config(llm_folder), read_llm_config(llm_folder)
    torch.manual_seed(seed)
    projection = nn.Linear(config.vision.embed_dim * config.pool_size, llm_config.hidden_size)

    def tensors() -> Iterator[tuple[str, Tensor]]:
        yield from (("visual_encoder." + name, one) for name, one in read_vision(vision, config.vision).items())
        yield from (("llama_proj." + name, one.detach()) for name, one in projection.named_parameters())
        yield "ln_vision.weight", torch.ones(config.vision.embed_dim)
        yield "ln_vision.bias", torch.zeros(config.vision.embed_dim)
        yield from ((_LLM + name, one) for name, one in iterate_tensors(llm_folder))

    model = _assemble(config, llm_folder, tensors(), str(llm_folder), dtype)
    sources = Sources(vision, llm_folder, checkpoint=llm_folder)  # there is no checkpoint yet; nothing reads it
    return Unmerged(model, load_tokenizer(llm_folder), {}, llm_folder, sources)


def own_tensors(folder: Path, taken_off: dict[str, Lora]) -> Iterator[tuple[str, Tensor]]:
    """All tensors of one of our own folders by name; layers in `taken_off` as they were before it was merged."""
    yield from read_safetensors(folder / WEIGHTS).items()
    for name, tensor in iterate_tensors(folder / LANGUAGE_MODEL):
        lora = taken_off.get(name.removesuffix(".weight"))
        yield _LLM + name, tensor if lora is None else unmerge_lora(tensor, lora)


def _assemble(
    config: ModelConfig, llm_folder: Path, tensors: Iterator[tuple[str, Tensor]], source: str, dtype: torch.dtype
) -> MiniGPT4Video:
    """On the CPU. The projection learns in every stage, so it is not rounded to `dtype`."""
    return assemble(
        config,
        read_llm_config(llm_folder),
        tensors,
        source=source,
        device="cpu",
        dtype=dtype,
        always_float32=("llama_proj.weight", "llama_proj.bias"),
    )
