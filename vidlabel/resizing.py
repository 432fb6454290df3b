"""Pictures to the model's resolution: straight to a square, as the reference does, within two grey levels of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

BATCH_FRAMES = 16  # resized together; more is not faster
BATCH_BYTES = 1 << 26  # but no more than this of full-size pictures is held


class Resizer:
    """Takes pictures one by one and holds few of them at full size."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._waiting: list[npt.NDArray[np.uint8]] = []
        self._done: list[npt.NDArray[np.uint8]] = []

    def add(self, image: npt.NDArray[np.uint8]) -> None:
        """`image` is (H, W, 3); its size may differ from the one before."""
        if self._waiting and self._waiting[0].shape != image.shape:
            self._flush()
        self._waiting.append(image)
        if len(self._waiting) >= BATCH_FRAMES or len(self._waiting) * image.nbytes >= BATCH_BYTES:
            self._flush()

    def result(self) -> npt.NDArray[np.uint8]:
        """(N, size, size, 3), in the order of `add`."""
        self._flush()
        return np.concatenate(self._done)

    def _flush(self) -> None:
        if self._waiting:
            self._done.append(resize(np.stack(self._waiting), self._size))
            self._waiting.clear()


def resize(images: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
    """(N, H, W, 3) -> (N, size, size, 3), bicubic with antialiasing."""
    import torch

    pictures = torch.from_numpy(images).permute(0, 3, 1, 2)  # (N, 3, H, W), channels last: the fast layout
    if pictures.shape[2:] != (size, size):
        pictures = torch.nn.functional.interpolate(pictures, size=(size, size), mode="bicubic", antialias=True)
    out: npt.NDArray[np.uint8] = pictures.permute(0, 2, 3, 1).contiguous().numpy()
    return out
