"""Exactly T frames of the clip and of no other, spread evenly, at the model's resolution; with either decoder."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.make_bad_videos import damaged_inside, truncated
from tests.make_videos import make_clip, numbered_frames, read_numbers, skip_by_edit_list, write_video
from vidlabel.config import FrameSettings
from vidlabel.data import Cue
from vidlabel.decoders import TimedFrame
from vidlabel.errors import VideoError
from vidlabel.frames import sample_frames
from vidlabel.picking import even_targets, nearest
from vidlabel.resizing import Resizer, resize

GOLDEN = Path(__file__).parent / "data" / "golden" / "sampling"

both_decoders = pytest.mark.parametrize("decoder", ["pyav", "decord"])


def plain(num_frames: int, **more: Any) -> FrameSettings:
    return FrameSettings(**{"num_frames": num_frames, "image_size": 48, "subtitles": "none"} | more)


@both_decoders
def test_clip_gives_exactly_t_frames_from_first_to_last_part(numbered_mp4: Path, decoder: Any) -> None:
    frames = sample_frames(make_clip(numbered_mp4), plain(20, decoder=decoder))
    assert frames.images.shape == (20, 48, 48, 3)
    assert frames.images.dtype == np.uint8
    assert read_numbers(frames.images) == [2 + 5 * index for index in range(20)]  # the middle one of every five
    assert frames.pts_seconds == pytest.approx([0.08 + 0.2 * index for index in range(20)], abs=1e-6)
    assert not frames.damaged


@both_decoders
@pytest.mark.parametrize(("first", "last"), [(0, 1), (0, 100), (11, 13), (12, 24), (23, 61), (60, 61), (99, 100)])
@pytest.mark.parametrize("num_frames", [1, 4, 45])
def test_no_frame_of_a_neighbouring_scene_is_taken(
    numbered_mp4: Path, decoder: Any, first: int, last: int, num_frames: int
) -> None:
    clip = make_clip(numbered_mp4, first / 25, last / 25)
    frames = sample_frames(clip, plain(num_frames, decoder=decoder))
    numbers = read_numbers(frames.images)
    assert len(numbers) == num_frames
    assert set(numbers) <= set(range(first, last))
    assert numbers == sorted(numbers)
    assert np.round(frames.pts_seconds * 25).astype(int).tolist() == numbers


@both_decoders
def test_short_clip_gives_all_its_frames_and_repeats_the_last(numbered_mp4: Path, decoder: Any) -> None:
    frames = sample_frames(make_clip(numbered_mp4, 1.0, 1.2), plain(8, decoder=decoder))
    assert read_numbers(frames.images) == [25, 26, 27, 28, 29, 29, 29, 29]
    assert frames.pts_seconds[4:] == pytest.approx([1.16] * 4)


@both_decoders
def test_one_frame_video_is_that_frame(tmp_path: Path, decoder: Any) -> None:
    path = write_video(tmp_path / "one.mp4", numbered_frames(1, first=7))
    assert read_numbers(sample_frames(make_clip(path), plain(3, decoder=decoder)).images) == [7, 7, 7]


@both_decoders
def test_variable_frame_rate_is_sampled_by_time_not_by_count(tmp_path: Path, decoder: Any) -> None:
    times = [index * 0.01 for index in range(50)] + [0.5 + index * 0.1 for index in range(46)]
    path = write_video(tmp_path / "vfr.mp4", numbered_frames(96), pts=times, b_frames=0)
    frames = sample_frames(make_clip(path, 0.0, 5.0), plain(5, decoder=decoder))
    assert frames.pts_seconds == pytest.approx([0.5, 1.5, 2.5, 3.5, 4.5], abs=0.001)


def test_crowded_frames_of_a_short_clip_are_all_taken(tmp_path: Path) -> None:
    times = [0.0, 0.01, 0.02, 1.0]
    path = write_video(tmp_path / "crowded.mp4", numbered_frames(4), pts=times, b_frames=0)
    frames = sample_frames(make_clip(path, 0.0, 1.5), plain(6))
    assert read_numbers(frames.images) == [0, 1, 2, 3, 3, 3]


@both_decoders
def test_late_start_and_rotation_are_the_same_with_both_decoders(tmp_path: Path, decoder: Any) -> None:
    turned = [np.rot90(image, -1).copy() for image in numbered_frames(50, 96, 160)]
    path = write_video(tmp_path / "turned.mp4", turned, start_seconds=3, rotation=90)
    clip = make_clip(path, 3.0, 5.0)
    assert (clip.info.width, clip.info.height) == (96, 160)
    frames = sample_frames(clip, plain(10, decoder=decoder))
    assert read_numbers(frames.images) == [2 + 5 * index for index in range(10)]
    assert frames.pts_seconds[0] == pytest.approx(3.08)


@pytest.mark.parametrize("size", [(16, 16), (64, 48), (67, 51), (1280, 720)])
def test_any_picture_size_fills_the_square(tmp_path: Path, size: tuple[int, int]) -> None:
    how = {"pix_fmt": "yuv444p"} if size[0] % 2 else {}
    path = write_video(tmp_path / "sized.mp4", numbered_frames(12, *size), **how)
    frames = sample_frames(make_clip(path), plain(12, image_size=224))
    assert frames.images.shape == (12, 224, 224, 3)
    assert read_numbers(frames.images) == list(range(12))


def test_ultra_high_definition_is_sampled(tmp_path: Path) -> None:
    picture = np.full((2160, 3840, 3), 90, np.uint8)
    path = write_video(tmp_path / "uhd.mp4", [picture] * 4, b_frames=0)
    frames = sample_frames(make_clip(path), plain(4, image_size=224))
    assert np.abs(frames.images.astype(int) - 90).max() <= 2


def test_decord_refuses_what_it_would_get_wrong(tmp_path: Path) -> None:
    edited = write_video(tmp_path / "edited.mp4", numbered_frames(60))
    skip_by_edit_list(edited, 17)
    stream = write_video(tmp_path / "stream.ts", numbered_frames(60))
    for path in (edited, stream):
        assert read_numbers(sample_frames(make_clip(path), plain(1)).images) != []
        with pytest.raises(VideoError, match="--decoder pyav"):
            sample_frames(make_clip(path), plain(4, decoder="decord"))


def test_missing_decord_is_one_clear_line(numbered_mp4: Path) -> None:
    program = f"""
