"""Decoded frames into arrays: colours by the frame's own matrix and range, turned as the file's display matrix says."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

from vidlabel.decoders.memory import memory_error
from vidlabel.errors import VideoError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from av.video.frame import VideoFrame
    from av.video.reformatter import VideoReformatter

SmallForm = Literal["rgb24", "gray"]

_UNNAMED_MATRIX = 2
_FULL_RANGE = 2
_LUMA_FIRST = frozenset(  # 8 bits a sample, and nothing but luma in the first plane
    ["yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p", "yuv440p", "yuv411p", "yuv410p", "nv12"]
)
_GLANCE = (48, 20)
_HALF_COLOUR = "yuv422p"


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
        image = image.swapaxes(0, 1)  # x and y change places; then c is the sign of x and b that of y
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


class Glance(NamedTuple):
    """Luma as it is stored: to stretch it frame by frame would double what a glance costs. See `stretched`."""

    luma: npt.NDArray[np.uint8]  # (h, w)
    is_full: bool  # 0 to 255, and not 16 to 235


def stretched(luma: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:  # (N, h, w)
    """From 16 to 235 to 0 to 255."""
    import cv2
    import numpy as np

    table = np.clip((np.arange(256) - 16) * 255 / 219, 0, 255).round().astype(np.uint8)
    return np.asarray(cv2.LUT(luma.reshape(len(luma), -1), table), np.uint8).reshape(luma.shape)


class SmallPictures:
    """Pictures and grey pictures of a few hundred pixels, each pixel the mean of those it stands for; for the frames of
    one file, whose scalers are kept."""

    def __init__(self) -> None:
        from av.video.reformatter import VideoReformatter

        self._reformatters = {form: VideoReformatter() for form in ("rgb24", "gray", _HALF_COLOUR)}

    def picture(self, frame: VideoFrame, longest: int, form: SmallForm) -> npt.NDArray[np.uint8]:
        """(h, w, 3) RGB or (h, w) luma, as shown, of the frame's shape and at most `longest` on its longer side."""
        scale = min(1.0, longest / max(frame.width, frame.height))
        wide, high = max(1, round(frame.width * scale)), max(1, round(frame.height * scale))
        small = frame
        if form == "rgb24" and frame.format.chroma_width(frame.width) < frame.width:
            # where colour is coarse, made small first it takes half the time, and is as near to the mean of pixels
            small = _reformatted(self._reformatters[_HALF_COLOUR], frame, wide, high, _HALF_COLOUR, "AREA")
        image = _converted(self._reformatters[form], small, wide, high, form, interpolation="AREA")
        return turned(image, display_matrix(frame))

    def glance(self, frame: VideoFrame) -> Glance:
        """About 48 by 20 single pixels, not turned: so cheap that every frame can be looked at."""
        name = frame.format.name
        if name not in _LUMA_FIRST:
            return Glance(_converted(self._reformatters["gray"], frame, *_GLANCE, "gray", interpolation="POINT"), True)
        import numpy as np

        plane: Any = frame.planes[0]  # it is a buffer, which PyAV's stubs do not say
        line_size, high, wide = plane.line_size, frame.height, frame.width
        down, across = max(1, high // _GLANCE[1]), max(1, wide // _GLANCE[0])
        # `plane[down // 2 :: down, across // 2 :: across]`, in one step
        shape = ((high - down // 2 - 1) // down + 1, (wide - across // 2 - 1) // across + 1)
        start = down // 2 * line_size + across // 2
        samples = np.ndarray(shape, np.uint8, plane, start, (down * line_size, across))
        is_full = name.startswith("yuvj") or frame.color_range == _FULL_RANGE
        return Glance(samples.copy(), is_full)


def _converted(
    reformatter: VideoReformatter,
    frame: VideoFrame,
    width: int,
    height: int,
    form: str,
    *,
    interpolation: str | None = None,
) -> npt.NDArray[np.uint8]:
    made = _reformatted(reformatter, frame, width, height, form, interpolation)
    return cast("npt.NDArray[np.uint8]", made.to_ndarray())


def _reformatted(
    reformatter: VideoReformatter, frame: VideoFrame, width: int, height: int, form: str, interpolation: str | None
) -> VideoFrame:
    import av

    def convert() -> VideoFrame:
        return reformatter.reformat(
            frame, width=width, height=height, format=form, interpolation=interpolation, threads=1
        )

    try:
        try:
            return convert()
        except av.FFmpegError:
            # a colour matrix that is reserved or makes no sense for these pictures: shown as if it were not named
            frame.colorspace = _UNNAMED_MATRIX
            return convert()
    except MemoryError as error:
        raise memory_error() from error
    except av.FFmpegError as error:
        raise VideoError(f"its pictures ({frame.format.name}) cannot be converted: {error.strerror}") from error
