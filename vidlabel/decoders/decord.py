"""Decoding with decord, for those who ask for it; the same contract as `pyav` where decord can keep it.

What it is known to get wrong is refused (edit lists, transport and program streams) or fails by itself (AV1, gif,
damaged files); frames around the keyframes of an open GOP come out shifted, as they always do with decord.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vidlabel.config import Decoder
from vidlabel.decoders.containers import FREE_CLOCKS, OpenVideo, open_video
from vidlabel.decoders.pyav import Damage, TimedFrame
from vidlabel.decoders.safety import open_regular
from vidlabel.errors import InputError, VideoError

if TYPE_CHECKING:
    import numpy.typing as npt

# decord keeps times in single precision: frames within this of a span's edge are taken to be on it
EDGE_SECONDS = 5e-4

_MISSING = "--decoder decord needs the decord package: pip install decord, or take --decoder pyav"


def decode_span(
    location: str, *, start_seconds: float, end_seconds: float, damage: Damage | None = None
) -> Iterator[TimedFrame]:
    """Every frame with start <= seconds < end. `damage` stays empty: decord refuses what it cannot read whole."""
    decord = _decord()
    with open_video(location) as video:  # one regular file, of a container that keeps its media inside, of a sane size
        _refuse_known_faults(video)
        first_seconds = video.start_seconds or 0.0
    with open_regular(location, whole=True) as file:
        descriptor = Path(f"/dev/fd/{file.fileno()}")  # a name that stands for no pattern and no protocol
        name = descriptor if descriptor.exists() else Path(location).absolute()
        try:
            reader = decord.VideoReader(str(name), num_threads=1)
            times = reader.get_frame_timestamp(range(len(reader)))[:, 0].astype(float)
        except decord.DECORDError as error:
            raise VideoError(f"decord cannot read it: {_reason(error)}") from error
        if (np.diff(times) <= 0).any():
            raise VideoError("decord has no usable times for its frames: take --decoder pyav")
        for index, seconds in enumerate((times - times[:1] + first_seconds).tolist()):  # decord counts from the first
            if start_seconds - EDGE_SECONDS <= seconds < end_seconds - EDGE_SECONDS:
                yield TimedFrame(seconds, partial(_picture, decord, reader, index))


def _refuse_known_faults(video: OpenVideo) -> None:
    if video.container.format.name in FREE_CLOCKS:
        raise VideoError("decord loses the first frames of transport and program streams: take --decoder pyav")
    stream = video.stream
    left_out = 0 < len(stream.index_entries) < stream.frames or any(entry.is_discard for entry in stream.index_entries)
    if "mp4" in video.container.format.name and left_out:
        raise VideoError("decord ignores this file's edit list and gives other frames: take --decoder pyav")


def _picture(decord: Any, reader: Any, index: int) -> npt.NDArray[np.uint8]:
    try:
        image: npt.NDArray[np.uint8] = reader[index].asnumpy()
    except decord.DECORDError as error:
        raise VideoError(f"decord cannot decode frame {index}: {_reason(error)}") from error
    if image.shape[2] != 3:  # of some small pictures that it turns
        raise VideoError("decord gives a broken picture: take --decoder pyav")
    return image


def _reason(error: Exception) -> str:
    """decord's first line, without the place in its source."""
    first = str(error).strip().partition("\n")[0]
    return first.rsplit(": ", 1)[-1] or type(error).__name__


def check_decoder(name: Decoder) -> None:
    """That it is here is found before any work starts."""
    if name == "decord" and importlib.util.find_spec("decord") is None:
        raise InputError(_MISSING)


def _decord() -> Any:
    try:
        import decord
    except ImportError:
        raise InputError(_MISSING) from None
    return decord
