"""Settings, asked clips and labels for the tests of what is on disk."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import numpy as np

from vidlabel.config import AnswerSettings, FrameSettings, SceneSettings, Settings
from vidlabel.data import Answer, AskedClip, Clip, Frames, Question, Video, VideoInfo, clip_id_for
from vidlabel.labels import Label, make_label

SETTINGS = Settings(
    task="caption",
    scenes=SceneSettings(),
    frames=FrameSettings(num_frames=4, image_size=8),
    answers=AnswerSettings(model="echo", model_fingerprint="echo-1", pool="caption", pool_fingerprint="abc", seed=7),
)
CREATED_AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def make_asked(
    number: int = 0,
    *,
    video: int | None = None,
    extra: Mapping[str, object] | None = None,
    path: str | None = None,
    question: Question | None = None,
    damaged: bool = False,
) -> AskedClip:
    """Clip `number`, of video `number` unless told; every clip has a second of its own."""
    video_number = number if video is None else video
    source = Video(
        video_id=f"video{video_number:04d}",
        path=path or f"videos/{video_number:04d}.mp4",
        location=f"/videos/{video_number:04d}.mp4",
        extra=extra or {},
    )
    clip = Clip(
        clip_id=clip_id_for(source, number, number + 1),
        video=source,
        info=VideoInfo(width=640, height=360, fps=25.0, video_seconds=1000.0, codec="h264"),
        start_seconds=float(number),
        end_seconds=number + 1.0,
    )
    frames = Frames(np.zeros((4, 8, 8, 3), np.uint8), np.arange(4.0), subtitle_source="sidecar", damaged=damaged)
    return AskedClip(clip, frames, (question or Question("Describe the video.", "caption"),))


def make_answer(asked: AskedClip, text: str = "A dog runs.") -> Answer:
    return Answer(
        clip_id=asked.clip.clip_id,
        question=asked.questions[0],
        text=text,
        num_tokens=5,
        mean_logprob=-0.25,
        num_frames=4,
        num_subtitle_words=3,
    )


def label(
    number: int = 0, *, text: str = "A dog runs.", extra: Mapping[str, object] | None = None, video: int | None = None
) -> Label:
    asked = make_asked(number, video=video, extra=extra)
    return make_label(asked, make_answer(asked, text), SETTINGS, CREATED_AT)
