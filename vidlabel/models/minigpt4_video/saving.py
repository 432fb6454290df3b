"""Writing our own model folder (config, weights, `language_model/`, self-test): it is there whole, or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vidlabel.errors import InputError
from vidlabel.models.minigpt4_video.adapter import save_adapter
from vidlabel.models.minigpt4_video.config import FORMAT, ModelConfig
from vidlabel.models.minigpt4_video.loading import LANGUAGE_MODEL, WEIGHTS
from vidlabel.models.minigpt4_video.lora import Lora
from vidlabel.models.minigpt4_video.model import MiniGPT4Video
from vidlabel.models.minigpt4_video.self_test import write_self_test

_LLM = "llama_model."
# What a language model's folder may hold beside weights and configs; all that a tokenizer can need
TOKENIZER_FILES = (
    "tokenizer.model",
    "tokenizer_config.json",
    "tokenizer.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "generation_config.json",
)
_SHARD_SIZE = "5GB"


def save_model(
    folder: Path,
    model: MiniGPT4Video,
    tokenizer_files: Path | Iterable[Path],
    *,
    dtype: torch.dtype | None = None,
    overwrite: bool = False,
) -> None:
    """Writes a model in memory, with its self-test. `tokenizer_files` may be the folder that holds them; `dtype` None
    keeps each tensor's own."""
    save_tensors(
        folder,
        model.config,
        model.llama_model.config,
        {name: tensor.detach().to(dtype or tensor.dtype) for name, tensor in model.state_dict().items()},
        tokenizer_files,
        overwrite=overwrite,
    )


def save_tensors(
    folder: Path,
    config: ModelConfig,
    llm_config: Any,
    tensors: Mapping[str, Tensor],
    tokenizer_files: Path | Iterable[Path],
    *,
    overwrite: bool = False,
    adapter: Mapping[str, Lora] | None = None,
    self_test_device: str | torch.device = "cpu",
    self_test_dtype: torch.dtype = torch.float32,
) -> None:
    """The same from named tensors, each kept in its type. `adapter`: what was merged into them, to be kept beside."""
    from huggingface_hub import save_torch_state_dict
    from safetensors.torch import save_file

    if folder.exists() and not (overwrite and _is_own_folder(folder)):
        raise InputError(f"{folder}: exists already; choose another folder")
    beside = folder.with_name(folder.name + ".partial")
    if beside.exists():
        shutil.rmtree(beside)
    llm_folder = beside / LANGUAGE_MODEL
    llm_folder.mkdir(parents=True)
    (beside / "config.json").write_text(config.to_json(), encoding="utf-8")
    own = {name: tensor.contiguous().cpu() for name, tensor in tensors.items() if not name.startswith(_LLM)}
    save_file(own, beside / WEIGHTS, metadata={"format": "pt"})
    if adapter:
        save_adapter(beside, adapter)
    language = {name.removeprefix(_LLM): tensor for name, tensor in tensors.items() if name.startswith(_LLM)}
    if getattr(llm_config, "tie_word_embeddings", False):
        language.pop("lm_head.weight", None)
    save_torch_state_dict(language, llm_folder, max_shard_size=_SHARD_SIZE)
    llm_config.save_pretrained(llm_folder)
    _copy_tokenizer(tokenizer_files, llm_folder)
    write_self_test(beside, device=self_test_device, dtype=self_test_dtype)
    for path in beside.rglob("*.safetensors"):  # written for the owner alone, unlike every other file
        shutil.copymode(beside / "config.json", path)
    _put_in_place(beside, folder)


def _copy_tokenizer(files: Path | Iterable[Path], target: Path) -> None:
    if isinstance(files, Path):
        files = [files / name for name in TOKENIZER_FILES if (files / name).exists()]
    for file in files:
        shutil.copyfile(file, target / file.name)


def _is_own_folder(folder: Path) -> bool:
    config = folder / "config.json"
    return config.is_file() and FORMAT in config.read_text(encoding="utf-8", errors="replace")


def _put_in_place(beside: Path, folder: Path) -> None:
    """Renames the finished folder; an old one steps aside first, because a folder cannot be replaced in one step."""
    old = folder.with_name(folder.name + ".old")
    if old.exists():
        shutil.rmtree(old)
    if folder.exists():
        folder.rename(old)
    beside.rename(folder)
    if old.exists():
        shutil.rmtree(old)
