"""Frames as a model's own preparation makes them of still pictures, by the same library: its numbers are then its own.
Runs in decode workers, so that full-size pictures never leave them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidlabel.errors import InputError, VideoError
from vidlabel.models.scorers import read_json
from vidlabel.report.sheets import Strip

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Pictures = npt.NDArray[np.uint8]  # (T, H, W, 3)

_RESAMPLE = {2: "BILINEAR", 3: "BICUBIC"}


@dataclass(frozen=True, slots=True)
class PictureForm:
    """What is said in `preprocessor_config.json`."""

    height: int
    width: int
    shortest: int | None  # the shorter side goes to that, then the middle is cut out; None: all of it is squeezed in
    resample: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    scale: float = 1 / 255


def read_form(folder: Path) -> PictureForm:
    """Of a CLIP or ViT. An InputError for a preparation of another kind, which would give other numbers."""
    path = folder / "preprocessor_config.json"
    values = read_json(path)
    try:
        crop = values.get("do_center_crop", False)
        size: Any = values["size"]
        if isinstance(size, int):  # as older files have it
            size = {"shortest_edge": size} if crop else {"height": size, "width": size}
        shortest = size.get("shortest_edge") if crop else None
        final: Any = values["crop_size"] if crop else size
        height, width = (final, final) if isinstance(final, int) else (final["height"], final["width"])
        if (crop and shortest is None) or int(values["resample"]) not in _RESAMPLE:
            raise ValueError(f"{values['resample'] = }, {size = }")
        for step in ("do_resize", "do_rescale", "do_normalize"):
            if not values.get(step, True):
                raise ValueError(f"{step} is off")
        return PictureForm(
            int(height), int(width), None if shortest is None else int(shortest), int(values["resample"]),
            _three(values["image_mean"]), _three(values["image_std"]), float(values.get("rescale_factor", 1 / 255)),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: not a preparation of pictures that vidlabel knows ({error!r})") from error


def check_pillow() -> None:
    """Before any work."""
    from importlib.util import find_spec

    if find_spec("PIL") is None:
        raise InputError("vidlabel score prepares pictures with Pillow: pip install 'vidlabel[score]'")


def sample_pictures(strip: Strip, num_frames: int, forms: tuple[PictureForm, ...]) -> list[Pictures]:
    """In a worker: the frames nearest to the middles of equal parts of the span, in each of the forms."""
    import numpy as np

    from vidlabel.decoders import Damage, decode_span, probe
    from vidlabel.picking import even_targets, nearest

    end = strip.end_seconds if strip.end_seconds is not None else probe(strip.location).video_seconds
    if not end > strip.start_seconds:
        raise VideoError(f"a clip from {strip.start_seconds:g} to {end:g} s has no length")
    damage = Damage()
    frames = decode_span(strip.location, start_seconds=strip.start_seconds, end_seconds=end, damage=damage)
    taken: list[list[Pictures]] = [[] for _ in forms]
    for frame, times in nearest(frames, even_targets(strip.start_seconds, end, num_frames)):
        if times:
            image = frame.rgb()
            for pictures, form in zip(taken, forms, strict=True):
                pictures += [prepared(image, form)] * times
    if not taken[0]:
        raise VideoError(f"no frame could be decoded{f' ({damage.reason})' if damage.reason else ''}", permanent=True)
    return [np.stack(pictures) for pictures in taken]


def prepared(image: Pictures, form: PictureForm) -> Pictures:
    """(H, W, 3) at any size -> (form.height, form.width, 3)."""
    import numpy as np
    from PIL import Image

    height, width = image.shape[:2]
    size = (form.width, form.height)
    if form.shortest is not None:
        short, long = min(height, width), max(height, width)
        other = int(form.shortest * long / short)
        size = (form.shortest, other) if width <= height else (other, form.shortest)
    picture = Image.fromarray(image).resize(size, resample=getattr(Image.Resampling, _RESAMPLE[form.resample]))
    left, top = (size[0] - form.width) // 2, (size[1] - form.height) // 2
    return np.asarray(picture.crop((left, top, left + form.width, top + form.height)))


def _three(values: Any) -> tuple[float, float, float]:
    first, second, third = map(float, values)
    return first, second, third
