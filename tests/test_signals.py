"""Signals say what is known of generated clips, travel with the frames, and never change what a label is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks import signal_clips as made
from benchmarks.signal_clips import Image
from tests.make_labels import SETTINGS
from tests.make_videos import make_clip, noise_scene, write_video
from vidlabel import pipeline
from vidlabel.config import FrameSettings
from vidlabel.data import Frames
from vidlabel.decoders import decode_span
from vidlabel.errors import InputError
from vidlabel.executors.workers import DecodeWorkers
from vidlabel.frames import sample_frames
from vidlabel.signals.camera import move_of
from vidlabel.signals.flow import Flow, flows_of
from vidlabel.signals.measuring import MEASURES
from vidlabel.signals.seen import Pair
from vidlabel.signals.table import SIGNALS, Value, parse_signals

PIXELS = parse_signals("pixels")


@pytest.fixture(scope="module")
def world() -> Image:
    return made.world(1, size=900)


def signals_of(
    path: Path, pictures: Sequence[Image], names: Sequence[str] = PIXELS, *, num_frames: int = 12, **more: str
) -> dict[str, Value]:
    """Of a clip with these pictures, written as a lossy video and read back."""
    clip = make_clip(write_video(path / "clip.mp4", pictures, fps=made.FPS))
    settings = FrameSettings(num_frames, 16, subtitles="none", signals=tuple(names), **more)  # type: ignore[arg-type]
    return dict(sample_frames(clip, settings).signals)


def shot(world: Image, path: made.Path, *, seconds: float) -> list[Image]:
    """Small, to be quick."""
    return made.film(world, path, seconds=seconds, width=320, height=180)


def rises(values: Sequence[Value]) -> bool:
    return all(isinstance(low, float) and isinstance(high, float) and low < high for low, high in pairwise(values))


def test_every_signal_of_the_table_is_measured_and_none_else() -> None:
    assert [signal.name for signal in SIGNALS] == list(MEASURES)
    assert all(signal.meaning and signal.range and signal.source for signal in SIGNALS)


def test_signals_have_the_tables_kinds(tmp_path: Path, world: Image) -> None:
    values = signals_of(tmp_path, shot(world, made.panning(0.3, 0.1), seconds=1))
    kinds = {"float": float, "bool": bool, "int": int, "string": str}
    assert {name: type(value) for name, value in values.items()} == {
        signal.name: kinds[signal.kind] for signal in SIGNALS if signal.name in PIXELS
    }


def test_signals_do_not_change_what_labels_are() -> None:
    with_signals = replace(SETTINGS, frames=replace(SETTINGS.frames, signals=PIXELS))
    assert with_signals.to_json() == SETTINGS.to_json()
    assert with_signals.fingerprint == SETTINGS.fingerprint


def test_signals_come_out_of_a_decode_worker_and_pixels_stay_the_same(tmp_path: Path) -> None:
    clip = make_clip(str(write_video(tmp_path / "a.mp4", noise_scene(25, (90, 120, 30), width=640, height=360))))
    wanted = FrameSettings(5, 40, signals=PIXELS)
    with DecodeWorkers[str](num_workers=1, memory_mb=4096) as workers:
        workers.sample("a", pipeline.sample_frames, clip, wanted, seconds=60)
        while not (done := workers.finished(1.0)):
            pass
    ((_, got),) = done
    assert isinstance(got, Frames)
    plain = sample_frames(clip, FrameSettings(5, 40))
    assert np.array_equal(got.images, plain.images)
    assert plain.signals == {}
    assert tuple(got.signals) == PIXELS
    assert got.signals == sample_frames(clip, wanted).signals


def test_names_are_checked_and_come_in_the_tables_order() -> None:
    assert parse_signals("all") == tuple(signal.name for signal in SIGNALS)
    assert parse_signals(" blur, brightness") == ("brightness", "blur")
    assert set(parse_signals("all")) - set(PIXELS) == {"text_coverage"}
    assert parse_signals("pixels,text_coverage") == parse_signals("all")
    for wrong in ("colour", "", "blur,,x"):
        with pytest.raises(InputError, match="--signals"):
            parse_signals(wrong)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("brightness", lambda film, step: made.scaled(film, gain=0.4, lift=30 * step - 60)),
        ("contrast", lambda film, step: made.scaled(film, gain=0.2 * step + 0.1)),
        ("saturation", lambda film, step: made.coloured(film, 0.25 * step)),
        ("blur", lambda film, step: made.blurred(film, 0.8 * step)),
    ],
)
def test_light_rises_with_what_it_measures(
    tmp_path: Path, world: Image, name: str, change: Callable[[list[Image], int], list[Image]]
) -> None:
    film = shot(world, made.panning(0.05, 0), seconds=0.4)
    assert rises([signals_of(tmp_path, change(film, step), [name])[name] for step in range(5)])


def test_blur_goes_neither_with_contrast_nor_with_size(tmp_path: Path, world: Image) -> None:
    film = shot(world, made.still(), seconds=0.2)
    (crisp,) = signals_of(tmp_path, film, ["blur"]).values()
    pale = made.scaled(film, gain=0.4, lift=40)
    large = [np.asarray(picture.repeat(2, axis=0).repeat(2, axis=1)) for picture in film]
    for other in (pale, large):
        assert signals_of(tmp_path, other, ["blur"])["blur"] == pytest.approx(crisp, rel=0.1)


def test_what_cannot_be_known_is_left_empty(tmp_path: Path) -> None:
    grey = [np.full((90, 160, 3), 128, np.uint8)]
    unknown = ["motion", "camera_motion", "static_share", "blur", "overlay_share"]
    assert signals_of(tmp_path, grey, [*unknown, "flash"]) == dict.fromkeys(unknown) | {"flash": False}


@pytest.mark.parametrize("num_frames", [8, 16])
def test_motion_is_a_speed_whatever_the_number_of_frames(tmp_path: Path, world: Image, num_frames: int) -> None:
    speeds = [0.0, 0.02, 0.08, 0.3]
    films = [shot(world, made.panning(speed, 0), seconds=2) for speed in speeds]
    found = [signals_of(tmp_path, film, ["motion"], num_frames=num_frames)["motion"] for film in films]
    assert found == pytest.approx(speeds, rel=0.1, abs=0.003)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (made.still(), "static"),
        (made.panning(0.06, 0), "pan_right"),
        (made.panning(-0.2, 0.02), "pan_left"),
        (made.panning(0.01, 0.05), "tilt_down"),
        (made.panning(0, -0.1), "tilt_up"),
        (made.zooming(0.2), "zoom_in"),
        (made.zooming(-0.15), "zoom_out"),
        (made.rolling(0.3), "roll"),
        (made.shaking(0.01, 4), "shake"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_camera_is_told_from_what_moves_before_it(tmp_path: Path, world: Image, path: made.Path, name: str) -> None:
    film = made.with_shapes(shot(world, path, seconds=2), 0.2, 3, radius=20)
    assert signals_of(tmp_path, film, ["camera_motion"]) == {"camera_motion": name}


def test_turned_file_pans_as_it_is_shown(tmp_path: Path, world: Image) -> None:
    film = shot(world, made.panning(0.1, 0), seconds=1)
    stored = [np.ascontiguousarray(np.rot90(picture, -1)) for picture in film]  # and turned back by the player
    clip = make_clip(write_video(tmp_path / "turned.mp4", stored, rotation=90))
    settings = FrameSettings(8, 16, subtitles="none", signals=("camera_motion",))
    assert sample_frames(clip, settings).signals == {"camera_motion": "pan_right"}


def test_slide_stands_still_and_a_pan_does_not(tmp_path: Path, world: Image) -> None:
    slide, pan = (shot(world, path, seconds=2) for path in (made.still(), made.panning(0.05, 0)))
    assert signals_of(tmp_path, slide, ["static_share"]) == {"static_share": 1.0}
    assert signals_of(tmp_path, pan, ["static_share"]) == {"static_share": 0.0}
    half = signals_of(tmp_path, [*slide, *pan], ["static_share"])["static_share"]
    assert half == pytest.approx(0.5, abs=0.15)


def test_one_frame_of_a_flash_is_seen_though_no_sampled_frame_shows_it(tmp_path: Path, world: Image) -> None:
    film = shot(world, made.panning(0.03, 0), seconds=3)
    names = ["flash", "strobe", "cut_inside", "black_share", "white_share"]
    assert signals_of(tmp_path, film, names, num_frames=4) == dict.fromkeys(names[:3], False) | dict.fromkeys(
        names[3:], 0.0
    )
    white = signals_of(tmp_path, made.replaced(film, [31], 255), names, num_frames=4)
    assert (white["flash"], white["strobe"], white["cut_inside"]) == (True, False, False)
    assert white["white_share"] == pytest.approx(1 / 75, rel=0.1)
    black = signals_of(tmp_path, made.replaced(film, range(50, 60), 0), names, num_frames=4)
    assert black["black_share"] == pytest.approx(10 / 75, rel=0.1)
    strobing = signals_of(tmp_path, made.replaced(film, range(20, 44, 4), 255), names, num_frames=4)
    assert (strobing["flash"], strobing["strobe"]) == (True, True)


@pytest.mark.parametrize("at", [2, 40, 72])
def test_cut_is_found_wherever_it_is(tmp_path: Path, world: Image, at: int) -> None:
    first, second = (
        shot(world, made.panning(0.05, 0), seconds=3),
        shot(made.world(2, size=500), made.still(), seconds=3),
    )
    assert signals_of(tmp_path, [*first[:at], *second[at:]], ["cut_inside"], num_frames=4) == {"cut_inside": True}


def test_fast_pan_and_flash_are_no_cuts(tmp_path: Path, world: Image) -> None:
    fast = shot(world, made.panning(0.9, 0), seconds=2)
    assert signals_of(tmp_path, fast, ["cut_inside"]) == {"cut_inside": False}
    for path, value in ((made.still(), 255), (made.panning(0.4, 0), 255), (made.panning(0.4, 0), 0)):
        flashed = made.replaced(shot(world, path, seconds=1), [10, 11], value)
        assert signals_of(tmp_path, flashed, ["cut_inside"]) == {"cut_inside": False}


def test_bars_are_found_and_dark_pictures_have_none(tmp_path: Path, world: Image) -> None:
    names = ["letterboxed", "pillarboxed", "content_box"]
    film = shot(world, made.panning(0.1, 0), seconds=0.4)

    def bars(**sides: float) -> list[Value]:
        return list(signals_of(tmp_path, made.with_bars(film, **sides), names).values())

    assert bars() == [False, False, "0.000,0.000,1.000,1.000"]
    letterboxed, pillarboxed, box = bars(rows=0.125)
    assert (letterboxed, pillarboxed) == (True, False)
    assert [float(side) for side in str(box).split(",")] == pytest.approx([0, 0.125, 1, 0.875], abs=0.01)
    assert bars(columns=0.2)[:2] == [False, True]
    assert bars(rows=0.1, columns=0.1)[:2] == [True, True]
    night = made.scaled(film, gain=0.05, lift=-118)
    assert list(signals_of(tmp_path, night, names).values())[:2] == [False, False]


def test_logo_is_seen_over_what_moves_and_not_known_over_what_does_not(tmp_path: Path, world: Image) -> None:
    moving, fixed = (shot(world, path, seconds=2) for path in (made.panning(0.15, 0.05), made.still()))
    shares = [0.0, 0.01, 0.03, 0.08]
    found = [
        signals_of(tmp_path, made.with_logo(moving, share), ["overlay_share"])["overlay_share"] for share in shares
    ]
    assert found == pytest.approx(shares, rel=0.35, abs=0.002)
    assert signals_of(tmp_path, made.with_logo(fixed, 0.03), ["overlay_share"]) == {"overlay_share": None}


def test_other_decoder_measures_what_sampled_frames_show(tmp_path: Path, world: Image) -> None:
    film = shot(world, made.panning(0.1, 0), seconds=2)
    names = ["motion", "camera_motion", "brightness", "blur", "flash", "cut_inside"]
    ours, theirs = (signals_of(tmp_path, film, names, decoder=decoder) for decoder in ("pyav", "decord"))
    assert theirs["camera_motion"] == ours["camera_motion"] == "pan_right"
    assert theirs["brightness"] == pytest.approx(ours["brightness"], rel=0.03)
    assert theirs["motion"] == pytest.approx(ours["motion"], rel=0.1)


@pytest.mark.parametrize("pix_fmt", ["yuv420p10le", "yuv444p"])
def test_other_pixel_formats_look_the_same(tmp_path: Path, world: Image, pix_fmt: str) -> None:
    film = made.replaced(shot(world, made.panning(0.1, 0), seconds=1), range(5), 0)
    clip = make_clip(write_video(tmp_path / "other.mp4", film, pix_fmt=pix_fmt))
    settings = FrameSettings(8, 16, subtitles="none", signals=PIXELS)
    other, usual = sample_frames(clip, settings).signals, signals_of(tmp_path, film, num_frames=8)
    for name in ("motion", "brightness", "contrast", "blur", "black_share"):
        assert other[name] == pytest.approx(usual[name], rel=0.05), name


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuvj420p"])
def test_black_is_black_in_files_of_either_range(tmp_path: Path, pix_fmt: str) -> None:
    film = [np.full((90, 160, 3), grey, np.uint8) for grey in [20] * 10 + [31] * 30]  # black is at most 25
    clip = make_clip(write_video(tmp_path / "range.mp4", film, pix_fmt=pix_fmt))
    settings = FrameSettings(8, 16, subtitles="none", signals=("black_share",))
    assert sample_frames(clip, settings).signals == {"black_share": pytest.approx(0.25)}


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuvj420p", "yuv422p", "yuv444p", "yuv420p10le"])
def test_thumbnail_is_the_mean_of_the_pictures_pixels(tmp_path: Path, world: Image, pix_fmt: str) -> None:
    film = made.film(world, made.still(), seconds=0.1, width=640, height=360)
    path = write_video(tmp_path / "clip.mp4", film, pix_fmt=pix_fmt)
    frame = next(decode_span(str(path), start_seconds=0, end_seconds=1))
    assert frame.small is not None
    mean = frame.rgb().reshape(180, 2, 320, 2, 3).mean(axis=(1, 3))
    off = frame.small(320, "rgb24") - mean
    assert np.abs(off).mean() < 3
    assert np.abs(off.mean(axis=(0, 1))).max() < 1.5  # no tint


def test_pairs_measured_together_are_as_measured_alone(world: Image) -> None:
    first, *others = (cv2.cvtColor(one, cv2.COLOR_RGB2GRAY) for one in shot(world, made.rolling(0.3), seconds=0.2))
    pairs = [Pair(first, np.asarray(other, np.uint8), 0.0, 0.08) for other in others]
    pairs.insert(1, Pair(first[:120].copy(), np.asarray(others[0])[:120].copy(), 0.0, 0.08))
    together = flows_of(pairs)
    alone = [flow for pair in pairs for flow in flows_of([pair])]
    assert len(together) == len(pairs)
    assert all(np.array_equal(one.speeds, other.speeds) for one, other in zip(together, alone, strict=True))


def test_camera_is_what_most_of_the_flow_does() -> None:
    rng = np.random.default_rng(0)
    places = rng.uniform(-0.4, 0.4, 500) + 1j * rng.uniform(-0.25, 0.25, 500)
    speeds = (0.1 - 0.02j) + (0.3 - 0.2j) * places
    speeds[:150] = 0.5j  # what passes before the camera
    move = move_of(Flow(places, speeds, 0.0, 0.0))
    assert (move.right, move.down, move.grows, move.turns) == pytest.approx((0.1, -0.02, 0.3, -0.2), abs=0.005)
    assert move.agrees == pytest.approx(0.7, abs=0.01)


def test_text_is_found_where_it_is_and_grows_with_its_area(tmp_path: Path, world: Image) -> None:
    pytest.importorskip("rapidocr")
    film = made.film(world, made.panning(0.1, 0), seconds=0.2)
    truth, found = [], []
    for lines in (0, 1, 4):
        written, covered = made.with_text(film, lines)
        truth.append(covered)
        found += signals_of(tmp_path, written, ["text_coverage"], num_frames=2).values()
    assert found == pytest.approx(truth, rel=0.5, abs=0.005)
    assert rises(found)


def test_text_without_its_extra_says_what_to_install(tmp_path: Path) -> None:
    code = "import sys; sys.modules['rapidocr'] = None; from vidlabel.cli import main; main()"
    args = ["signals", str(tmp_path), "--signals", "text_coverage", "--out", str(tmp_path / "signals.parquet")]
    done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "needs rapidocr: pip install 'vidlabel[text]'" in done.stderr
