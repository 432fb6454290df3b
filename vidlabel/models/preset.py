"""What a model with a name is made of: files of hub repositories, or at plain addresses. See `presets.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class HubFiles:
    """Files of a hub repository at a pinned commit: one file, or (without `path`) those a language model needs."""

    repo: str
    revision: str
    target: str  # file or folder in the model's folder
    gigabytes: float
    path: str | None = None
    sha256: str | None = None  # None: as the hub says
    gated: bool = False


@dataclass(frozen=True, slots=True)
class UrlFile:
    """A file at a plain address. A mirror is asked for `target` first."""

    url: str
    target: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Preset:
    """A model with a name."""

    name: str
    summary: str
    num_frames: int
    image_size: int = 224
    max_new_tokens: int = 512
    files: tuple[HubFiles | UrlFile, ...] = ()
    task: Literal["label", "speech", "score"] = "label"

    @property
    def gigabytes(self) -> float:
        return sum(file.gigabytes if isinstance(file, HubFiles) else file.size / 1e9 for file in self.files)
