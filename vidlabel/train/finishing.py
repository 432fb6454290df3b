"""What a training leaves: a model folder that `vidlabel caption --model` runs as it is.

Of original files (the released models) it is a small one: the new checkpoint, as the reference writes it, and where
the vision tower and the language model lie. Where these have learnt themselves, and for our own folders, it is whole.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vidlabel.models.minigpt4_video.exporting import checkpoint_values
from vidlabel.models.minigpt4_video.lora import Lora
from vidlabel.models.minigpt4_video.saving import save_tensors
from vidlabel.models.minigpt4_video.unmerged import Unmerged
from vidlabel.models.sources_file import CHECKPOINT, write_sources
from vidlabel.train.settings import TORCH_DTYPES, TrainSettings, to_values
from vidlabel.train.stages import learnt_lora, plain_tensors


def save_trained(out: Path, begun: Unmerged, settings: TrainSettings, *, dtype: str, on_gpu: bool) -> None:
    """`begun.model` has learnt; it comes to the CPU. `dtype`: the type that the run computed in."""
    model = begun.model.cpu().eval()
    if settings.stage != "align" and settings.frames is not None:
        model.config = replace(model.config, num_frames=settings.frames)
    learnt = learnt_lora(model, settings.lora_alpha)
    lora = learnt if settings.language == "lora" else {} if settings.full else begun.lora
    if begun.sources is not None and not settings.full and not settings.train_vision:
        _save_beside(out, begun, settings, lora)
        return
    tensors = plain_tensors(model, learnt)
    if settings.full or settings.train_vision:
        tensors = _kept_type(tensors, settings, getattr(torch, dtype))
    save_tensors(
        out,
        model.config,
        model.llama_model.config,
        tensors,
        begun.llm_folder,
        adapter=lora,
        self_test_device="cuda" if on_gpu else "cpu",
        self_test_dtype=getattr(torch, dtype) if on_gpu else torch.float32,
    )


def _save_beside(out: Path, begun: Unmerged, settings: TrainSettings, lora: Mapping[str, Lora]) -> None:
    assert begun.sources is not None
    model = begun.model
    trained = {f"llama_proj.{name}": tensor for name, tensor in model.llama_proj.state_dict().items()}
    if begun.checkpoint is not None:  # what else the checkpoint before brought
        trained |= {**begun.checkpoint.ln_vision, **begun.checkpoint.replaced}
    beside = out.with_name(out.name + ".partial")
    if beside.exists():
        shutil.rmtree(beside)
    beside.mkdir(parents=True)
    told: dict[str, Any] = {"vidlabel": {k: v for k, v in to_values(settings).items() if v is not None}}
    torch.save(checkpoint_values(trained, lora, more_config=told), beside / CHECKPOINT)
    write_sources(beside, model.config, vision=begun.sources.vision, language_model=begun.sources.language_model)
    beside.rename(out)


def _kept_type(tensors: dict[str, Tensor], settings: TrainSettings, dtype: torch.dtype) -> dict[str, Tensor]:
    """All in the type that was asked for. Else large parts that learnt in float32 under a half type are kept in that;
    the projection and norms as they are."""
    if settings.save_dtype is not None:
        return {name: t.to(getattr(torch, TORCH_DTYPES[settings.save_dtype])) for name, t in tensors.items()}
    if TORCH_DTYPES["fp32"] == str(dtype).removeprefix("torch."):
        return tensors
    large = (*(("llama_model.",) if settings.full else ()), *(("visual_encoder.",) if settings.train_vision else ()))
    return {name: t.to(dtype) if name.startswith(large) and t.ndim > 1 else t for name, t in tensors.items()}
