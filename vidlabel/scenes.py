"""Video -> Clips: detection, the length policy, and spans that a manifest asks for. Runs inside a decode worker.

A clip holds only frames of its own scene: at a hard cut it ends where the new scene's first frame begins, and the
mixed frames of a fade or dissolve belong to no clip. The other gaps between clips are frames that do not exist.
"""

from __future__ import annotations

import itertools
import math
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from vidlabel.config import SceneSettings
from vidlabel.data import Clip, Video, VideoInfo, clip_id_for
from vidlabel.decoders import probe_start, small_frames
from vidlabel.detectors import find_transitions
from vidlabel.errors import VideoError

Bounds = tuple[float, float]  # start and end in seconds, half-open

MAX_CLIPS = 100_000  # of one video: a day in clips of a second; more is a file that lies about its times
_ROUNDING = 1e-9  # seconds: what adding up may cost; a scene of exactly the maximum stays whole


def find_clips(video: Video, settings: SceneSettings) -> list[Clip]:
    """The clips of a video, in order and apart; at least one. VideoError where there is nothing to be had."""
    info, start = probe_start(video.location)
    claimed = (start, start + (info.video_seconds or _frame_seconds(info)))  # where the file says that it ends
    if video.span is not None:
        return [_asked_clip(video, info, claimed)]
    if settings.split == "scenes":
        bounds = _detected(video, info, settings)
    else:
        bounds = cut_to_length([claimed], settings.max_clip_seconds if settings.split == "fixed" else math.inf)
    return [Clip(clip_id_for(video, start, end), video, info, start, end) for start, end in bounds]


def _asked_clip(video: Video, info: VideoInfo, claimed: Bounds) -> Clip:
    span = video.span
    assert span is not None
    start, (first, last) = span.start_seconds, claimed
    if start >= last:
        raise VideoError(f"its clip starts at {start:.3f} s, but the video ends at {last:.3f} s", permanent=True)
    end = last if span.end_seconds is None else min(span.end_seconds, last)
    if end <= first:
        raise VideoError(f"its clip ends at {end:.3f} s, but the video starts at {first:.3f} s", permanent=True)
    # the id is that of the span as asked: a run plans by it before any file is opened
    return Clip(clip_id_for(video, start, span.end_seconds), video, info, start, end)


def _detected(video: Video, info: VideoInfo, settings: SceneSettings) -> list[Bounds]:
    pts = array("d")  # seconds of every frame: 8 bytes each, all that is kept of a long video

    def images() -> Iterator[npt.NDArray[np.uint8]]:
        for seconds, image in small_frames(video.location):
            pts.append(seconds)
            yield image

    transitions = find_transitions(images(), settings.detector, info.fps)
    starts = [0, *(transition.end for transition in transitions)]
    ends = [*(transition.start for transition in transitions), len(pts)]
    times = [*pts, _end_of_last_frame(pts, info)]
    scenes = [(times[start], times[end]) for start, end in zip(starts, ends, strict=True)]
    merged = merge_short(scenes, settings.min_clip_seconds, settings.max_clip_seconds)
    return drop_empty(cut_to_length(merged, settings.max_clip_seconds), pts)


def _end_of_last_frame(pts: Sequence[float], info: VideoInfo) -> float:
    """As the file says, unless that is out of proportion to how long its frames last: then it breaks off early."""
    last = pts[-1]
    claimed = pts[0] + info.video_seconds
    if len(pts) == 1:
        return claimed if claimed > last else last + _frame_seconds(info)
    longest = float(np.diff(np.asarray(pts)).max())
    return claimed if last < claimed <= last + 2 * longest else last + (pts[-1] - pts[-2])


def _frame_seconds(info: VideoInfo) -> float:
    return 1 / info.fps if info.fps > 0 else 0.04


def merge_short(scenes: Sequence[Bounds], shortest: float, longest: float) -> list[Bounds]:
    """Scenes shorter than `shortest` join a neighbour, the shortest scene first.

    Of the two neighbours that one with which it stays within `longest`, then the shorter one: scenes that are long
    enough to be worth a label of their own stay clean, and a quick montage becomes one clip.
    """
    merged = list(scenes)
    seconds = np.array([end - start for start, end in merged])  # an array: a whole day's short scenes take no time
    while len(merged) > 1:
        index = int(seconds.argmin())
        if seconds[index] >= shortest - _ROUNDING:
            break
        # each pair (left, right) by its left index; joined, it covers the transition between the two as well
        pairs = [left for left in (index - 1, index) if 0 <= left < len(merged) - 1]
        lengths = {left: merged[left + 1][1] - merged[left][0] for left in pairs}
        left = min(pairs, key=lambda pair: (lengths[pair] > longest + _ROUNDING, lengths[pair]))
        merged[left : left + 2] = [(merged[left][0], merged[left + 1][1])]
        seconds = np.delete(seconds, left + 1)
        seconds[left] = lengths[left]
    return merged


def cut_to_length(scenes: Iterable[Bounds], longest: float) -> list[Bounds]:
    """Scenes longer than `longest` in as few equal parts as it takes."""
    parts: list[Bounds] = []
    for start, end in scenes:
        num_parts = max(1, math.ceil((end - start) / longest - _ROUNDING))
        if len(parts) + num_parts > MAX_CLIPS:
            raise VideoError(f"its times say that it has more than {MAX_CLIPS} clips", permanent=True)
        edges = [start + (end - start) * part / num_parts for part in range(num_parts)] + [end]
        parts += itertools.pairwise(edges)
    return parts


def drop_empty(parts: Iterable[Bounds], pts: Sequence[float]) -> list[Bounds]:
    """Parts in which no frame begins go to the part before: there are videos with one frame in a minute."""
    kept: list[Bounds] = []
    for start, end in parts:
        first = bisect_left(pts, start)
        if kept and (first == len(pts) or pts[first] >= end):
            kept[-1] = (kept[-1][0], end)
        else:
            kept.append((start, end))
    return kept
