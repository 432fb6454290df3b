"""A golden folder and the model that is held against it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from vidlabel.errors import InputError
from vidlabel.models.minigpt4_video.config import FORMAT, ModelConfig, VisionConfig
from vidlabel.models.minigpt4_video.loading import LANGUAGE_MODEL, Sources, load_model, load_sources, released_config
from vidlabel.models.minigpt4_video.model import MiniGPT4Video
from vidlabel.models.minigpt4_video.tensors import read_safetensors
from vidlabel.models.minigpt4_video.tokenizer import PromptTokenizer

_VISION_FILES = ("eva_vit.pth", "eva_vit_g.pth")
_CHECKPOINT_FILES = ("checkpoint.pth", "video_*checkpoint*.pth")


@dataclass(frozen=True, slots=True, eq=False)
class Golden:
    """What a golden folder holds. Nothing about its sizes is taken for granted."""

    folder: Path
    config: dict[str, Any]
    tensors: dict[str, Tensor]

    def read_json(self, name: str) -> Any:
        return read_json(self.folder / name)

    def has(self, *names: str) -> bool:
        return all(name in self.tensors for name in names)

    def under(self, prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): tensor for name, tensor in self.tensors.items() if name.startswith(prefix)}


def read_golden(folder: Path) -> Golden:
    if not (folder / "cases.json").is_file():
        raise InputError(f"{folder}: not a golden folder (it has no cases.json)")
    tensors: dict[str, Tensor] = {}
    for path in sorted(folder.glob("tensors*.safetensors")):
        tensors |= read_safetensors(path)
    return Golden(folder, read_json(folder / "config.json"), tensors)


def load_for_golden(folder: Path, golden: Golden) -> tuple[MiniGPT4Video, PromptTokenizer, Path]:
    """The model in `folder`, one of our own or three original sources, in float32 on the CPU; with the folder of its
    language model."""
    config_file = folder / "config.json"
    if config_file.is_file() and read_json(config_file).get("format") == FORMAT:
        model, tokenizer = load_model(folder)
        expected = model_config(golden, folder / LANGUAGE_MODEL)
        for what in ("vision", "pool_size", "ln_vision_eps"):
            if getattr(model.config, what) != getattr(expected, what):
                mine, theirs = getattr(model.config, what), getattr(expected, what)
                raise InputError(f"{folder}: {what} is {mine}, the golden data are of a model with {theirs}")
        return model, tokenizer, folder / LANGUAGE_MODEL
    sources = find_sources(folder, golden.config.get("llm_dir"))
    return *load_sources(sources, model_config(golden, sources.language_model)), sources.language_model


def find_sources(folder: Path, llm_name: str | None = None) -> Sources:
    """The three original sources in a folder, by the names they usually have."""

    def one(patterns: tuple[str, ...], what: str) -> Path:
        found = sorted({path for pattern in patterns for path in folder.glob(pattern)})
        if len(found) != 1:
            raise InputError(f"{folder}: expected one {what} ({' or '.join(patterns)}), found {len(found)}")
        return found[0]

    if llm_name and (folder / llm_name / "config.json").is_file():
        llm = folder / llm_name
    else:
        llm = one(("*/config.json",), "language model folder").parent
    return Sources(one(_VISION_FILES, "vision tower"), llm, one(_CHECKPOINT_FILES, "checkpoint"))


def model_config(golden: Golden, llm_folder: Path) -> ModelConfig:
    """The model's sizes as the golden folder gives them."""
    try:
        vit = golden.config["vit"]
        vision = VisionConfig(
            image_size=vit["img_size"],
            patch_size=vit["patch_size"],
            embed_dim=vit["embed_dim"],
            depth=vit["depth"],
            num_heads=vit["num_heads"],
            mlp_hidden=vit.get("mlp_hidden") or int(vit["embed_dim"] * vit["mlp_ratio"]),
            norm_eps=vit["norm_eps"],
        )
        return replace(
            released_config(llm_folder, vision),
            pool_size=golden.config["llama_proj"][0] // vision.embed_dim,
            num_frames=golden.config["limits"]["max_frames"],
            ln_vision_eps=golden.config["ln_vision_eps"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{golden.folder / 'config.json'}: does not give the model's sizes ({error!r})") from error


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
