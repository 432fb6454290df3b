"""Our models as the reference's files: a `video_checkpoint.pth` as its training writes it, with its very names, and for
one of our own folders the vision tower and the language model that go with it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vidlabel.errors import InputError
from vidlabel.models.minigpt4_video.adapter import read_adapter
from vidlabel.models.minigpt4_video.config import read_config
from vidlabel.models.minigpt4_video.loading import LANGUAGE_MODEL, WEIGHTS
from vidlabel.models.minigpt4_video.lora import Lora
from vidlabel.models.minigpt4_video.saving import TOKENIZER_FILES
from vidlabel.models.minigpt4_video.tensors import read_safetensors
from vidlabel.models.minigpt4_video.unmerged import own_tensors
from vidlabel.models.sources_file import CHECKPOINT, VISION, write_sources

_LLM = "llama_model."
_PEFT = "llama_model.base_model.model."  # what peft 0.2 put before the names of the language model
_SHARD_SIZE = "5GB"


def checkpoint_values(
    tensors: Mapping[str, Tensor], lora: Mapping[str, Lora], *, more_config: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What `torch.save` is to write. `tensors`: what was trained, by our names: the projection, and what else there is
    beside LoRA."""
    model = {_reference_name(name): tensor.detach().float().cpu().contiguous() for name, tensor in tensors.items()}
    for layer, one in lora.items():
        model[f"{_PEFT}{layer}.lora_A.weight"] = one.a.detach().float().cpu().contiguous()
        model[f"{_PEFT}{layer}.lora_B.weight"] = one.b.detach().float().cpu().contiguous()
    config = {"model": _lora_config(lora) | dict(more_config or {})}
    return {"model": model, "optimizer": {}, "config": config, "scaler": {}, "epoch": 0}


def export_folder(folder: Path, out: Path) -> None:
    """One of our own folders as its three sources, which `vidlabel models convert` makes the same folder of again."""
    if out.exists():
        raise InputError(f"--out {out}: exists already; name a new folder")
    config, lora = read_config(folder), read_adapter(folder)
    beside = out.with_name(out.name + ".partial")
    if beside.exists():
        shutil.rmtree(beside)
    (beside / LANGUAGE_MODEL).mkdir(parents=True)
    own = read_safetensors(folder / WEIGHTS)
    tower = {name.removeprefix("visual_encoder."): t for name, t in own.items() if name.startswith("visual_encoder.")}
    torch.save(tower, beside / VISION)
    rest = {name: tensor for name, tensor in own.items() if not name.startswith("visual_encoder.")}
    if bool((rest["ln_vision.weight"] == 1).all()) and not bool(rest["ln_vision.bias"].any()):
        del rest["ln_vision.weight"], rest["ln_vision.bias"]  # the reference writes none, and none means these
    torch.save(checkpoint_values(rest, lora), beside / CHECKPOINT)
    _write_language_model(folder, lora, beside / LANGUAGE_MODEL)
    write_sources(beside, config)
    beside.rename(out)


def _write_language_model(folder: Path, lora: dict[str, Lora], target: Path) -> None:
    from huggingface_hub import save_torch_state_dict

    source = folder / LANGUAGE_MODEL
    tensors = dict(_language_tensors(folder, lora))
    save_torch_state_dict(tensors, target, max_shard_size=_SHARD_SIZE)
    for name in ("config.json", *TOKENIZER_FILES):
        if (source / name).exists():
            shutil.copyfile(source / name, target / name)


def _language_tensors(folder: Path, lora: dict[str, Lora]) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in own_tensors(folder, lora):
        if name.startswith(_LLM):
            yield name.removeprefix(_LLM), tensor


def _reference_name(name: str) -> str:
    return _PEFT + name.removeprefix(_LLM) if name.startswith(_LLM) else name


def _lora_config(lora: Mapping[str, Lora]) -> dict[str, Any]:
    """Rank and alpha of all layers; rank 0 says that there is no adapter."""
    found = {(one.a.shape[0], one.scaling * one.a.shape[0]) for one in lora.values()}
    if len(found) > 1:
        raise InputError(f"an adapter with several ranks or alphas ({sorted(found)}) has no place in a checkpoint")
    if not found:
        return {"lora_r": 0}
    ((rank, alpha),) = found
    return {"lora_r": rank, "lora_alpha": alpha}
