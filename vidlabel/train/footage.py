"""Example -> Frames: the same decoders and sampler as when labelling. A still picture is a clip of one frame."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vidlabel.config import FrameSettings, SceneSettings
from vidlabel.data import Failure, Frames, stable_id
from vidlabel.decoders.stills import read_still
from vidlabel.errors import VideoError
from vidlabel.frames import sample_frames
from vidlabel.plan import failed_id, failure_of, file_state
from vidlabel.resizing import resize
from vidlabel.scenes import find_clips
from vidlabel.train.examples import Example

_WHOLE = SceneSettings(split="none")


def frames_of(example: Example, settings: FrameSettings) -> Frames:
    """VideoError where there is not one frame to be had."""
    if example.image is not None:
        still = read_still(example.image)
        return Frames(resize(still[None], settings.image_size), np.zeros(1))
    assert example.video is not None
    return sample_frames(find_clips(example.video, _WHOLE)[0], settings)


def clip_key(example: Example, settings: FrameSettings) -> str:
    """The same for examples that show the model the same frames and subtitles, as the files are now."""
    parts = [str(settings), *map(str, file_state(example.source))]
    if example.video is None:
        return stable_id("still", example.source, *parts)
    video = example.video
    subtitle = () if video.subtitle is None else (video.subtitle, *map(str, file_state(video.subtitle)))
    return stable_id("video", video.location, str(video.span), *parts, *subtitle)


def footage_failure(example: Example, error: VideoError) -> Failure:
    """The line for the failures file: one for a file or span, whatever is asked about it."""
    if example.video is not None:
        video = replace(example.video, questions=(), extra={})
        return failure_of(failed_id(video), video, "frames", error)
    assert example.image is not None
    size, mtime = file_state(example.image)
    return Failure(
        id=stable_id(example.image),
        video_id=stable_id(example.image),
        path=example.image,
        stage="frames",
        reason=error.reason,
        permanent=error.permanent,
        file_size=size,
        file_mtime=mtime,
    )
