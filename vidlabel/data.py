"""The values that flow through a run: Video -> Clip -> Frames -> Label. Frozen, and they check themselves.

Times are seconds of presentation time in the source file, as doubles; spans are half-open.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Task = Literal["caption", "qa"]
FinishReason = Literal["stop", "length"]
Stage = Literal["open", "scenes", "frames", "answer", "export"]


def stable_id(*parts: str) -> str:
    """16 hex digits that depend on the parts alone (SHA-256, 64 bits)."""
    return hashlib.sha256("\x1f".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Question:
    """One instruction to put to a clip."""

    text: str
    pool: str  # where it came from: a pool's name, or "manifest"
    task: Task = "caption"
    language: str = "en"  # BCP-47, of the question and so of the answer
    extra: Mapping[str, object] = field(default_factory=dict, hash=False)  # the manifest row's own columns
    key: str = ""  # names the label that this leads to, where the text does not: another try keeps the label's id
    original: str = ""  # the question that this one puts in other words
    sees_video: bool = True  # False: put to the language model alone, without its adapter

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise ValueError(f"a question needs text, got {self.text = }")
        if self.task not in ("caption", "qa"):
            raise ValueError(f"task is caption or qa, got {self.task = }")


@dataclass(frozen=True, slots=True)
class Span:
    """The part of a video that a manifest row asks for; `end_seconds` None means to the end."""

    start_seconds: float = 0.0
    end_seconds: float | None = None

    def __post_init__(self) -> None:
        if not self.start_seconds >= 0:
            raise ValueError(f"start must be 0 or later, got {self.start_seconds = }")
        if self.end_seconds is not None and not self.end_seconds > self.start_seconds:
            raise ValueError(f"end must be after start, got {self.start_seconds = }, {self.end_seconds = }")


@dataclass(frozen=True, slots=True)
class Video:
    """One source file, or (with `span`) one part of it that a manifest row names."""

    video_id: str
    path: str  # as the manifest or folder gives it, relative to its root: the label's `video_path`
    location: str  # what to open: an absolute path
    span: Span | None = None  # None: the whole file, to be cut into scenes
    clip_id: str | None = None  # the manifest's own id of the span
    subtitle: str | None = None  # the manifest's subtitle file: an absolute path
    questions: tuple[Question, ...] = ()  # asked by the manifest
    extra: Mapping[str, object] = field(default_factory=dict, hash=False)  # the manifest's other columns

    def __post_init__(self) -> None:
        if not self.video_id or not self.location:
            raise ValueError(f"a video needs an id and a location, got {self.video_id = }, {self.location = }")
        if self.clip_id is not None and self.span is None:
            raise ValueError(f"only a span has a clip id, got {self.clip_id = } without a span")


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What the container says of the first real video stream, rotation applied to width and height."""

    width: int
    height: int
    fps: float  # average; 0.0 when unknown
    video_seconds: float  # end of the last frame minus start of the first, of the video stream, not of the container
    codec: str


@dataclass(frozen=True, slots=True)
class Clip:
    """A half-open span [start_seconds, end_seconds) of one video, never a re-cut file."""

    clip_id: str
    video: Video
    info: VideoInfo
    start_seconds: float
    end_seconds: float

    def __post_init__(self) -> None:
        if not self.end_seconds > self.start_seconds:
            raise ValueError(f"a clip ends after it starts, got {self.start_seconds = }, {self.end_seconds = }")

    @property
    def seconds(self) -> float:
        return self.end_seconds - self.start_seconds


def clip_id_for(video: Video, start_seconds: float, end_seconds: float | None) -> str:
    """The id of a span: the manifest's own where it has one, else video id and milliseconds."""
    if video.clip_id is not None:
        return video.clip_id
    end = "end" if end_seconds is None else str(round(end_seconds * 1000))
    return f"{video.video_id}-{round(start_seconds * 1000)}-{end}"


@dataclass(frozen=True, slots=True)
class Cue:
    """One subtitle text and the half-open time it is shown, in the source video's time."""

    start_seconds: float
    end_seconds: float
    text: str


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Frames:
    """The sampled frames of one clip and the subtitle cues that are shown in it."""

    images: npt.NDArray[np.uint8]  # (T, H, W, 3) RGB at model resolution
    pts_seconds: npt.NDArray[np.float64]  # (T,), in the source video's time, never decreasing
    cues: tuple[Cue, ...] = ()
    subtitle_source: str = "none"  # manifest, sidecar, track, speech, unreadable or none
    subtitle_language: str | None = None  # BCP-47, of cues from speech
    damaged: bool = False  # the file broke off or had errors; these frames are what could be read
    signals: Mapping[str, float | bool | int | str | None] = field(default_factory=dict)  # those asked for, by column

    def __post_init__(self) -> None:
        shape = self.images.shape
        if len(shape) != 4 or shape[3] != 3 or shape[0] < 1 or str(self.images.dtype) != "uint8":
            raise ValueError(f"frames are uint8 (T, H, W, 3) with T >= 1, got {self.images.dtype} {shape = }")
        if self.pts_seconds.shape != shape[:1]:
            raise ValueError(f"one pts a frame, got {self.pts_seconds.shape = } for {shape = }")


@dataclass(frozen=True, slots=True, eq=False)
class AskedClip:
    """A clip with its frames and all questions put to it: encoded once, asked many times."""

    clip: Clip
    frames: Frames
    questions: tuple[Question, ...]
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.questions:
            raise ValueError(f"an asked clip needs a question, got none for {self.clip.clip_id = }")


@dataclass(frozen=True, slots=True, eq=False)
class ClipFeatures:
    """What a clip looks like to the captioner that read it: see `embedding.py`."""

    embedding: npt.NDArray[np.float32]  # (D,), of length 1
    temporal_consistency: float | None  # None: of one frame there is nothing to compare

    def __post_init__(self) -> None:
        if self.embedding.ndim != 1 or not len(self.embedding) or str(self.embedding.dtype) != "float32":
            raise ValueError(f"an embedding is float32 (D,), got {self.embedding.dtype} {self.embedding.shape = }")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a captioner says to one question about one clip. Joined to its clip by id, never by position.

    `error` set: this clip or question cannot be answered by this model (the text is empty and means nothing).
    """

    clip_id: str
    question: Question
    text: str
    num_tokens: int = 0
    finish_reason: FinishReason = "stop"
    mean_logprob: float | None = None  # of the generated tokens
    grounding: float | None = None  # by how much the video makes these tokens likelier
    num_frames: int = 0  # what the model was shown
    num_subtitle_words: int = 0  # what the model was shown, after any shortening
    flags: tuple[str, ...] = ()  # what the captioner itself knows, e.g. subtitles_shortened
    error: str | None = None
    features: ClipFeatures | None = field(default=None, compare=False)  # of the clip, where they were asked for


@dataclass(frozen=True, slots=True)
class Failure:
    """A video or clip that could not be labelled: one line of the failures file."""

    id: str  # clip id, or video id where no clip is known
    video_id: str
    path: str
    stage: Stage
    reason: str
    attempts: int = 1
    permanent: bool = False
    file_size: int | None = None  # of the file when it failed: a permanent failure is tried again when these change
    file_mtime: float | None = None
