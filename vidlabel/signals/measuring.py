"""Thumbnails of a clip's frames -> its signals, each by a function of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from vidlabel.signals import light
from vidlabel.signals.table import Value

if TYPE_CHECKING:
    import numpy.typing as npt

    Images = npt.NDArray[np.uint8]  # (T, H, W, 3) RGB
    Measure = Callable[[Images, npt.NDArray[np.float64]], Value]

MEASURES: Mapping[str, Measure] = {
    "brightness": light.brightness,
    "contrast": light.contrast,
    "saturation": light.saturation,
    "blur": light.blur,
}


def measure(names: Iterable[str], images: Images, pts_seconds: npt.NDArray[np.float64]) -> dict[str, Value]:
    """The signals by name, in the order asked for."""
    return {name: MEASURES[name](images, pts_seconds) for name in names}
