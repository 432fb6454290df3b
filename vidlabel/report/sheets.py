"""Contact sheets: a few frames of a clip in one small picture, made in decode workers and kept for the next time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vidlabel.atomic import whole_file
from vidlabel.config import Limits
from vidlabel.data import stable_id
from vidlabel.errors import VideoError
from vidlabel.executors.workers import DecodeWorkers
from vidlabel.pipeline import time_limit

NUM_FRAMES = 6
_BOX = (176, 132)  # a frame fits into this
_QUALITY = 62


@dataclass(frozen=True, slots=True)
class Strip:
    """A part of a file to be shown; without an end, to the end of the video."""

    location: str
    start_seconds: float = 0.0
    end_seconds: float | None = None


class SheetCache:
    """Pictures in a folder, under names that change with the file and the span."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, strip: Strip) -> bytes | None:
        path = self._path(strip)
        return path.read_bytes() if path is not None and path.exists() else None

    def put(self, strip: Strip, sheet: bytes) -> None:
        if (path := self._path(strip)) is not None:
            self._folder.mkdir(exist_ok=True)
            with whole_file(path) as beside:
                beside.write_bytes(sheet)

    def _path(self, strip: Strip) -> Path | None:
        try:
            state = Path(strip.location).stat()
        except OSError:
            return None
        span = f"{strip.start_seconds!r} {strip.end_seconds!r}"
        made = f"{NUM_FRAMES} {_BOX} {_QUALITY}"
        key = stable_id(strip.location, str(state.st_size), str(state.st_mtime_ns), span, made)
        return self._folder / f"{key}.webp"


def make_sheets(strips: Sequence[Strip], cache: SheetCache, limits: Limits) -> Iterator[tuple[int, bytes | VideoError]]:
    """For each strip by its number, in any order: its picture, or why there is none."""
    todo: deque[int] = deque()
    for number, strip in enumerate(strips):
        sheet = cache.get(strip)
        if sheet is None:
            todo.append(number)
        else:
            yield number, sheet
    if not todo:
        return
    workers: DecodeWorkers[int] = DecodeWorkers(num_workers=limits.num_workers, memory_mb=limits.memory_mb)
    with workers:
        while todo or len(workers):
            while todo and len(workers) < 2 * limits.num_workers:
                number = todo.popleft()
                refused = submit(workers, number, strips[number], limits)
                if refused is not None:
                    yield number, refused
            for number, outcome in workers.finished(1.0) if len(workers) else []:
                if isinstance(outcome, bytes):
                    cache.put(strips[number], outcome)
                yield number, outcome


def submit(workers: DecodeWorkers[int], number: int, strip: Strip, limits: Limits) -> VideoError | None:
    """None when it is under way."""
    try:
        seconds = time_limit(strip.location, limits.seconds_per_video)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        return VideoError(f"cannot be opened: {reason}")
    workers.submit(number, draw_sheet, strip, seconds=seconds)
    return None


def draw_sheet(strip: Strip) -> bytes:
    """In a worker: frames from the middles of equal parts of the span, side by side, as WebP."""
    import cv2
    import numpy as np

    from vidlabel.decoders import Damage, decode_span, probe
    from vidlabel.picking import even_targets, nearest

    end = strip.end_seconds if strip.end_seconds is not None else probe(strip.location).video_seconds
    if end <= strip.start_seconds:
        raise VideoError(f"a clip from {strip.start_seconds:g} to {end:g} s has no length")
    damage = Damage()
    frames = decode_span(strip.location, start_seconds=strip.start_seconds, end_seconds=end, damage=damage)
    small = []
    for frame, times in nearest(frames, even_targets(strip.start_seconds, end, NUM_FRAMES)):
        if times:
            image = frame.rgb()
            scale = min(_BOX[0] / image.shape[1], _BOX[1] / image.shape[0])
            size = (max(2, round(image.shape[1] * scale)), max(2, round(image.shape[0] * scale)))
            small += [cv2.resize(image, size, interpolation=cv2.INTER_AREA)] * times
    if not small:
        raise VideoError(f"no frame could be decoded{f' ({damage.reason})' if damage.reason else ''}")
    first = small[0].shape
    alike = [image if image.shape == first else cv2.resize(image, (first[1], first[0])) for image in small]
    alike += [alike[-1]] * (NUM_FRAMES - len(alike))  # the file breaks off: its last frame again
    columns = NUM_FRAMES // 2 if first[1] >= first[0] else NUM_FRAMES
    alike = [cv2.copyMakeBorder(image, 1, 1, 1, 1, cv2.BORDER_CONSTANT) for image in alike]  # black between frames
    rows = [np.concatenate(alike[at : at + columns], axis=1) for at in range(0, NUM_FRAMES, columns)]
    picture = cv2.cvtColor(np.concatenate(rows, axis=0), cv2.COLOR_RGB2BGR)
    done, coded = cv2.imencode(".webp", picture, [cv2.IMWRITE_WEBP_QUALITY, _QUALITY])
    assert done, "OpenCV writes WebP"
    return bytes(coded)
