"""The Captioner seam, and the captioner that needs no weights.

A captioner pulls clips when it has room and yields answers in whatever order they finish. Each answer carries its
clip id and question; the run joins by those and never by position.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from vidlabel.data import Answer, AskedClip
from vidlabel.embedding import colour_features


class Captioner(Protocol):
    """Answers every question of every clip exactly once, in any order, streaming.

    It reports a clip it can never answer (too long, say) with `Answer.error` and goes on; it raises only when it
    cannot go on at all.
    """

    def answer(self, clips: Iterable[AskedClip]) -> Iterator[Answer]: ...


class Feed(Protocol):
    """Clips that come as they are decoded. A captioner with other work to do asks first whether it would wait."""

    def __iter__(self) -> Iterator[AskedClip]: ...

    def would_wait(self) -> bool:
        """Whether the next clip is still to be decoded, so that pulling it would block."""
        ...


class EchoCaptioner:
    """Says back what it was given: for trying a pipeline, its speed and its plumbing without weights. Its embedding,
    where that is asked for, is the colours of a clip in 8 x 8 places."""

    def __init__(self, *, embeddings: bool = False) -> None:
        self._embeddings = embeddings

    def answer(self, clips: Iterable[AskedClip]) -> Iterator[Answer]:
        for asked in clips:
            clip, frames = asked.clip, asked.frames
            num_frames, height, width, _ = frames.images.shape
            spoken = " ".join(cue.text for cue in frames.cues)
            # of every 64th pixel: a mean of all of them would cost a sixth of what decoding them costs
            red, green, blue = (round(float(level)) for level in frames.images[:, ::8, ::8].mean(axis=(0, 1, 2)))
            seen = (
                f"echo of clip {clip.clip_id}, {clip.start_seconds:.3f} to {clip.end_seconds:.3f} s "
                f"of {clip.video.path}: {num_frames} frames of {width}x{height}, mean colour {red} {green} {blue}"
            )
            features = colour_features(frames.images, frames.pts_seconds) if self._embeddings else None
            for question in asked.questions:
                text = f"{question.text} | {seen}" + (f", subtitles: {spoken}" if spoken else "")
                if not question.sees_video:  # the text that it is told to work on stands behind the first line
                    text = question.text.partition("\n")[2].partition("\n\n")[0]
                yield Answer(
                    clip_id=clip.clip_id,
                    question=question,
                    text=text,
                    num_tokens=len(text.split()),
                    num_frames=num_frames,
                    num_subtitle_words=len(spoken.split()),
                    features=features if question.sees_video else None,
                )
