"""The stage that listens: one worker process with Whisper in it, one pass a video, before its clips are sampled.

One process, because the model is large and a GPU does one thing at a time; a process, because sound files crash and
hang as pictures do. A video that cannot be listened to loses its subtitles and not its labels.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from vidlabel.config import FrameSettings, Limits
from vidlabel.data import Clip, Frames, Video
from vidlabel.errors import InputError, VideoError
from vidlabel.executors.workers import DecodeWorkers
from vidlabel.ledger import Planned
from vidlabel.models.speech import SpeechModel, resolve_speech
from vidlabel.pipeline import time_limit
from vidlabel.speech.cache import SpeechCache, speech_key
from vidlabel.speech.transcribing import Speech
from vidlabel.subtitles import cut_cues

logger = logging.getLogger(__name__)

LOAD_SECONDS = 600.0  # for the model, which a worker that was replaced loads again
SECONDS_PER_SECOND = 4.0  # of video: a slow core with a large model
GPU_MEMORY_MB = 16_384  # what a CUDA context may take of the process's own memory, on top
_LOADING = ""  # the key of the first call, and of no file


class SpeechStage:
    """To be used with `with`. Videos go in with what is planned for them, and come out when their speech is known."""

    def __init__(self, settings: FrameSettings, limits: Limits, cache: SpeechCache, *, device: str) -> None:
        assert settings.whisper is not None
        self._model = resolve_speech(settings.whisper)
        if self._model.fingerprint != settings.whisper_fingerprint:
            raise InputError(f"--whisper {settings.whisper}: its weights are not those that this run began with")
        self._limits = limits
        self._cache = cache
        self._device = device
        self._workers = DecodeWorkers[str](num_workers=1, memory_mb=_memory_mb(self._model, limits, device))
        # by key of a file that is being listened to: the videos (rows of a manifest) that wait for it
        self._waiting: dict[str, list[tuple[Video, list[Planned]]]] = {}
        # by key, of this run alone: not to be tried again for each of a file's spans
        self._written: set[str] = set()  # with subtitles
        self._unheard: set[str] = set()

    def __enter__(self) -> SpeechStage:
        self._workers.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._workers.__exit__(None, None, None)

    def __len__(self) -> int:
        """Videos that wait."""
        return sum(map(len, self._waiting.values()))

    def load(self) -> None:
        """The model, before any video and before the captioner plans with the memory that is left. InputError where it
        cannot be loaded: else a whole run would be labelled without it."""
        self._workers.submit(_LOADING, load, str(self._model.folder), self._device, seconds=LOAD_SECONDS)
        while not (finished := self._workers.finished(1.0)):
            pass
        _, outcome = finished[0]
        if isinstance(outcome, VideoError):
            raise InputError(f"--whisper {self._model.name}: {outcome.reason}")

    def add(self, video: Video, planned: list[Planned]) -> list[Planned]:
        """What can be sampled at once: all of it where nothing is to be heard, or it is known; else it comes later."""
        key = self._key(video)
        if not planned or key is None or self._is_settled(key):
            return planned
        if key not in self._waiting:
            seconds = self._seconds(planned[0][0])
            self._waiting[key] = []
            self._workers.submit(key, listen, video, str(self._model.folder), self._device, seconds=seconds)
        self._waiting[key].append((video, planned))
        return []

    def finished(self, wait_seconds: float) -> list[Planned]:
        """What has become ready, waiting at most so long for a first one."""
        ready: list[Planned] = []
        for key, outcome in self._workers.finished(wait_seconds):
            waiting = self._waiting.pop(key)
            if isinstance(outcome, VideoError):
                path = waiting[0][0].path
                logger.warning("%s: labelled without its speech, which cannot be heard: %s", path, outcome.reason)
                self._unheard.add(key)
            elif outcome is None:
                self._written.add(key)
            else:
                self._cache.put(key, outcome)
            for _, planned in waiting:
                ready += planned
        return ready

    def with_speech(self, clip: Clip, frames: Frames) -> Frames:
        """The frames with what is said in the clip, unless the video has subtitles."""
        if frames.subtitle_source not in ("none", "unreadable"):
            return frames
        key = self._key(clip.video)
        speech = None if key is None else self._cache.get(key)
        if key in self._unheard:
            return replace(frames, subtitle_source="unreadable")
        if speech is None or not speech.cues:
            return frames
        cues = cut_cues(speech.cues, clip.start_seconds, clip.end_seconds)
        return replace(frames, cues=cues, subtitle_source="speech", subtitle_language=speech.language)

    def _key(self, video: Video) -> str | None:
        return None if video.subtitle is not None else speech_key(video.location, self._model.fingerprint)

    def _is_settled(self, key: str) -> bool:
        return key in self._written or key in self._unheard or self._cache.get(key) is not None

    def _seconds(self, clip: Clip) -> float:
        try:
            base = time_limit(clip.video.location, self._limits.seconds_per_video)
        except OSError:  # gone just now: opening it will say so
            base = self._limits.seconds_per_video
        return LOAD_SECONDS + base + SECONDS_PER_SECOND * clip.info.video_seconds


def load(folder: str, device: str) -> None:
    """In the worker."""
    from vidlabel.speech.transcribing import loaded

    try:
        loaded(folder, device)
    except InputError as error:
        raise VideoError(str(error)) from error  # the one kind that crosses as it is


def listen(video: Video, folder: str, device: str) -> Speech | None:
    """In the worker: what is said in the video; None where it has subtitles, which come first."""
    from vidlabel.speech.transcribing import loaded, transcribe
    from vidlabel.subtitles import find_cues

    if find_cues(video)[1] not in ("none", "unreadable"):
        return None
    return transcribe(video.location, loaded(folder, device))


def _memory_mb(model: SpeechModel, limits: Limits, device: str) -> int:
    """As for a decode worker, and the weights: twice, since half precision may become single."""
    return limits.memory_mb + 2 * model.megabytes + (0 if device == "cpu" else GPU_MEMORY_MB)
