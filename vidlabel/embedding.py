"""What a clip looks like, as one vector and one number, from a vector for each of its frames.

The embedding is the mean over the clip's frames, scaled to length 1, so that a product of two is their cosine. The
temporal consistency is the mean cosine of each frame with the next: 1 for a still picture, low where the picture jumps.
A frame that stands there again because the clip has too few counts once.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vidlabel.data import ClipFeatures

_PLACES = 8  # in height and in width, of `colour_features`
_TINY = 1e-12


def features_of(frames: npt.NDArray[np.float32], pts_seconds: npt.NDArray[np.float64]) -> ClipFeatures | None:
    """Of frames (T, D) at these times. None where a number is not finite: half precision can overflow."""
    frames = frames[np.diff(pts_seconds, prepend=-np.inf) > 0].astype(np.float32)
    if not np.isfinite(frames).all():
        return None
    steps = _scaled(frames)
    cosines = np.einsum("td,td->t", steps[1:], steps[:-1])
    consistency = float(np.clip(cosines.mean(), -1.0, 1.0)) if len(cosines) else None
    return ClipFeatures(_scaled(frames.mean(axis=0)), consistency)


def colour_features(
    images: npt.NDArray[np.uint8], pts_seconds: npt.NDArray[np.float64]
) -> ClipFeatures | None:  # (T, H, W, 3)
    """From the colours at a few places of the pictures, for a captioner without a vision tower."""
    _, height, width, _ = images.shape
    rows = (np.arange(_PLACES * 3) * height) // (_PLACES * 3)
    columns = (np.arange(_PLACES * 3) * width) // (_PLACES * 3)
    some = images[:, rows[:, None], columns].astype(np.float32)  # nine pixels of each place
    places = some.reshape(len(images), _PLACES, 3, _PLACES, 3, 3).mean(axis=(2, 4))
    return features_of(places.reshape(len(images), -1) / 255.0 - 0.5, pts_seconds)  # from mid-grey: else all are alike


def _scaled(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: npt.NDArray[np.float32] = (vectors / np.maximum(lengths, _TINY)).astype(np.float32)
    return scaled
