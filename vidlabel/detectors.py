"""From a stream of small pictures to the transitions between scenes: several detectors in one pass, their finds joined.

A flash is no cut: what a detector of sudden change reports counts only if the picture does not come back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from vidlabel.dissolves import DissolveFinder
from vidlabel.errors import InputError
from vidlabel.transitions import Thumbs, Transition

Image = npt.NDArray[np.uint8]  # (h, w, 3) BGR

JOIN_SECONDS = 0.3  # finds closer than this are one transition: nothing that short is a scene
MAX_CLUSTER_SECONDS = 2.0  # a stroboscope reports without end: judged in pieces
RETURNED = 0.4  # of the largest jump: a picture nearer than this to one before the jump is the same scene
THUMB_SIZE = (32, 18)  # width, height: blurs motion, which is what makes mixtures and returns plain to see
USUAL_FPS = 25.0  # where the file does not say
FPS_RANGE = (1.0, 120.0)  # some files claim 90000; it sets how much is remembered


# The library's own minimum scene length is switched off everywhere: it drops the second of two close cuts and keeps
# the first step of a flash as a cut. Closeness and flashes are judged here, the same way for every detector.
def _content() -> Any:
    from scenedetect.detectors import ContentDetector

    return ContentDetector(threshold=27.0, min_scene_len=0)  # colour and brightness of neighbouring frames


def _adaptive() -> Any:
    from scenedetect.detectors import AdaptiveDetector

    return AdaptiveDetector(adaptive_threshold=3.0, min_scene_len=0)  # the same, relative to the motion around it


def _histogram() -> Any:
    from scenedetect.detectors import HistogramDetector

    return HistogramDetector(threshold=0.2, min_scene_len=0)  # brightness distribution: blind to motion, sees wipes


def _hash() -> Any:
    from scenedetect.detectors import HashDetector

    return HashDetector(threshold=0.35, min_scene_len=0)  # coarse structure: blind to brightness and colour


def _threshold() -> Any:
    from scenedetect.detectors import ThresholdDetector

    return ThresholdDetector(threshold=12, min_scene_len=0)  # through black and back


@dataclass(frozen=True, slots=True)
class Detector:
    """`make` builds PySceneDetect's detector; None is our own (`dissolves.py`)."""

    make: Callable[[], Any] | None
    sudden: bool  # what it finds are jumps between two frames, so that a return to the old picture unmakes them


DETECTORS: dict[str, Detector] = {
    "content": Detector(_content, sudden=True),
    "adaptive": Detector(_adaptive, sudden=True),
    "histogram": Detector(_histogram, sudden=True),
    "hash": Detector(_hash, sudden=True),
    "threshold": Detector(_threshold, sudden=False),
    "dissolve": Detector(None, sudden=False),
}


def check_detectors(names: str) -> tuple[str, ...]:
    """The detectors in a comma-separated list; InputError names the one that does not exist."""
    chosen = tuple(name.strip() for name in names.split(","))
    for name in chosen:
        if name not in DETECTORS:
            raise InputError(f"--detector: no detector is called {name!r}; known are {', '.join(DETECTORS)}")
    if len(set(chosen)) < len(chosen):
        raise InputError(f"--detector: {names!r} names a detector twice")
    return chosen


def find_transitions(images: Iterable[Image], names: str, fps: float) -> list[Transition]:
    """The transitions in a stream of pictures, in order, apart, none at the very beginning or end.

    `fps` 0 where unknown. It only sets how many frames a window of time has; frame numbers are exact in any case.
    """
    usable_fps = min(max(fps, FPS_RANGE[0]), FPS_RANGE[1]) if fps > 0 else USUAL_FPS
    finder = _Finder(check_detectors(names), usable_fps)
    for image in images:
        finder.take(image)
    return finder.finish()


