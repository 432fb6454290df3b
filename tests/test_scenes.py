"""Videos become clips at their cuts, in true presentation time, and of the lengths that were asked for."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.make_videos import Image, dissolve, fade, noise_scene, write_video
from vidlabel.config import SceneSettings
from vidlabel.data import Clip, Span, Video
from vidlabel.errors import VideoError
from vidlabel.scenes import Bounds, cut_to_length, drop_empty, find_clips, merge_short

RED, GREEN, BLUE = (200, 60, 60), (60, 200, 60), (60, 60, 200)
DETECTORS = ["adaptive,dissolve", "content,threshold"]


def red(count: int) -> list[Image]:
    return noise_scene(count, RED, seed=1)


def green(count: int) -> list[Image]:
    return noise_scene(count, GREEN, seed=2)


def blue(count: int) -> list[Image]:
    return noise_scene(count, BLUE, seed=3)


def clips_of(
    path: Path,
    *,
    detector: str = "adaptive,dissolve",
    span: Span | None = None,
    clip_id: str | None = None,
    **settings: object,
) -> list[Clip]:
    video = Video("v", path.name, str(path), span=span, clip_id=clip_id)
    return find_clips(video, SceneSettings(detector=detector, **settings))  # type: ignore[arg-type]


def bounds_of(clips: Sequence[Clip]) -> list[Bounds]:
    return [(clip.start_seconds, clip.end_seconds) for clip in clips]


def approx(*bounds: Bounds) -> list[object]:
    return [pytest.approx(pair, abs=1e-6) for pair in bounds]


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv420p10le"])
def test_a_video_is_split_at_its_cuts_to_the_frame(tmp_path: Path, detector: str, pix_fmt: str) -> None:
    path = write_video(tmp_path / "a.mp4", red(50) + green(40) + blue(35), fps=25, pix_fmt=pix_fmt)

    clips = clips_of(path, detector=detector)

    assert bounds_of(clips) == approx((0, 2), (2, 3.6), (3.6, 5))
    assert [clip.clip_id for clip in clips] == ["v-0-2000", "v-2000-3600", "v-3600-5000"]
    assert {(clip.info.width, clip.info.height) for clip in clips} == {(160, 96)}


def test_times_are_those_of_the_frames_when_the_frame_rate_varies(tmp_path: Path) -> None:
    steps = [0.02] * 50 + [0.1] * 20 + [0.04] * 40
    pts = [0.0, *itertools.accumulate(steps)][:-1]
    path = write_video(tmp_path / "a.mkv", red(60) + green(50), pts=pts)

    clips = clips_of(path)

    assert bounds_of(clips)[0] == pytest.approx((0, pts[60]), abs=2e-3)  # matroska counts milliseconds
    assert bounds_of(clips)[1] == pytest.approx((pts[60], pts[-1] + 0.04), abs=5e-3)


@pytest.mark.parametrize("split", ["scenes", "fixed", "none"])
def test_a_video_that_starts_late_has_its_own_times(tmp_path: Path, split: str) -> None:
    path = write_video(tmp_path / "a.mkv", red(50) + green(50), fps=25, start_seconds=5.0)

    clips = clips_of(path, split=split, max_clip_seconds=2.0)

    expected = [(5, 9)] if split == "none" else [(5, 7), (7, 9)]
    assert bounds_of(clips) == [pytest.approx(pair, abs=2e-3) for pair in expected]


def test_a_video_without_a_cut_is_one_clip(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", red(75), fps=25)

    assert bounds_of(clips_of(path)) == approx((0, 3))


@pytest.mark.parametrize("split", ["scenes", "fixed", "none"])
def test_one_frame_is_one_clip(tmp_path: Path, split: str) -> None:
    path = write_video(tmp_path / "a.mp4", red(1), fps=25)

    assert bounds_of(clips_of(path, split=split)) == approx((0, 0.04))


def test_mixed_frames_of_a_dissolve_are_in_no_clip(tmp_path: Path) -> None:
    old, new = red(62), green(62)
    path = write_video(tmp_path / "a.mp4", old[:50] + dissolve(old[50:], new[:12]) + new[12:], fps=25)

    before, after = bounds_of(clips_of(path))

    assert before == pytest.approx((0, 2), abs=0.081)
    assert after == pytest.approx((2.48, 4.48), abs=0.081)


def test_a_fade_through_black_is_in_no_clip(tmp_path: Path) -> None:
    old, new = red(60), green(60)
    black = [np.zeros_like(old[0])] * 15
    faded = old[:50] + fade(old[50:]) + black + fade(new[:10], to_black=False) + new[10:]
    path = write_video(tmp_path / "a.mp4", faded, fps=25)

    before, after = bounds_of(clips_of(path))

    assert before == pytest.approx((0, 2), abs=0.161)
    assert after == pytest.approx((3.4, 5.4), abs=0.161)


def test_a_flash_does_not_split(tmp_path: Path) -> None:
    images = red(100)
    images[50:52] = [np.full_like(images[0], 255)] * 2
    path = write_video(tmp_path / "a.mp4", images, fps=25)

    assert bounds_of(clips_of(path)) == approx((0, 4))


def test_long_scenes_are_cut_into_equal_parts_and_short_ones_merged(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", red(75) + green(12) + blue(30), fps=25)

    clips = clips_of(path, min_clip_seconds=1.0, max_clip_seconds=2.0)

    assert bounds_of(clips) == approx((0, 1.5), (1.5, 3), (3, 4.68))


def test_split_none_takes_the_video_whole_and_fixed_in_equal_parts(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", red(50) + green(50), fps=25)

    assert bounds_of(clips_of(path, split="none", max_clip_seconds=2.0)) == approx((0, 4))
    thirds = (0, 4 / 3), (4 / 3, 8 / 3), (8 / 3, 4)
    assert bounds_of(clips_of(path, split="fixed", max_clip_seconds=1.9, min_clip_seconds=0.5)) == approx(*thirds)


def test_a_span_is_one_clip_and_keeps_the_id_it_was_planned_with(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", red(50) + green(50), fps=25)

    (inner,) = clips_of(path, span=Span(1.0, 3.0))
    (beyond,) = clips_of(path, span=Span(1.0, 300.0))
    (open_end,) = clips_of(path, span=Span(3.5))
    (named,) = clips_of(path, span=Span(1.0, 3.0), clip_id="mine")

    assert bounds_of([inner, beyond, open_end]) == approx((1, 3), (1, 4), (3.5, 4))
    assert [inner.clip_id, beyond.clip_id, open_end.clip_id] == ["v-1000-3000", "v-1000-300000", "v-3500-end"]
    assert named.clip_id == "mine"


def test_a_span_outside_of_the_video_is_an_error_that_names_both_times(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", red(50), fps=25, start_seconds=5.0)

    with pytest.raises(VideoError, match=r"starts at 7\.000 s, but the video ends at 7\.000 s"):
        clips_of(path, span=Span(7.0, 9.0))
    with pytest.raises(VideoError, match=r"ends at 4\.500 s, but the video starts at 5\.000 s"):
        clips_of(path, span=Span(1.0, 4.5))


def test_a_file_that_breaks_off_is_split_as_far_as_it_goes(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "a.mkv", red(50) + green(50) + blue(100), fps=25)
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])

    *clips, last = bounds_of(clips_of(cut))

    assert clips[0] == pytest.approx((0, 2), abs=2e-3)
    assert clips[-1][1] <= last[0] < last[1] < 7.5


@pytest.mark.parametrize("content", [b"", b"not a video " * 100])
@pytest.mark.parametrize("split", ["scenes", "fixed", "none"])
def test_what_is_not_a_video_is_a_video_error(tmp_path: Path, content: bytes, split: str) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(content)

    with pytest.raises(VideoError):
        clips_of(path, split=split)


def test_every_clip_has_a_frame_even_where_one_frame_lasts_longer_than_a_clip(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", red(4), pts=[0.0, 0.5, 9.0, 9.5])

    clips = bounds_of(clips_of(path, max_clip_seconds=2.0))

    assert all(any(start <= seconds < end for seconds in (0.0, 0.5, 9.0, 9.5)) for start, end in clips)
    assert all(before[1] == after[0] for before, after in itertools.pairwise(clips))


# --- the length policy ----------------------------------------------------------------------------------------------

ms = st.integers(20, 20_000).map(lambda value: value / 1000)


@st.composite
def scene_lists(draw: st.DrawFn) -> list[Bounds]:
    at = draw(st.sampled_from([0.0, 5.0, 12345.678]))
    scenes = []
    for length in draw(st.lists(ms, min_size=1, max_size=20)):
        scenes.append((at, at + length))
        at += length + draw(st.sampled_from([0.0, 0.0, 0.5, 1.2]))
    return scenes


limits = st.tuples(st.integers(0, 3000), st.integers(2000, 30_000)).map(
    lambda pair: (min(pair[0], pair[1] // 2) / 1000, pair[1] / 1000)
)


@given(scene_lists(), limits)
def test_clips_cover_the_scenes_in_order_and_never_overlap(scenes: list[Bounds], limit: tuple[float, float]) -> None:
    clips = cut_to_length(merge_short(scenes, *limit), limit[1])

    assert clips[0][0] == scenes[0][0]
    assert clips[-1][1] == scenes[-1][1]
    assert all(start < end for start, end in clips)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(clips))
    for start, end in scenes:
        covered = sum(min(end, stop) - max(start, begin) for begin, stop in clips if begin < end and start < stop)
        assert covered == pytest.approx(end - start)


@given(scene_lists(), limits)
def test_clips_are_never_too_long_and_too_short_only_when_there_is_nothing_else(
    scenes: list[Bounds], limit: tuple[float, float]
) -> None:
    shortest, longest = limit
    clips = cut_to_length(merge_short(scenes, shortest, longest), longest)

    assert all(end - start <= longest + 1e-6 for start, end in clips)
    assert len(clips) == 1 or all(end - start >= shortest - 1e-6 for start, end in clips)


@given(scene_lists(), limits)
def test_a_scene_that_is_long_enough_shares_a_clip_only_with_short_ones(
    scenes: list[Bounds], limit: tuple[float, float]
) -> None:
    merged = merge_short(scenes, *limit)

    for start, end in merged:
        inside = [scene for scene in scenes if start <= scene[0] and scene[1] <= end]
        assert inside[0][0] == start  # no edge but those of scenes
        assert inside[-1][1] == end
        short = [scene for scene in inside if scene[1] - scene[0] < limit[0]]
        assert len(inside) == 1 or short
        assert len(inside) <= 2 * len(short) + 1


def test_a_short_scene_joins_the_neighbour_that_stays_within_the_limit() -> None:
    assert merge_short([(0, 9.8), (9.8, 10.3), (10.3, 19)], 1, 10) == [(0, 9.8), (9.8, 19)]
    assert merge_short([(0, 8), (8, 8.5), (8.5, 10.5)], 1, 10) == [(0, 8), (8, 10.5)]


def test_ten_thousand_short_scenes_are_merged_in_a_moment() -> None:
    scenes = [(number / 4, (number + 1) / 4) for number in range(10_000)]

    assert all(end - start >= 1 for start, end in merge_short(scenes, 1, 30))


@given(st.floats(0.001, 1000), st.floats(0.5, 100))
def test_parts_are_equal_and_as_few_as_possible(seconds: float, longest: float) -> None:
    parts = cut_to_length([(0.0, seconds)], longest)

    assert len(parts) in (math.ceil(seconds / longest), max(1, math.ceil(seconds / longest) - 1))
    assert np.ptp([end - start for start, end in parts]) < 1e-6


def test_parts_without_a_frame_join_the_part_before() -> None:
    assert drop_empty([(0, 2), (2, 4), (4, 6), (6, 8)], [0.0, 1.0, 5.0]) == [(0, 4), (4, 8)]
