"""The reference's own choice of frames and placement of subtitles, faults included, for reproducing its numbers.

It takes its length from the container, never looks at the end of most clips, and may miss cues that overlap; the
default sampling in `frames` does better. Pure functions on numbers and texts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

ReferenceCue = tuple[int, int, str]  # first and last millisecond, text; in the file's order

_NTSC = 1000 / 1001
_NTSC_BASES = (23, 24, 25, 30, 50)


def reference_fps(fps: float) -> float:
    """A stream's base frame rate as the reference saw it: two decimals, and 29.97 taken for 30000/1001."""
    printed = round(fps * 100) / 100
    for base in _NTSC_BASES:
        if printed != base and abs(printed - base * _NTSC) < 0.01:
            return base * _NTSC
    return printed


def reference_interval(*, duration_seconds: float, fps: float, max_frames: int) -> int:
    """Every how many frames one is taken. `duration_seconds` is the container's, to be rounded to 1/100 s here."""
    duration = math.floor(duration_seconds * 100 + 0.5) / 100
    return int(int(duration * reference_fps(fps)) / max_frames) or 1


def reference_indices(*, duration_seconds: float, fps: float, num_decoded: int, max_frames: int) -> list[int]:
    """Indices, in decoding order, of the frames that the reference takes from a file with `num_decoded` frames.

    `duration_seconds` is the container's and `fps` the stream's base rate (`r_frame_rate`), both as they stand in the
    file.
    """
    if max_frames < 1 or fps <= 0:
        raise ValueError(f"at least one frame and a frame rate are needed, got {max_frames = }, {fps = }")
    interval = reference_interval(duration_seconds=duration_seconds, fps=fps, max_frames=max_frames)
    return list(range(0, num_decoded, interval))[:max_frames]


def reference_captions(
    indices: Sequence[int], cues: Sequence[ReferenceCue], *, fps: float, max_words: int
) -> list[str]:
    """The text behind `<Cap>` after each of those frames, "" for none; each text ends in a space as in the reference.

    A cue is looked up for every decoded frame. A text is shown once in the whole video. When more than `max_words`
    have been shown, no more are.
    """
    rate = reference_fps(fps)
    captions: list[str] = []
    shown: set[str] = set()
    pending, num_words, before = "", 0, -1
    for index in indices:
        for text in _new_texts(range(before + 1, index + 1), cues, rate, shown):
            pending += text + " "
        before = index
        if pending and num_words < max_words:
            captions.append(pending)
            num_words += len(pending.split(" "))
            pending = ""
        else:
            captions.append("")
    return captions


def reference_prompt(captions: Sequence[str], question: str) -> str:
    """The prompt of the reference's inference script, with `<ImageHere>` for each frame."""
    return f"<s>[INST] {reference_placeholders(captions)}\n{question} [/INST]"


def reference_placeholders(captions: Sequence[str]) -> str:
    """The part of that prompt that stands for the video."""
    return "".join("<Img><ImageHere>" + (f"<Cap>{caption}" if caption else "") for caption in captions)


def reference_milliseconds(seconds: float) -> int:
    """A cue's time as the reference reads it: cut off, so that 1.005 s is 1004 ms."""
    return int(seconds * 1000)


def _new_texts(frames: range, cues: Sequence[ReferenceCue], fps: float, shown: set[str]) -> Iterator[str]:
    for frame in frames:
        text = _find_cue(cues, 1000 * frame / fps)
        if text is not None and text not in shown:
            shown.add(text)
            yield text


def _find_cue(cues: Sequence[ReferenceCue], milliseconds: float) -> str | None:
    """Binary search in the file's order, both ends included: overlapping or unsorted cues may be missed."""
    low, high = 0, len(cues) - 1
    while low <= high:
        middle = (low + high) // 2
        start, end, text = cues[middle]
        if start <= milliseconds <= end:
            return text
        if milliseconds < start:
            high = middle - 1
        else:
            low = middle + 1
    return None
