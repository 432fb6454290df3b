"""What a training begins with: a preset or a folder, or a vision tower and a language model that have never met."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from vidlabel.data import stable_id
from vidlabel.errors import InputError
from vidlabel.models.minigpt4_video.fingerprint import fingerprint
from vidlabel.models.minigpt4_video.unmerged import Unmerged, unmerged_folder, unmerged_sources, untrained
from vidlabel.models.presets import read_sources, read_sources_config, resolve
from vidlabel.plan import file_state
from vidlabel.train.settings import TrainSettings


@dataclass(frozen=True, slots=True)
class Beginning:
    """As typed: `start`, or the two others."""

    start: str | None
    vision: Path | None = None
    language_model: Path | None = None

    def __post_init__(self) -> None:
        pair = (self.vision is not None, self.language_model is not None)
        if self.start is None and pair != (True, True):
            raise InputError("--from: name a preset or a model folder; or give --vision and --language-model")
        if self.start is not None and pair != (False, False):
            raise InputError(f"--from {self.start}: has both already; leave out --vision and --language-model")
        if self.start == "echo":
            raise InputError("--from echo: has no weights")

    @property
    def fingerprint(self) -> str:
        if self.start is not None:
            return resolve(self.start).fingerprint
        assert self.vision is not None
        assert self.language_model is not None
        return stable_id(fingerprint(self.language_model), str(file_state(str(self.vision))))


def load(beginning: Beginning, settings: TrainSettings, dtype: torch.dtype) -> Unmerged:
    """In memory of the CPU. What is to learn comes in float32; with LoRA the adapter is not merged."""
    if settings.full or settings.train_vision:
        dtype = torch.float32
    merge = settings.language != "lora"
    if beginning.start is None:
        assert beginning.vision is not None
        assert beginning.language_model is not None
        return untrained(beginning.vision, beginning.language_model, dtype=dtype, seed=settings.seed)
    spec = resolve(beginning.start)
    assert spec.folder is not None
    if spec.form == "own":
        return unmerged_folder(spec.folder, dtype=dtype, merge=merge)
    return unmerged_sources(read_sources(spec.folder), read_sources_config(spec.folder), dtype=dtype, merge=merge)