import sys
sys.modules["decord"] = None  # as when it is not installed
from tests.make_videos import make_clip
from vidlabel.config import FrameSettings
from vidlabel.errors import InputError
from vidlabel.frames import sample_frames
try:
    sample_frames(make_clip({str(numbered_mp4)!r}), FrameSettings(4, 32, decoder="decord", subtitles="none"))
except InputError as error:
    sys.exit(0 if "pip install decord" in str(error) else str(error))
sys.exit("no error")
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parent.parent)


def test_same_clip_gives_the_same_pixels_every_time(numbered_mp4: Path) -> None:
    clip = make_clip(numbered_mp4, 0.6, 3.1)
    first, second = (sample_frames(clip, plain(7, image_size=56)) for _ in range(2))
    assert np.array_equal(first.images, second.images)
    assert np.array_equal(first.pts_seconds, second.pts_seconds)


def golden_cases() -> list[dict[str, Any]]:
    text = (GOLDEN / "sampling.json").read_text("utf-8") if GOLDEN.is_dir() else '{"cases": []}'
    cases: list[dict[str, Any]] = json.loads(text)["cases"]
    return cases


def read_golden_number(image: np.ndarray[Any, Any]) -> int:
    """The 16-bit barcode, highest bit first, in the top quarter of the golden videos' pictures."""
    height, width = image.shape[:2]
    cells = image[height // 16 : height * 3 // 16].reshape(height // 8, 16, width // 16, 3)
    levels = cells[:, :, width // 64 : -(width // 64)].mean(axis=(0, 2, 3))
    return int("".join(str(int(level > 128)) for level in levels), 2)


@both_decoders
@pytest.mark.parametrize("case", golden_cases(), ids=lambda case: f"{case['llm']}-{case['video']}-{case['vtt']}")
def test_reference_sampling_takes_the_references_frames(case: dict[str, Any], decoder: Any) -> None:
    count = {"llama2": 45, "mistral": 90}[case["llm"]]
    clip = make_clip(GOLDEN / "videos" / case["video"])
    frames = sample_frames(clip, plain(count, image_size=256, sampling="reference", decoder=decoder))
    wanted = case["inference"]["frame_indices"]
    assert [read_golden_number(image) for image in frames.images] == wanted + [wanted[-1]] * (count - len(wanted))


def test_reference_sampling_goldens_are_there() -> None:
    assert len(golden_cases()) == 20


def test_reference_sampling_of_a_part_counts_the_parts_own_frames(numbered_mp4: Path) -> None:
    frames = sample_frames(make_clip(numbered_mp4, 1.0, 3.0), plain(4, sampling="reference"))  # every int(50 / 4)th
    assert read_numbers(frames.images) == [25, 37, 49, 61]


def test_clip_that_breaks_off_gives_what_is_there_and_says_so(tmp_path: Path) -> None:
    path = truncated(tmp_path)
    frames = sample_frames(make_clip(path, 0.0, 4.0), plain(40))
    assert frames.damaged
    numbers = read_numbers(frames.images)
    assert 5 < numbers[-1] < 90
    assert numbers == sorted(numbers)
    assert not sample_frames(make_clip(path, 0.0, 0.4), plain(5)).damaged


def test_matroska_that_breaks_off_says_so_too(tmp_path: Path) -> None:
    path = truncated(tmp_path, name="truncated.mkv")
    frames = sample_frames(make_clip(path, 0.0, 4.0), plain(40))
    assert frames.damaged
    assert 5 < read_numbers(frames.images)[-1] < 90


def test_garbage_inside_costs_only_the_frames_it_hits(tmp_path: Path) -> None:
    frames = sample_frames(make_clip(damaged_inside(tmp_path), 0.0, 4.0), plain(100))
    numbers = read_numbers(frames.images)
    assert (frames.damaged, numbers[:20], numbers[-1]) == (True, list(range(20)), 99)


def test_span_without_a_frame_is_an_error_that_names_it(tmp_path: Path, numbered_mp4: Path) -> None:
    for path in (truncated(tmp_path), numbered_mp4):
        with pytest.raises(VideoError, match=r"no frame could be decoded between 3\.990 and 3\.995 s"):
            sample_frames(make_clip(path, 3.99, 3.995), plain(4))


def test_subtitles_of_the_track_are_cut_to_the_clip(tmp_path: Path) -> None:
    cues = [(0.0, 1.0, "before"), (1.5, 2.5, "inside"), (2.8, 3.6, "across")]
    path = write_video(tmp_path / "text.mkv", numbered_frames(100), subtitles=cues)
    clip = make_clip(path, 1.2, 3.0)
    frames = sample_frames(clip, plain(2, subtitles="auto"))
    assert frames.cues == (Cue(1.5, 2.5, "inside"), Cue(2.8, 3.0, "across"))
    assert frames.subtitle_source == "track"
    without = sample_frames(clip, plain(2))
    assert (without.cues, without.subtitle_source) == ((), "none")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux holds a process to its data limit")
def test_memory_limit_turns_a_bomb_into_a_reason_and_leaves_the_process_usable(tmp_path: Path) -> None:
    big = write_video(tmp_path / "big.mkv", [np.zeros((5000, 5000, 3), np.uint8)], codec="ffv1", pix_fmt="gray")
    small = write_video(tmp_path / "small.mp4", numbered_frames(10))
    program = f"""
import re
from pathlib import Path
import torch
from tests.make_videos import make_clip
from vidlabel.config import FrameSettings
from vidlabel.errors import VideoError
from vidlabel.decoders.memory import limit_memory
from vidlabel.frames import sample_frames
torch.set_num_threads(1)
wanted = FrameSettings(4, 224, subtitles="none")
clip = make_clip({str(big)!r})
sample_frames(make_clip({str(small)!r}), wanted)
used_mb = int(re.search(r"VmData:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024
limit_mb = used_mb + 64
limit_memory(limit_mb)
try:
    sample_frames(clip, wanted)
except VideoError as error:
    assert error.reason == f"needs more than the memory limit of {{limit_mb}} MB", error.reason
    assert not error.permanent
else:
    raise SystemExit("the bomb went through")
assert sample_frames(make_clip({str(small)!r}), wanted).images.shape == (4, 224, 224, 3)
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parent.parent)


# The pure parts


@given(
    gaps=st.lists(st.integers(1, 1000), min_size=1, max_size=40),
    start=st.integers(0, 10**6),
    num_frames=st.integers(1, 60),
)
@settings(max_examples=200, deadline=None)
def test_nearest_is_the_nearest_and_serves_every_target_once(gaps: list[int], start: int, num_frames: int) -> None:
    seconds = [(start + sum(gaps[:index])) / 1000 for index in range(len(gaps))]
    targets = even_targets(seconds[0], seconds[-1] + gaps[-1] / 1000, num_frames)
    frames = [TimedFrame(at, lambda: np.zeros((1, 1, 3), np.uint8)) for at in seconds]
    chosen = [frame.seconds for frame, hits in nearest(frames, targets) for _ in range(hits)]
    assert len(chosen) == num_frames
    for target, at in zip(targets, chosen, strict=True):
        assert abs(at - target) <= min(abs(other - target) for other in seconds) + 2e-6


def test_resize_agrees_with_the_references_to_two_levels() -> None:
    rng = np.random.default_rng(0)
    for height, width, size in ((90, 160, 56), (48, 64, 56), (16, 16, 224), (224, 224, 224), (301, 77, 64)):
        images = rng.integers(0, 256, (3, height, width, 3), dtype=np.uint8)
        wanted = np.stack([bicubic(bicubic(image, size, axis=1), size, axis=0) for image in images])
        assert np.abs(resize(images, size).astype(int) - wanted).max() <= 2


def bicubic(image: np.ndarray[Any, Any], size: int, *, axis: int) -> np.ndarray[Any, Any]:
    """One pass of an antialiased bicubic (a = -0.5) with a result in whole levels, written out plainly."""
    length = image.shape[axis]
    scale = length / size
    centres = (np.arange(size) + 0.5) * scale
    distance = np.abs((np.arange(length) + 0.5 - centres[:, None]) / max(scale, 1))
    near = ((1.5 * distance - 2.5) * distance) * distance + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    weights = np.where(distance < 1, near, np.where(distance < 2, far, 0))
    weights /= weights.sum(axis=1, keepdims=True)
    moved = np.moveaxis(image.astype(float), axis, 0)
    out = np.tensordot(weights, moved, axes=(1, 0))
    return np.moveaxis(np.clip(np.round(out), 0, 255).astype(np.uint8), 0, axis)


def test_pictures_of_different_sizes_keep_their_order() -> None:
    resizer = Resizer(8)
    levels = list(range(0, 250, 5))
    for level in levels:
        resizer.add(np.full((10 + level % 3, 20, 3), level, np.uint8))
    assert resizer.result()[:, 4, 4, 0].tolist() == levels
