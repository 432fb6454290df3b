"""Frames to embeddings, the frames of several clips together. On a GPU they cross as uint8 from pinned memory on a
stream of their own, so that the next batch travels while this one is computed, and are normalised there. What a clip
looks like can be kept for when it is asked again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vidlabel.data import Frames
from vidlabel.engine.budget import Budget
from vidlabel.engine.stats import EngineStats
from vidlabel.models.minigpt4_video.model import MiniGPT4Video


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """One clip's frames."""

    embeds: Tensor  # (T, tokens, hidden), for the prompt
    pooled: Tensor  # (T, D) float32, for the clip's embedding

    @property
    def nbytes(self) -> int:
        return int(self.embeds.nbytes + self.pooled.nbytes)


class KeptFeatures:
    """Encoded frames by the very object that holds the pictures, as long as that lives; within `max_bytes`, and what
    was not looked at for longest goes first."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._kept: WeakKeyDictionary[Frames, Encoded] = WeakKeyDictionary()

    @property
    def num_bytes(self) -> int:
        return sum(features.nbytes for features in self._kept.values())

    @property
    def free_bytes(self) -> int:
        return self._max_bytes - self.num_bytes

    def get(self, frames: Frames) -> Encoded | None:
        features = self._kept.pop(frames, None)
        if features is not None:
            self._kept[frames] = features  # now the last to go
        return features

    def add(self, frames: Frames, features: Encoded) -> None:
        if features.nbytes > self._max_bytes:
            return
        while features.nbytes > self.free_bytes:
            self._kept.pop(next(self._kept.keys()), None)
        self._kept[frames] = features


class FrameEncoder:
    """Encodes within a budget of frames, whichever clips they belong to; each once while it is in `kept`."""

    def __init__(self, model: MiniGPT4Video, budget: Budget, stats: EngineStats, kept: KeptFeatures | None) -> None:
        self._model, self._budget, self._stats, self._kept = model, budget, stats, kept
        on_gpu = model.device.type == "cuda"
        self._copying = torch.cuda.Stream(model.device) if on_gpu else None  # type: ignore[no-untyped-call]

    def encode(self, clips: Sequence[Frames]) -> list[Encoded | None]:
        """Each clip's frames; None where memory does not do for one single frame."""
        if self._kept is None:
            return self._encode([frames.images for frames in clips])
        found = {frames: self._kept.get(frames) for frames in clips}
        missing = [frames for frames, features in found.items() if features is None]
        for frames, features in zip(missing, self._encode([frames.images for frames in missing]), strict=True):
            found[frames] = features
            if features is not None:
                self._kept.add(frames, features)
        return [found[frames] for frames in clips]

    def _encode(self, clips: Sequence[npt.NDArray[np.uint8]]) -> list[Encoded | None]:
        places = [(clip, frame) for clip, images in enumerate(clips) for frame in range(len(images))]
        encoded: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}

        def work(batch: Sequence[tuple[int, int]]) -> None:
            with self._stats.timed("vision", self._model.device), torch.inference_mode():
                images = self._upload([clips[clip][frame] for clip, frame in batch])
                embeds, pooled = self._model.encode_and_pool(self._model.preprocess(images))
            self._stats.vision_frames += len(batch)
            encoded.update(zip(batch, zip(embeds.unbind(), pooled.unbind(), strict=True), strict=True))

        failed = {clip for clip, _ in self._budget.spend(places, lambda _: 1, work)}
        return [
            None
            if clip in failed
            else Encoded(*map(torch.stack, zip(*(encoded[clip, at] for at in range(len(images))), strict=True)))
            for clip, images in enumerate(clips)
        ]

    def _upload(self, frames: Sequence[npt.NDArray[np.uint8]]) -> Tensor:
        """Frames (S, S, 3) to one uint8 tensor on the device."""
        if self._copying is None:
            return torch.from_numpy(np.stack(frames)).to(self._model.device)
        pinned = torch.empty((len(frames), *frames[0].shape), dtype=torch.uint8, pin_memory=True)
        np.stack(frames, out=pinned.numpy())
        current = torch.cuda.current_stream(self._model.device)
        with torch.cuda.stream(self._copying):
            images = pinned.to(self._model.device, non_blocking=True)
        current.wait_stream(self._copying)
        images.record_stream(current)
        return images
