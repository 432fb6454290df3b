"""Videos with awkward names and labels with awkward texts, and the export command to run on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import av
import pyarrow as pa
import pyarrow.parquet as pq
from typer.testing import CliRunner

from tests.make_videos import numbered_frames, read_number, write_video
from vidlabel.cli import app

TEXTS = [
    "A dog runs.",
    'Commas, "quotes", and \'more\', all; in {one} [line] \\ of <b>text</b>: "".',
    "Two\nlines,\r\nthen\n\na third.",
    "Kept \u2028apart\u2029by\x85what\x0bsplits\x0clines\x1c.",
    "Emoji 🎬👩🏽\u200d🚀 and accents: é è ü e\u0301.",
    "一只狗在草地上跑。",
    "",
    "  space around  ",
    "None",
    "A <video> and an <image> tag - with a dash: and a colon.",
]
NAMES = [
    "a/clip.mp4",
    "b/clip.mp4",
    "with space/the, one.mp4",
    "test/train val.mp4",
    "测试/视频.mp4",
    "videos/videos.mp4",
    "-dash_.mp4",
    'quote\'s "x".mp4',
    "dots.in.name.mp4",
    "50%#?&.mp4",
]
NUM_FRAMES = 9


def make_videos(folder: Path) -> Path:
    """One small video a name; the first frame of each tells which it is."""
    for number, name in enumerate(NAMES):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_video(folder / name, numbered_frames(NUM_FRAMES, first=number * 20))
    return folder


def which(video: Path) -> int:
    """The number of a video, by its first frame."""
    with av.open(str(video)) as container:
        return read_number(next(container.decode(video=0)).to_ndarray(format="rgb24")) // 20


def row(number: int, **changes: Any) -> dict[str, Any]:
    """A caption of a whole video."""
    return {
        "clip_id": f"clip{number}",
        "video_path": NAMES[number],
        "start_seconds": 0.0,
        "end_seconds": NUM_FRAMES / 25,
        "task": "caption",
        "instruction": "Describe the video.",
        "caption": TEXTS[number],
        "question": None,
        "answer": None,
        "flags": [],
        "width": 64,
        "height": 48,
        "fps": 25.0,
        "video_seconds": NUM_FRAMES / 25,
        **changes,
    }


def question(number: int, asked: str, answer: str | None = None) -> dict[str, Any]:
    said = TEXTS[number] if answer is None else answer
    return row(number, task="qa", caption=None, question=asked, answer=said)


def write_labels(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    types = {"caption": pa.string(), "question": pa.string(), "answer": pa.string(), "flags": pa.list_(pa.string())}
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: pa.array([row.get(name) for row in rows], types.get(name)) for name in names}
    pq.write_table(pa.table(columns), path)
    return path


def run(*args: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["export", *map(str, args)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr
