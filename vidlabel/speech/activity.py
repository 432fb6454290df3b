"""Where is there speech? Silero VAD listens to every 32 ms; what it takes for speech is cut into stretches that Whisper
can hear at once. Silence, noise and music give none.

The voice model is a small network that ships inside the package `silero-vad`; onnxruntime runs it, 200 times faster
than the sound plays on one core. Memory does not grow with the length of the sound.
"""

from __future__ import annotations

import importlib.util
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vidlabel.decoders.sound import SAMPLE_RATE, SoundBlock
from vidlabel.errors import InputError

if TYPE_CHECKING:
    import numpy.typing as npt

FRAME_SAMPLES = 512  # what the voice model takes
FRAME_SECONDS = FRAME_SAMPLES / SAMPLE_RATE
_CONTEXT_SAMPLES = 64  # of the frame before, that it wants to see again
_MODEL = "data/silero_vad_16k_op15.onnx"

START_SPEECH, KEEP_SPEECH = 0.5, 0.35  # probabilities: to begin, and to go on
PAD_FRAMES = 7  # 0.2 s before and after, for soft consonants
PAUSE_FRAMES = round(2.0 / FRAME_SECONDS)  # a longer pause ends a stretch
MIN_SPEECH_FRAMES = round(0.25 / FRAME_SECONDS)  # less is a cough or a chord
MAX_FRAMES = round(28.0 / FRAME_SECONDS)  # Whisper hears 30 s
CUT_FRAMES = round(10.0 / FRAME_SECONDS)  # one that is too long is cut at the quietest place of its last so many


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """A part of the sound with speech in it, at most 28 s."""

    start_seconds: float
    samples: npt.NDArray[np.float32]
    is_speech: npt.NDArray[np.bool_]  # one a frame

    @property
    def seconds(self) -> float:
        return len(self.samples) / SAMPLE_RATE

    def speech_seconds(self, start_seconds: float, end_seconds: float) -> float:
        """How much of a span, counted from the start of the stretch, is speech."""
        first, last = int(start_seconds / FRAME_SECONDS), int(np.ceil(end_seconds / FRAME_SECONDS))
        return float(self.is_speech[max(0, first) : last].sum()) * FRAME_SECONDS


@dataclass(frozen=True, slots=True, eq=False)
class _Frame:
    seconds: float
    samples: npt.NDArray[np.float32]
    probability: float
    follows: bool


@dataclass(slots=True)
class _Open:
    """A stretch that has begun."""

    frames: list[_Frame]
    is_speech: list[bool]

    @property
    def num_silent(self) -> int:
        """Frames since the last speech."""
        return next((count for count, speech in enumerate(reversed(self.is_speech)) if speech), len(self.is_speech))

    def cut(self, at: int) -> _Open:
        """What comes from frame `at` on; this keeps what is before."""
        rest = _Open(self.frames[at:], self.is_speech[at:])
        del self.frames[at:], self.is_speech[at:]
        return rest

    def quietest(self) -> int:
        """Where to cut one that is too long."""
        first = len(self.frames) - CUT_FRAMES
        return first + int(np.argmin([frame.probability for frame in self.frames[first:]]))

    def stretch(self) -> Stretch | None:
        if sum(self.is_speech) < MIN_SPEECH_FRAMES:
            return None
        end = len(self.frames) - max(0, self.num_silent - PAD_FRAMES)
        samples = np.concatenate([frame.samples for frame in self.frames[:end]])
        return Stretch(self.frames[0].seconds, samples, np.array(self.is_speech[:end]))


def check_installed() -> None:
    """Whether what listens for voices is there: found before any work starts."""
    for package, module in (("silero-vad", "silero_vad"), ("onnxruntime", "onnxruntime")):
        if importlib.util.find_spec(module) is None:
            raise InputError(f"--subtitles whisper needs {package}: pip install 'vidlabel[whisper]'")


def speech_stretches(blocks: Iterable[SoundBlock]) -> Iterator[Stretch]:
    """The stretches of the sound that hold speech, in order, not overlapping."""
    opened: _Open | None = None
    before: deque[_Frame] = deque(maxlen=PAD_FRAMES)
    for frame in _heard(blocks):
        if not frame.follows:
            yield from _closed(opened)
            opened = None
            before.clear()
        was_speech = opened is not None and opened.num_silent == 0
        is_speech = frame.probability >= (KEEP_SPEECH if was_speech else START_SPEECH)
        if opened is None:
            if not is_speech:
                before.append(frame)
                continue
            opened = _Open([*before], [False] * len(before))
            before.clear()
        opened.frames.append(frame)
        opened.is_speech.append(is_speech)
        if opened.num_silent > PAUSE_FRAMES:
            before.extend(opened.cut(len(opened.frames) - PAUSE_FRAMES + PAD_FRAMES).frames)
            yield from _closed(opened)
            opened = None
        elif len(opened.frames) >= MAX_FRAMES:
            rest = opened.cut(opened.quietest())
            yield from _closed(opened)
            opened = rest if any(rest.is_speech) else None
            if opened is None:
                before.extend(rest.frames)
    yield from _closed(opened)


def _closed(opened: _Open | None) -> Iterator[Stretch]:
    stretch = opened.stretch() if opened is not None else None
    if stretch is not None:
        yield stretch


def _heard(blocks: Iterable[SoundBlock]) -> Iterator[_Frame]:
    """Frames of 512 samples, each with the probability that someone speaks."""
    voice = _Voice()
    left = np.zeros(0, np.float32)
    seconds, follows = 0.0, False
    for block in blocks:
        if not block.follows:
            voice, left, follows = _Voice(), left[:0], False
            seconds = block.start_seconds
        samples = np.concatenate([left, block.samples])
        whole = len(samples) // FRAME_SAMPLES * FRAME_SAMPLES
        for start in range(0, whole, FRAME_SAMPLES):
            piece = samples[start : start + FRAME_SAMPLES]
            yield _Frame(seconds, piece, voice.probability(piece), follows)
            seconds += FRAME_SECONDS
            follows = True
        left = samples[whole:]


@lru_cache(maxsize=1)
def _session() -> Any:
    check_installed()
    import onnxruntime

    spec = importlib.util.find_spec("silero_vad")  # not imported: that would set torch's number of threads
    assert spec is not None
    assert spec.submodule_search_locations
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    model = Path(spec.submodule_search_locations[0]) / _MODEL
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


@dataclass(slots=True)
class _Voice:
    """The voice model's memory of what came before."""

    session: Any = field(default_factory=_session)
    state: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros((2, 1, 128), np.float32))
    context: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros(_CONTEXT_SAMPLES, np.float32))

    def probability(self, samples: npt.NDArray[np.float32]) -> float:
        heard = np.concatenate([self.context, samples])[None]
        values = {"input": heard, "state": self.state, "sr": np.array(SAMPLE_RATE, np.int64)}
        output, self.state = self.session.run(None, values)
        self.context = samples[-_CONTEXT_SAMPLES:]
        return float(output[0, 0])
