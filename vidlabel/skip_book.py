"""Who is left out in this run: asks the selection, remembers what it said, and counts."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from vidlabel.data import Clip, Frames, Video
from vidlabel.parts import PartSaver
from vidlabel.plan import failed_id
from vidlabel.selection import Rejection, Selection
from vidlabel.skips import Skip, Skipped


class SkipBook:
    """Of one run. Nothing is asked twice of a clip whose answer an earlier run has recorded."""

    def __init__(self, selection: Selection, skipped: Skipped, writer: PartSaver[Skip], fingerprint: str) -> None:
        self.selection = selection
        self._skipped = skipped
        self._writer = writer
        self._fingerprint = fingerprint  # of the settings
        self.reasons: Counter[str] = Counter()  # part of the condition -> clips, and videos where none is known

    @property
    def num_skipped(self) -> int:
        return self.reasons.total()

    def skips_video(self, video: Video, rejection: Rejection) -> None:
        self._add(Skip(video, self._key(video), rejection, clip_id=None if video.span is None else failed_id(video)))

    def skips_clip(self, clip: Clip) -> bool:
        """Before its frames are read."""
        if self.selection.where is None:
            return False
        if self._skipped.has(clip.clip_id, self._key(clip.video)):
            return True
        rejection = self.selection.reject_clip(clip)
        if rejection is not None:
            self._add(Skip(clip.video, self._key(clip.video), rejection, clip=clip))
        return rejection is not None

    def skips_frames(self, clip: Clip, frames: Frames) -> bool:
        """With what was measured."""
        rejection = self.selection.reject_frames(clip, frames.signals)
        if rejection is not None:
            self._add(Skip(clip.video, self._key(clip.video), rejection, clip=clip, signals=frames.signals))
        return rejection is not None

    def finished(self, video: Video) -> None:
        """All of its clips are decided: what was left out for another condition is so no more."""
        key = self._key(video)
        if self._skipped.is_stale(video.video_id, key):
            self._writer.add(Skip(video, key, clip_id=None if video.span is None else failed_id(video)))

    def _key(self, video: Video) -> str:
        return self.selection.key(video, self._fingerprint)

    def _add(self, skip: Skip) -> None:
        assert skip.rejection is not None
        self.reasons[skip.rejection.part] += 1
        self._writer.add(replace(skip, where=self.selection.text))