class _Finder:
    """What has to be remembered between pictures; of the pictures themselves only a few seconds of tiny ones."""

    def __init__(self, names: tuple[str, ...], fps: float) -> None:
        self._rate = Fraction(fps).limit_denominator(1001)
        self._join = int(JOIN_SECONDS * fps)
        self._patience = round(MAX_CLUSTER_SECONDS * fps) + self._join
        reach = max(self._patience + self._join + 2, DissolveFinder.reach(fps))
        self._shape: tuple[int, ...] | None = None
        self._thumbs = Thumbs(reach, THUMB_SIZE[0] * THUMB_SIZE[1] * 3)
        self._detectors = [(kind.make(), kind.sudden) for kind in map(DETECTORS.__getitem__, names) if kind.make]
        self._dissolves = DissolveFinder(self._thumbs, fps) if "dissolve" in names else None
        self._cluster: list[int] = []  # sudden finds not yet judged
        self._found: list[Transition] = []
        self._blanks: list[Transition] = []  # runs of black or white pictures

    def take(self, image: Image) -> None:
        import cv2
        from scenedetect import FrameTimecode

        self._shape = self._shape or image.shape
        if image.shape != self._shape:  # a stream may change its size; the library's detectors cannot compare those
            image = np.asarray(cv2.resize(image, self._shape[1::-1], interpolation=cv2.INTER_AREA), np.uint8)
        number = self._thumbs.count
        if self._cluster and (number - max(self._cluster) > self._join or number - min(self._cluster) > self._patience):
            self._settle()
        thumb = np.asarray(cv2.resize(image, THUMB_SIZE, interpolation=cv2.INTER_AREA), np.uint8)
        self._thumbs.take(thumb)
        if _is_blank(thumb):
            start = self._blanks.pop().start if self._blanks and self._blanks[-1].end == number else number
            self._blanks.append(Transition(start, number + 1))
        timecode = FrameTimecode(number, fps=self._rate)  # a plain counter: times are the caller's business
        for detector, sudden in self._detectors:
            for cut in detector.process_frame(timecode, image):
                if sudden:
                    self._cluster.append(cut.frame_num)
                else:
                    self._found.append(Transition(cut.frame_num, cut.frame_num))
        if self._dissolves:
            self._dissolves.look()

    def finish(self) -> list[Transition]:
        if self._cluster:
            self._settle()
        found = self._found + (self._dissolves.found() if self._dissolves else [])
        return join(found, self._blanks, gap=self._join, num_frames=self._thumbs.count)

    def _settle(self) -> None:
        cuts = sorted(set(self._cluster) - {0})
        self._cluster = []
        if not cuts:
            return
        count = self._thumbs.count
        first = max(0, cuts[0] - 1 - self._join, count - self._thumbs.reach)
        pictures = self._thumbs.between(first, min(cuts[-1] + self._join, count - 1))
        change = judge_cuts(pictures, [cut - first for cut in cuts])
        if change:
            self._found.append(Transition(first + change[0], first + change[1]))


def judge_cuts(pictures: npt.NDArray[np.float32], cuts: list[int]) -> tuple[int, int] | None:
    """What close jumps at `cuts` amount to: (start, end) of one transition, or None if the old picture comes back.

    Some pictures before the first jump and after the last are among `pictures`, to see whether one comes back.
    A flash just before or after a true cut is not part of the transition.
    """
    jump = max(_distance(pictures[cut], pictures[cut - 1]) for cut in cuts)
    returned = RETURNED * jump
    if any(_distance(old, new) <= returned for old in pictures[: cuts[0]] for new in pictures[cuts[-1] :]):
        return None
    before, after = pictures[cuts[0] - 1], pictures[min(cuts[-1] + 1, len(pictures) - 1)]
    start = max(cut for cut in cuts if _distance(pictures[cut - 1], before) <= returned)
    settled = (cut for cut in cuts if cut >= start and _distance(pictures[cut], after) <= returned)
    return start, min(settled, default=cuts[-1])


def _distance(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> float:
    return float(np.abs(one - other).mean())


def _is_blank(thumb: npt.NDArray[np.uint8]) -> bool:
    mean = float(thumb.mean())
    return (mean < 12 or mean > 243) and float(thumb.std()) < 4


def join(found: list[Transition], blanks: list[Transition], *, gap: int, num_frames: int) -> list[Transition]:
    """Finds that overlap, are closer than `gap` frames or have only blank pictures between them become one.

    Blank pictures that touch a transition belong to it. What has no scene before or after it is no transition.
    """
    pieces = sorted([(piece, True) for piece in found] + [(piece, False) for piece in blanks])
    joined: list[tuple[Transition, bool]] = []  # the transition, and whether it is more than blank pictures
    for piece, real in pieces:
        if joined:
            previous, was_real = joined[-1]
            # black is part of a fade that it is close to, a white flash close to a cut is not part of the cut
            gradual = (real and piece.start < piece.end) or (was_real and previous.start < previous.end)
            if piece.start - previous.end <= (gap if (real and was_real) or gradual else 0):
                joined[-1] = Transition(previous.start, max(previous.end, piece.end)), real or was_real
                continue
        joined.append((piece, real))
    apart: list[Transition] = []
    for piece in (piece for piece, real in joined if real):
        # blank pictures may have become part of a transition only after they were set apart from the one before
        if apart and piece.start - apart[-1].end <= gap:
            apart[-1] = Transition(apart[-1].start, max(apart[-1].end, piece.end))
        else:
            apart.append(piece)
    return [piece for piece in apart if piece.start > 0 and piece.end < num_frames]
