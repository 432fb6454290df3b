"""Frames to embeddings, the frames of several clips together. On a GPU they cross as uint8 from pinned memory on a
stream of their own, so that the next batch travels while this one is computed, and are normalised there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vidlabel.engine.budget import Budget
from vidlabel.engine.stats import EngineStats
from vidlabel.models.minigpt4_video.model import MiniGPT4Video

Images = npt.NDArray[np.uint8]  # (T, S, S, 3)


class FrameEncoder:
    """Encodes within a budget of frames, whichever clips they belong to."""

    def __init__(self, model: MiniGPT4Video, budget: Budget, stats: EngineStats) -> None:
        self._model, self._budget, self._stats = model, budget, stats
        on_gpu = model.device.type == "cuda"
        self._copying = torch.cuda.Stream(model.device) if on_gpu else None  # type: ignore[no-untyped-call]

    def encode(self, clips: Sequence[Images]) -> list[Tensor | None]:
        """Each clip's frames as (T, tokens, hidden); None where memory does not do for one single frame."""
        places = [(clip, frame) for clip, images in enumerate(clips) for frame in range(len(images))]
        encoded: dict[tuple[int, int], Tensor] = {}

        def work(batch: Sequence[tuple[int, int]]) -> None:
            with self._stats.timed("vision", self._model.device), torch.inference_mode():
                images = self._upload([clips[clip][frame] for clip, frame in batch])
                embeds = self._model.encode_images(self._model.preprocess(images))
            self._stats.vision_frames += len(batch)
            encoded.update(zip(batch, embeds.unbind(), strict=True))

        failed = {clip for clip, _ in self._budget.spend(places, lambda _: 1, work)}
        return [
            None if clip in failed else torch.stack([encoded[clip, frame] for frame in range(len(images))])
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
