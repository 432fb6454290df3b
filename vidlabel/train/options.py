"""How a training is run: where its data and results are, on what, in how many processes. What decides its result is in
`settings.py`."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from vidlabel.cores import available_cores
from vidlabel.errors import InputError
from vidlabel.manifests.sets import ManifestFormat
from vidlabel.progress import LogFormat
from vidlabel.train.settings import TORCH_DTYPES


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """What `settings` and `beginning` do not say: data, places, and how it is run."""

    data: tuple[str, ...]
    out: Path
    caption_data: tuple[str, ...] = ()  # of instruct: captions beside the questions
    eval_data: tuple[str, ...] = ()
    eval_share: float | None = None
    root: str | None = None
    video_root: str | None = None
    manifest_format: ManifestFormat = "auto"
    text_column: str | None = None
    keep_flagged: bool = False
    cache_features: Path | None = None
    device: str = "auto"
    workers: int = 0
    log_every: int = 10
    eval_every: int | None = None  # None: ten times in all
    save_every: int | None = None  # None: likewise
    samples: int = 2
    resume: bool = True
    log_format: LogFormat = "text"


@dataclass(frozen=True, slots=True)
class Place:
    """Where this process stands among those of a launcher."""

    rank: int = field(default_factory=lambda: int(os.environ.get("RANK", "0")))
    num_processes: int = field(default_factory=lambda: int(os.environ.get("WORLD_SIZE", "1")))

    @property
    def is_first(self) -> bool:
        return self.rank == 0


def default_workers() -> int:
    """Of one process: its share of the cores, one of them left to itself, but one worker at least."""
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, available_cores() // here - 1)


def choose_device(device: str) -> str:
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: torch sees no GPU here; use --device cpu, or install a CUDA build of torch")
    return device


def choose_dtype(dtype: str, device: str) -> str:
    """The name of a torch type."""
    import torch

    if dtype == "auto":
        dtype = "fp32" if device == "cpu" else "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    return TORCH_DTYPES[dtype]
