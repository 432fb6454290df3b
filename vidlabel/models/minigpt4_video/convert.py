"""The original files to our own folder, once: LoRA merged, every tensor accounted for, safetensors throughout."""

from __future__ import annotations

from pathlib import Path

import torch

from vidlabel.models.minigpt4_video.checkpoint import read_checkpoint
from vidlabel.models.minigpt4_video.config import ModelConfig
from vidlabel.models.minigpt4_video.loading import (
    Sources,
    build_empty,
    read_llm_config,
    released_config,
    source_tensors,
)
from vidlabel.models.minigpt4_video.saving import save_tensors
from vidlabel.models.minigpt4_video.tensors import check_tensors


def convert(
    sources: Sources,
    out: Path,
    config: ModelConfig | None = None,
    *,
    num_frames: int | None = None,
    self_test_device: str | torch.device = "cpu",
    self_test_dtype: torch.dtype = torch.float32,
) -> None:
    """Writes `out`. Nothing is rounded: each tensor keeps its type, merged ones are float32 (they add two types), so
    the folder gives the same numbers as the sources in any type it is loaded with.

    Without a config its sizes follow from the language model. The self-test runs the model once: half precision or a
    GPU for it where float32 does not fit into memory.
    """
    config = config or released_config(sources.language_model, num_frames=num_frames)
    llm_config = read_llm_config(sources.language_model)
    tensors = {
        name: tensor for name, tensor in source_tensors(sources, config) if not name.endswith("rotary_emb.inv_freq")
    }
    expected = {name: tensor.shape for name, tensor in build_empty(config, llm_config).state_dict().items()}
    tied = ["llama_model.lm_head.weight"] if getattr(llm_config, "tie_word_embeddings", False) else []
    check_tensors(tensors, expected, source=str(sources.checkpoint.parent), optional=tied)
    save_tensors(
        out,
        config,
        llm_config,
        tensors,
        sources.language_model,
        adapter=read_checkpoint(sources.checkpoint).lora,
        self_test_device=self_test_device,
        self_test_dtype=self_test_dtype,
    )
