"""On-screen text: how much of the picture it covers, by the text detector of RapidOCR, which carries its weights."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from vidlabel.errors import InputError
from vidlabel.signals.seen import Seen
from vidlabel.signals.table import NEEDS_EXTRA

if TYPE_CHECKING:
    from vidlabel.signals.seen import Pixels

LARGEST = 0.5  # of the picture: what is larger is no line of text, but clutter that the detector takes for one
PAGE = 640  # pixels on the longer side: letters of 10 pixels are found, at half a second of a core


def check_signals_installed(names: Iterable[str]) -> None:
    """That what these signals need is here is found before any work starts."""
    needed = ("rapidocr", "onnxruntime") if NEEDS_EXTRA & set(names) else ()
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f"the signal text_coverage needs {' and '.join(missing)}: pip install 'vidlabel[text]', or leave it out"
        )


def text_coverage(seen: Seen) -> float:
    return float(np.mean([_covered(page) for page in seen.pages]))


def _covered(page: Pixels) -> float:
    import cv2

    boxes = _detector()(page[:, :, ::-1], use_det=True, use_cls=False, use_rec=False).boxes  # it takes BGR
    mask = np.zeros(page.shape[:2], np.uint8)
    for box in boxes if boxes is not None else ():
        corners = np.rint(box).astype(np.int32)
        if cv2.contourArea(corners) <= LARGEST * mask.size:
            cv2.fillPoly(mask, [corners], [1])
    return float(mask.mean())


@lru_cache(maxsize=1)  # loaded once in a worker, where it is asked for
def _detector() -> Any:
    from rapidocr import RapidOCR

    threads = {f"EngineConfig.onnxruntime.{kind}_op_num_threads": 1 for kind in ("intra", "inter")}
    only = {"Global.use_cls": False, "Global.use_rec": False, "Global.log_level": "error"}
    return RapidOCR(params={**only, **threads, "Det.limit_type": "max", "Det.limit_side_len": PAGE})
