"""Still pictures, through Pillow. A video file is never read here, and no picture where a video is expected."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, BinaryIO, cast

import numpy as np

from vidlabel.decoders import safety
from vidlabel.errors import InputError, VideoError

if TYPE_CHECKING:
    import numpy.typing as npt

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")


def read_still(location: str) -> npt.NDArray[np.uint8]:
    """(H, W, 3) RGB, turned as its Exif data says. VideoError where it is not a picture that is read."""
    try:
        from PIL import Image, ImageOps, UnidentifiedImageError
    except ImportError as error:
        raise InputError("still pictures need Pillow: pip install 'vidlabel[train]'") from error

    with safety.open_regular(location, whole=True) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's words about odd files; whether it can be read is what counts
        try:
            with Image.open(cast(BinaryIO, file), formats=FORMATS) as picture:
                safety.check_size(*picture.size)
                return np.array(ImageOps.exif_transpose(picture).convert("RGB"))
        except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError) as error:
            raise VideoError(f"not a picture in a format that is read ({error})", permanent=True) from error
