"""The stages as plain functions.

Executors run the stages; `Stages` lets a test, or a second decoder stack, hand in other ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vidlabel.config import FrameSettings, SceneSettings
from vidlabel.data import Clip, Frames, Video
from vidlabel.remote import is_url
from vidlabel.selection import Rejection, Selection


@dataclass(frozen=True, slots=True)
class Stages:
    """What runs in decode workers: module-level functions, because they are pickled by name."""

    find_clips: Callable[[Video, SceneSettings], list[Clip]]
    sample_frames: Callable[[Clip, FrameSettings], Frames]


def default_stages() -> Stages:
    return Stages(find_clips=find_clips, sample_frames=sample_frames)


def find_clips(video: Video, settings: SceneSettings) -> list[Clip]:
    """Video -> clips. Raises VideoError."""
    from vidlabel import scenes

    return scenes.find_clips(video, settings)


def find_wanted_clips(
    find_clips: Callable[[Video, SceneSettings], list[Clip]],
    video: Video,
    settings: SceneSettings,
    selection: Selection,
) -> list[Clip] | Rejection:
    """Likewise, unless what the file says of itself is enough to know that none is wanted: scenes are costly."""
    from vidlabel.decoders import probe

    return selection.reject_file(video, probe(video.location)) or find_clips(video, settings)


def sample_frames(clip: Clip, settings: FrameSettings) -> Frames:
    """Clip -> frames. Raises VideoError."""
    from vidlabel import frames

    return frames.sample_frames(clip, settings)


def time_limit(location: str, seconds_per_video: float) -> float:
    """Seconds that one stage of this file may take: the user's limit, and a second for every 2 MB of the file,
    since a scene pass reads all of it (measured: about 10 times realtime at 720p on one core). A URL gets twice the
    user's limit: nothing is known of the file before a worker asks."""
    if is_url(location):
        return 2 * seconds_per_video
    return seconds_per_video + Path(location).stat().st_size / 2e6
