"""What stays the same of a clip while a model learns, kept on disk: of a frozen vision tower what it sees (float16), of
one that learns too the sampled pictures (uint8). Whatever the run, a clip is decoded or encoded once.

One file a clip, whole or absent, under a folder for the tower that saw it, or for pictures.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import astuple, dataclass
from pathlib import Path

import torch
from torch import Tensor

from vidlabel.atomic import whole_file
from vidlabel.data import Cue
from vidlabel.errors import InputError
from vidlabel.models.minigpt4_video.model import MiniGPT4Video

_SAMPLED = 4096  # numbers of a tensor that go into the tower's fingerprint


@dataclass(frozen=True, slots=True)
class Timing:
    """What a prompt needs to know of a clip's frames."""

    pts_seconds: tuple[float, ...]
    cues: tuple[Cue, ...]


class FeatureCache:
    """Files by clip key. Several processes may read and write together. `tower` None: pictures are kept."""

    def __init__(self, folder: Path, tower: str | None) -> None:
        self._folder = folder / (tower or "pictures")
        self.holds_pictures = tower is None
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"--cache-features {folder}: cannot be made ({error.strerror})") from error

    def get(self, key: str) -> tuple[Tensor, Timing] | None:
        """Features (T, tokens, pooled), float16, or pictures (T, S, S, 3), uint8; None: not there yet."""
        from safetensors import SafetensorError, safe_open

        path = self._path(key)
        if not path.exists():
            return None
        try:
            with safe_open(path, "pt") as file:
                about = json.loads((file.metadata() or {})["clip"])
                features = file.get_tensor("features")
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise InputError(f"{path}: not kept features ({error}); delete it") from error
        return features, Timing(tuple(about["pts_seconds"]), tuple(Cue(*cue) for cue in about["cues"]))

    def has(self, key: str) -> bool:
        return self._path(key).exists()

    def put(self, key: str, features: Tensor, timing: Timing) -> None:
        from safetensors.torch import save_file

        path = self._path(key)
        path.parent.mkdir(exist_ok=True)
        about = {"pts_seconds": timing.pts_seconds, "cues": [astuple(cue) for cue in timing.cues]}
        with whole_file(path, shared=True) as beside:
            save_file({"features": features.cpu().contiguous()}, beside, metadata={"clip": json.dumps(about)})

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key}.safetensors"


def tower_fingerprint(model: MiniGPT4Video) -> str:
    """Of the weights that frames go through before the projection, and the type that they compute in."""
    digest = hashlib.sha256(str(model.config.vision).encode())
    for part in (model.visual_encoder, model.ln_vision):
        for name, tensor in sorted(part.state_dict().items()):
            flat = tensor.detach().flatten()
            some = flat[:: max(1, flat.numel() // _SAMPLED)].float().cpu().contiguous()
            digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
            digest.update(some.numpy().tobytes())
    return digest.hexdigest()[:16]


def halved(features: Tensor) -> Tensor:
    """As they come back from the cache, so that the first epoch learns from the same numbers as the later ones."""
    return features.to(torch.float16)
