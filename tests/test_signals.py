"""Signals say what is known of generated clips, travel with the frames, and never change what a label is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from tests.make_labels import SETTINGS
from tests.make_videos import make_clip, noise_scene, write_video
from vidlabel import pipeline
from vidlabel.config import FrameSettings
from vidlabel.data import Frames
from vidlabel.errors import InputError
from vidlabel.executors.workers import DecodeWorkers
from vidlabel.frames import sample_frames
from vidlabel.signals.measuring import MEASURES, measure
from vidlabel.signals.table import SIGNALS, parse_signals

ALL = tuple(signal.name for signal in SIGNALS)
Image = npt.NDArray[np.uint8]


def texture(seed: int = 0, *, width: int = 160, height: int = 96) -> Image:
    """Coloured blocks of many sizes."""
    rng = np.random.default_rng(seed)
    image = np.zeros((height, width, 3), np.uint8)
    for _ in range(400):
        x, y, w, h = rng.integers(0, (width, height, width // 6, height // 6))
        image[y : y + h + 2, x : x + w + 2] = rng.integers(0, 256, 3)
    return image


def of(image: Image, name: str) -> float:
    value = measure([name], np.stack([image, image]), np.array([0.0, 0.5]))[name]
    assert isinstance(value, float)
    return value


def softened(image: Image, sigma: float) -> Image:
    import cv2

    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8)


def rises(values: list[float]) -> bool:
    return all(low < high for low, high in pairwise(values))


def test_every_signal_of_the_table_is_measured_and_none_else() -> None:
    assert tuple(MEASURES) == ALL
    values = measure(ALL, np.stack([texture(1)] * 3), np.arange(3.0))
    kinds = {"float": float, "bool": bool, "int": int, "string": str}
    assert {name: type(value) for name, value in values.items()} == {s.name: kinds[s.kind] for s in SIGNALS}


def test_signals_do_not_change_what_labels_are() -> None:
    with_signals = replace(SETTINGS, frames=replace(SETTINGS.frames, signals=ALL))
    assert with_signals.to_json() == SETTINGS.to_json()
    assert with_signals.fingerprint == SETTINGS.fingerprint


def test_signals_come_out_of_a_decode_worker_and_pixels_stay_the_same(tmp_path: Path) -> None:
    clip = make_clip(str(write_video(tmp_path / "a.mp4", noise_scene(25, (90, 120, 30), width=640, height=360))))
    wanted = FrameSettings(5, 40, signals=ALL)
    with DecodeWorkers[str](num_workers=1, memory_mb=4096) as workers:
        workers.sample("a", pipeline.sample_frames, clip, wanted, seconds=60)
        while not (done := workers.finished(1.0)):
            pass
    ((_, got),) = done
    assert isinstance(got, Frames)
    plain = sample_frames(clip, FrameSettings(5, 40))
    assert np.array_equal(got.images, plain.images)
    assert plain.signals == {}
    assert tuple(got.signals) == ALL
    assert got.signals == sample_frames(clip, wanted).signals


def test_names_are_checked_and_come_in_the_tables_order() -> None:
    assert parse_signals("all") == ALL
    assert parse_signals(" blur, brightness") == ("brightness", "blur")
    for wrong in ("colour", "", "blur,,x"):
        with pytest.raises(InputError, match="--signals"):
            parse_signals(wrong)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("brightness", lambda image, step: (image * (step / 5)).astype(np.uint8)),
        ("contrast", lambda image, step: (128 + (image - 128.0) * step / 5).astype(np.uint8)),
        ("saturation", lambda image, step: image.mean(2, keepdims=True) * (1 - step / 5) + image * (step / 5)),
        ("blur", lambda image, step: softened(image, 0.3 + 0.5 * step)),
    ],
)
def test_light_rises_with_what_it_measures(name: str, change: Callable[[Image, int], Image]) -> None:
    assert rises([of(np.asarray(change(texture(), step), np.uint8), name) for step in range(1, 6)])


def test_blur_goes_neither_with_contrast_nor_with_brightness() -> None:
    image = texture()
    pale = (200 + (image - 128.0) / 4).astype(np.uint8)
    assert of(pale, "blur") == pytest.approx(of(image, "blur"), rel=0.1)


def test_blur_of_an_empty_picture_is_not_known() -> None:
    grey = np.full((2, 90, 160, 3), 128, np.uint8)
    assert measure(["blur"], grey, np.arange(2.0)) == {"blur": None}
