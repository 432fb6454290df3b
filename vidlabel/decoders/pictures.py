"""Decoded frames into arrays: colours by the frame's own matrix and range, turned as the file's display matrix says."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from vidlabel.decoders.memory import memory_error
from vidlabel.errors import VideoError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from av.video.frame import VideoFrame
    from av.video.reformatter import VideoReformatter

_UNNAMED_MATRIX = 2


def display_matrix(frame: VideoFrame) -> tuple[int, int, int, int]:
    """(a, b, c, d) with entries -1, 0 or 1: a stored pixel at (x, y) is shown at (a x + c y, b x + d y)."""
    side: Any  # PyAV's stubs call it a dict
    for side in frame.side_data:
        if side.type.name == "DISPLAYMATRIX":
            a, b, _, c, d, *_ = (_sign(value) for value in struct.unpack("=9i", bytes(side)))
            if abs(a * d - b * c) == 1 and a * b == 0:
                return a, b, c, d
    return 1, 0, 0, 1  # none, or one that is not made of quarter turns and flips


def _sign(fixed: int) -> int:
    """Of a 16.16 fixed point number, 0 for anything below a half."""
    return 0 if abs(fixed) < 1 << 15 else (1 if fixed > 0 else -1)


def shown_size(frame: VideoFrame) -> tuple[int, int]:
    """Width and height as a player shows them."""
    sideways = display_matrix(frame)[0] == 0
    return (frame.height, frame.width) if sideways else (frame.width, frame.height)


def turned(image: npt.NDArray[np.uint8], matrix: tuple[int, int, int, int]) -> npt.NDArray[np.uint8]:
    """The image moved by a display matrix; a view."""
    a, b, c, d = matrix
    if a == 0:
        image = image.transpose(1, 0, 2)  # x and y change places; then c is the sign of x and b that of y
        a, d = c, b
    return image[:: 1 if d > 0 else -1, :: 1 if a > 0 else -1]


def to_rgb(frame: VideoFrame) -> npt.NDArray[np.uint8]:
    """(H, W, 3) RGB, as shown."""
    from av.video.reformatter import VideoReformatter

    image = _converted(VideoReformatter(), frame, frame.width, frame.height, "rgb24")
    return turned(image, display_matrix(frame))


def small_bgr(width: int) -> Callable[[VideoFrame], npt.NDArray[np.uint8]]:
    """A converter to BGR at most `width` wide, keeping the shape; it holds the scaler from one frame to the next."""
    from av.video.reformatter import VideoReformatter

    reformatter = VideoReformatter()

    def convert(frame: VideoFrame) -> npt.NDArray[np.uint8]:
        wide = min(width, frame.width)
        high = max(1, round(frame.height * wide / frame.width))
        return _converted(reformatter, frame, wide, high, "bgr24")

    return convert


def _converted(
    reformatter: VideoReformatter, frame: VideoFrame, width: int, height: int, form: str
) -> npt.NDArray[np.uint8]:
    import av

    try:
        try:
            small = reformatter.reformat(frame, width=width, height=height, format=form, threads=1)
        except av.FFmpegError:
            # a colour matrix that is reserved or makes no sense for these pictures: shown as if it were not named
            frame.colorspace = _UNNAMED_MATRIX
            small = reformatter.reformat(frame, width=width, height=height, format=form, threads=1)
    except MemoryError as error:
        raise memory_error() from error
    except av.FFmpegError as error:
        raise VideoError(f"its pictures ({frame.format.name}) cannot be converted: {error.strerror}") from error
    return cast("npt.NDArray[np.uint8]", small.to_ndarray())
