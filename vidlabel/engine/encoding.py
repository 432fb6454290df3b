"""A captioner that says nothing: it reads a clip with the vision tower alone, for what the clip looks like."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from vidlabel.data import Answer, AskedClip
from vidlabel.embedding import features_of
from vidlabel.engine.budget import Budget
from vidlabel.models.minigpt4_video.answers import OUT_OF_MEMORY_FRAME
from vidlabel.models.minigpt4_video.vision_side import VisionSide

_FRAMES = 128  # in one pass of the tower, until memory says otherwise
_NOT_FINITE = "the vision tower's numbers of this clip are not finite; --dtype float32 may help"


class EncodingCaptioner:
    """Meets `Captioner`: each question gets an empty text, and the features of its clip."""

    def __init__(self, vision: VisionSide) -> None:
        self._vision = vision
        self.budget = Budget(_FRAMES, "frames", vision.device)

    def answer(self, clips: Iterable[AskedClip]) -> Iterator[Answer]:
        for asked in clips:
            images, pts_seconds = asked.frames.images, asked.frames.pts_seconds
            pooled = self._pool(images)
            features = None if pooled is None else features_of(pooled, pts_seconds)
            error = OUT_OF_MEMORY_FRAME if pooled is None else _NOT_FINITE if features is None else None
            for question in asked.questions:
                yield Answer(asked.clip.clip_id, question, "", num_frames=len(images), features=features, error=error)

    def _pool(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32] | None:
        """(T, D); None where memory does not do for one single frame."""
        pooled: dict[int, npt.NDArray[np.float32]] = {}

        def work(places: Sequence[int]) -> None:
            pooled.update(zip(places, self._vision.pool(images[list(places)]).cpu().numpy(), strict=True))

        if self.budget.spend(range(len(images)), lambda _: 1, work):
            return None
        return np.stack([pooled[place] for place in range(len(images))])
