"""The frozen settings of a run. What is in `Settings` decides what the labels say and is fingerprinted;
what is in `Limits` decides only how fast and how safely they are made and may change between runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Literal

from vidlabel.data import Task, stable_id

Split = Literal["scenes", "fixed", "none"]
Sampling = Literal["even", "reference"]
Decoder = Literal["pyav", "decord"]
Subtitles = Literal["auto", "none", "whisper"]
Quantize = Literal["none", "8bit", "4bit"]
Engine = Literal["slots", "generate"]
Grounding = Literal["none", "video", "strict"]
Rewrite = Literal["none", "condense", "merge"]


@dataclass(frozen=True, slots=True)
class SceneSettings:
    """How a video becomes clips."""

    split: Split = "scenes"
    detector: str = "adaptive,dissolve"  # names joined by commas; see `detectors.DETECTORS`
    min_clip_seconds: float = 1.0
    max_clip_seconds: float = 30.0

    def __post_init__(self) -> None:
        if self.min_clip_seconds < 0 or self.max_clip_seconds <= 0 or self.min_clip_seconds > self.max_clip_seconds / 2:
            # at most half, or a scene just over the maximum could be cut only into parts that are too short
            raise ValueError(
                "min-clip must be 0 or more and at most half of max-clip, "
                f"got {self.min_clip_seconds = }, {self.max_clip_seconds = }"
            )


@dataclass(frozen=True, slots=True)
class FrameSettings:
    """Which frames of a clip are read, and how."""

    num_frames: int  # T
    image_size: int  # pixels; frames are (image_size, image_size)
    sampling: Sampling = "even"
    decoder: Decoder = "pyav"
    subtitles: Subtitles = "auto"
    whisper: str | None = None  # the model for subtitles from speech, as given
    whisper_fingerprint: str | None = None  # of its weights
    signals: tuple[str, ...] = ()  # measured beside; names of `signals.table`. What a label says does not go by them

    def __post_init__(self) -> None:
        if self.num_frames < 1 or self.image_size < 1:
            raise ValueError(f"frames and size are at least 1, got {self.num_frames = }, {self.image_size = }")
        if (self.subtitles == "whisper") != (self.whisper is not None):
            raise ValueError(f"a speech model goes with subtitles from it, got {self.subtitles = }, {self.whisper = }")


@dataclass(frozen=True, slots=True)
class AnswerSettings:
    """What is asked, of which model, and how it decodes."""

    model: str  # preset name or folder, as given
    model_fingerprint: str  # of the weights
    pool: str  # pool name, or "manifest"
    pool_fingerprint: str
    language: str = "en"
    per_clip: int = 1
    seed: int = 0
    max_new_tokens: int = 256
    repetition_penalty: float = 1.1
    temperature: float = 0.0  # 0: greedy
    top_p: float = 1.0
    dtype: str = "float32"
    quantize: Quantize = "none"  # the language model's weights
    grounding: Grounding = "none"  # what the words are compared with: nothing, no video, or another video too
    levels: str = ""  # of caption, joined by commas; empty: one kind of caption, from the pool
    propose: int = 0  # questions about each clip that the language model itself comes up with
    verify: int = 0  # times that a question is asked again in other words
    retry_flagged: int = 0  # times that something else is asked where the answer has flags
    strip_openings: bool = False  # "The video shows" and the like go
    rewrite: Rewrite = "none"  # what the language model makes of its captions

    def __post_init__(self) -> None:
        if self.per_clip < 1 or self.max_new_tokens < 1:
            raise ValueError(f"at least 1 is needed, got {self.per_clip = }, {self.max_new_tokens = }")
        if min(self.propose, self.verify, self.retry_flagged) < 0:
            raise ValueError(f"0 or more is needed, got {self.propose = }, {self.verify = }, {self.retry_flagged = }")
        if self.repetition_penalty <= 0 or self.temperature < 0 or not 0 < self.top_p <= 1:
            raise ValueError(
                "repetition penalty is above 0, temperature 0 or more, top_p in (0, 1], "
                f"got {self.repetition_penalty = }, {self.temperature = }, {self.top_p = }"
            )


# settings that came later, and what they do when nobody asks for them
_LATER = {
    "grounding": "none", "levels": "", "propose": 0, "verify": 0, "retry_flagged": 0, "strip_openings": False,
    "rewrite": "none",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that decides what a label says. Labels with other settings are never mixed in silently."""

    task: Task
    scenes: SceneSettings
    frames: FrameSettings
    answers: AnswerSettings

    def to_json(self) -> str:
        values = asdict(self)
        for name, default in _LATER.items():  # as before there was such a setting: older labels can be added to
            if values["answers"][name] == default:
                del values["answers"][name]
        if self.frames.whisper is None:  # likewise
            del values["frames"]["whisper"], values["frames"]["whisper_fingerprint"]
        del values["frames"]["signals"]  # columns beside the labels, which keep their ids with and without them
        return json.dumps(values, sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Settings:
        values = json.loads(text)
        return cls(
            task=values["task"],
            scenes=SceneSettings(**values["scenes"]),
            frames=FrameSettings(**values["frames"]),
            answers=AnswerSettings(**values["answers"]),
        )

    @property
    def fingerprint(self) -> str:
        return _fingerprint(self)


@lru_cache(maxsize=8)  # asked for with every label
def _fingerprint(settings: Settings) -> str:
    return stable_id(settings.to_json())


def differences(mine: str, theirs: str) -> list[str]:
    """The settings that differ between two `Settings.to_json()` texts, as 'scenes.split: fixed, was none'.

    Works on the JSON, so that a file of an older version with other fields can still be compared.
    """

    def flat(values: Mapping[str, object], prefix: str = "") -> dict[str, object]:
        out: dict[str, object] = {}
        for key, value in values.items():
            if isinstance(value, Mapping):
                out |= flat(value, f"{prefix}{key}.")
            else:
                out[f"{prefix}{key}"] = value
        return out

    new, old = flat(json.loads(mine)), flat(json.loads(theirs))
    return [
        f"{key}: {new.get(key, 'absent')}, was {old.get(key, 'absent')}"
        for key in sorted(new.keys() | old.keys())
        if new.get(key, "absent") != old.get(key, "absent")
    ]


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a run may take. Not part of the fingerprint."""

    num_workers: int = 2
    seconds_per_video: float = 300.0  # for one stage in a decode worker, plus a second for each 2 MB of the file
    memory_mb: int = 4096  # a decode worker's data segment; beyond it the video fails
    engine: Engine = "slots"  # what decodes; both give the same answers in float32
    num_slots: int | None = None  # clips that the slot engine has in flight; None: as many as fit
    batch_size: int = 8  # answers that the generate captioner decodes at once
    compile_vision: bool = False  # a minute at the start, then a faster vision tower
    flush_seconds: float = 60.0  # parts are written at least this often
    max_attempts: int = 3  # runs that try a video whose failure might pass
    time_budget_seconds: float | None = None
    embeddings: bool = False  # keep what clips look like, beside the labels
