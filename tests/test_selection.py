"""What `--where` decides early, it decides as it would have with everything known."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidlabel.data import Clip, Video, VideoInfo
from vidlabel.errors import InputError
from vidlabel.selecting import select
from vidlabel.selection import EVERYTHING

PARTS = [
    "score > 0.5",
    "note == 'good'",
    "tag is null",
    "manifest_language != 'en'",
    "width >= 640",
    "codec in ('h264', 'vp9')",
    "seconds > 2",
    "start_seconds + 1 < end_seconds",
    "brightness > 0.5",
    "letterboxed",
    "camera_motion == 'static'",
]
CONDITIONS = st.recursive(
    st.sampled_from(PARTS),
    lambda inner: (
        st.builds("({} {} {})".format, inner, st.sampled_from(["and", "or"]), inner)
        | st.builds("(not {})".format, inner)
    ),
    max_leaves=5,
)
TOPS = st.lists(CONDITIONS, min_size=1, max_size=4).map(" and ".join)
EXTRAS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "score": st.none() | st.floats(0, 1),
        "note": st.sampled_from([None, "good", "bad"]),
        "tag": st.none() | st.just("x"),
        "language": st.sampled_from(["en", "zh", None]),
    }
)
SIGNALS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "brightness": st.none() | st.floats(0, 1),
        "letterboxed": st.none() | st.booleans(),
        "camera_motion": st.sampled_from([None, "static", "shake"]),
    }
)
INFOS = st.builds(VideoInfo, st.sampled_from([64, 640]), st.just(48), st.just(25.0), st.just(9.0), st.just("h264"))


@settings(max_examples=100, deadline=None)
@given(TOPS, EXTRAS, INFOS, st.sampled_from([1.0, 1.5, 5.0]), SIGNALS)
def test_what_is_left_out_early_would_be_left_out_in_the_end(
    where: str, extra: dict[str, Any], info: VideoInfo, seconds: float, signals: dict[str, Any]
) -> None:
    typed = Video("typed", "t.mp4", "/t", extra={"score": 0.5, "note": "x", "tag": "x", "language": "en"})
    video = Video("v", "v.mp4", "/v", extra=extra)
    clip = Clip("c", video, info, 0.5, 0.5 + seconds)
    selection, measured = select(where, None, [typed, video])
    assert set(measured) == {name for name in signals if name in where}
    steps = [
        selection.reject_video(video),
        selection.reject_file(video, info),
        selection.reject_clip(clip),
        selection.reject_frames(clip, {name: signals[name] for name in measured}),
    ]
    rejected = [step is not None for step in steps]
    assert rejected == sorted(rejected), "what was left out is let in later"
    if set(measured) == set():
        assert rejected[2] == rejected[3]  # nothing more becomes known


def test_what_is_not_measured_is_missing() -> None:
    video = Video("v", "v.mp4", "/v")
    clip = Clip("c", video, VideoInfo(64, 48, 25.0, 9.0, "h264"), 0.0, 9.0)
    selection, measured = select("brightness > 0 or seconds > 100", None, [video])
    assert measured == ("brightness",)
    rejection = selection.reject_frames(clip, {})
    assert rejection is not None
    assert rejection.reason == "brightness > 0 or seconds > 100 (brightness is missing, seconds is 9)"
    assert selection.reject_frames(clip, {"brightness": 0.5}) is None


def test_signals_that_are_asked_for_are_measured_without_a_condition() -> None:
    assert select(None, "saturation,brightness", []) == (EVERYTHING, ("brightness", "saturation"))
    assert select(None, None, []) == (EVERYTHING, ())
    assert select("width > 5 and blur < 1", "brightness", [])[1] == ("brightness", "blur")


def test_texts_of_a_manifest_are_numbers_where_they_are_compared_with_numbers() -> None:
    videos = [Video("a", "a.mp4", "/a", extra={"score": " 0.75", "ok": "true"}), Video("b", "b.mp4", "/b")]
    selection, _ = select("score > 0.5 and ok", None, videos)
    assert [selection.reject_video(video) is None for video in videos] == [True, False]
    with pytest.raises(InputError, match=r"--where: the manifest's column score of c\.mp4: 'many' is not a number"):
        select("score > 0.5", None, [*videos, Video("c", "c.mp4", "/c", extra={"score": "many"})])
