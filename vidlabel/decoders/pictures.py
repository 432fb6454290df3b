"""Decoded frames into arrays: colours by the frame's own matrix and range, turned as the file's display matrix says."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, cast

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


class SmallPictures:
    """Pictures and grey pictures of a few hundred pixels, each pixel the mean of those it stands for; for the frames of
    one file, whose scalers are kept."""

    def __init__(self) -> None:
        import numpy as np
        from av.video.reformatter import VideoReformatter

        self._reformatters = {"rgb24": VideoReformatter(), "gray": VideoReformatter()}
        self._full_range = np.clip((np.arange(256) - 16) * 255 / 219, 0, 255).round().astype(np.uint8)

    def picture(self, frame: VideoFrame, longest: int, form: SmallForm) -> npt.NDArray[np.uint8]:
        """(h, w, 3) RGB or (h, w) luma, as shown, of the frame's shape and at most `longest` on its longer side."""
        scale = min(1.0, longest / max(frame.width, frame.height))
        wide, high = max(1, round(frame.width * scale)), max(1, round(frame.height * scale))
        image = _converted(self._reformatters[form], frame, wide, high, form, interpolation="AREA")
        return turned(image, display_matrix(frame))

    def glance(self, frame: VideoFrame) -> npt.NDArray[np.uint8]:
        """Luma, 0 to 255, of about 48 by 20 single pixels, not turned: so cheap that every frame can be looked at."""
        if frame.format.name not in _LUMA_FIRST:
            return _converted(self._reformatters["gray"], frame, *_GLANCE, "gray", interpolation="POINT")
        import numpy as np

        plane: Any = frame.planes[0]  # it is a buffer, which PyAV's stubs do not say
        luma = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: frame.height, : frame.width]
        down, across = (max(1, side // count) for side, count in zip(luma.shape, reversed(_GLANCE), strict=True))
        samples: npt.NDArray[np.uint8] = luma[down // 2 :: down, across // 2 :: across]
        if frame.format.name.startswith("yuvj") or frame.color_range == _FULL_RANGE:
            return samples.copy()
        return self._full_range[samples]


def _converted(
    reformatter: VideoReformatter,
    frame: VideoFrame,
    width: int,
    height: int,
    form: str,
    *,
    interpolation: str | None = None,
) -> npt.NDArray[np.uint8]:
    import av

    def convert() -> VideoFrame:
        return reformatter.reformat(
            frame, width=width, height=height, format=form, interpolation=interpolation, threads=1
        )

    try:
        try:
            small = convert()
        except av.FFmpegError:
            # a colour matrix that is reserved or makes no sense for these pictures: shown as if it were not named
            frame.colorspace = _UNNAMED_MATRIX
            small = convert()
    except MemoryError as error:
        raise memory_error() from error
    except av.FFmpegError as error:
        raise VideoError(f"its pictures ({frame.format.name}) cannot be converted: {error.strerror}") from error
    return cast("npt.NDArray[np.uint8]", small.to_ndarray())
