"""Small whole runs with the echo model, for tests of the flow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq

from tests.make_videos import noise_scene, write_video
from vidlabel.captioner import Captioner, EchoCaptioner
from vidlabel.config import AnswerSettings, FrameSettings, Limits, SceneSettings, Settings
from vidlabel.manifest import read_inputs
from vidlabel.outputs import parse_output
from vidlabel.pipeline import default_stages
from vidlabel.prompts import load_pool
from vidlabel.run import Job, run
from vidlabel.summary import Summary

POOL = load_pool("caption")


def echo_settings(**answers: object) -> Settings:
    asked = AnswerSettings(model="echo", model_fingerprint="echo", pool=POOL.name, pool_fingerprint=POOL.fingerprint)
    return Settings(
        task="caption",
        scenes=SceneSettings(),
        frames=FrameSettings(num_frames=4, image_size=32),
        answers=replace(asked, **answers),  # type: ignore[arg-type]
    )


def job(out: Path, *, captioner: Captioner | None = None, limits: Limits | None = None, **changes: object) -> Job:
    made = Job(
        output=parse_output(out),
        settings=echo_settings(),
        limits=limits or Limits(num_workers=2, batch_size=2, flush_seconds=0.2),
        pools=(POOL,),
        stages=default_stages(),
        load_captioner=lambda: captioner or EchoCaptioner(),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def label(inputs: Path | Sequence[Path], made: Job) -> Summary:
    paths = [inputs] if isinstance(inputs, Path) else inputs
    return run(read_inputs([str(path) for path in paths], root=None, lines=None), made)


def rows(out: Path) -> list[dict[str, object]]:
    return list(pq.read_table(out).to_pylist())


def label_ids(out: Path) -> set[str]:
    ids = [str(row["label_id"]) for row in rows(out)]
    assert len(ids) == len(set(ids)), "a label is there twice"
    return set(ids)


def two_scenes(path: Path, seed: int) -> Path:
    """2 x 1.2 s with a hard cut between."""
    first = noise_scene(30, (200, 60, 40), width=64, height=48, seed=seed)
    second = noise_scene(30, (30, 80, 210), width=64, height=48, seed=seed + 1000)
    return write_video(path, first + second)


def folder_of_videos(folder: Path, count: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        two_scenes(folder / f"video{number:03}.mp4", number)
    return folder
