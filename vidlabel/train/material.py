"""The examples of a training, in memory: to learn from, and to be evaluated on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vidlabel.config import FrameSettings
from vidlabel.data import stable_id
from vidlabel.prompts import Pool, load_pool
from vidlabel.train.dataset import check_pool
from vidlabel.train.examples import Example
from vidlabel.train.options import Place, TrainOptions
from vidlabel.train.reading import read_examples
from vidlabel.train.settings import TrainSettings, to_values
from vidlabel.train.splitting import apart, split_off
from vidlabel.train.starting import Beginning


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """The examples, and what they need."""

    train: list[Example]
    evaluation: list[Example]
    pool: Pool | None

    @property
    def digest(self) -> str:
        parts = (f"{one.example_id}\x1f{one.question}\x1f{one.answer}" for one in (*self.train, *self.evaluation))
        return stable_id(str(len(self.train)), *parts)


def read_material(settings: TrainSettings, options: TrainOptions) -> Material:
    examples = list(_read(settings, options, options.data, options.caption_data))
    evaluation: list[Example] = []
    if options.eval_data:
        evaluation = list(_read(settings, options, options.eval_data, ()))
        examples = apart(examples, evaluation)
    elif options.eval_share is not None:
        examples, evaluation = split_off(examples, options.eval_share)
    pool = None
    if any(example.question is None for example in (*examples, *evaluation)):
        pool = load_pool(settings.pool)
        check_pool(pool, [*examples, *evaluation])
    return Material(examples, evaluation, pool)


def _read(
    settings: TrainSettings, options: TrainOptions, data: tuple[str, ...], captions: tuple[str, ...]
) -> Iterator[Example]:
    reading: dict[str, Any] = {
        "root": options.root,
        "video_root": options.video_root,
        "manifest_format": options.manifest_format,
        "text_column": options.text_column,
        "keep_flagged": options.keep_flagged,
    }
    yield from read_examples(data, task="qa" if settings.stage == "instruct" else "caption", **reading)
    if captions:
        yield from read_examples(captions, task="caption", **reading)


def frame_settings(settings: TrainSettings, *, num_frames: int, image_size: int) -> FrameSettings:
    """Single frames to align with: of a video the one in its middle."""
    count = settings.frames or (1 if settings.stage == "align" else num_frames)
    subtitles = settings.subtitles and settings.stage != "align"
    return FrameSettings(count, image_size, subtitles="auto" if subtitles else "none")


def settings_record(
    settings: TrainSettings, beginning: Beginning, material: Material, place: Place, *, dtype: str
) -> Mapping[str, object]:
    """What a run that goes on must have in common with the one before."""
    return {
        **to_values(settings),
        "dtype": dtype,
        "begins_with": beginning.fingerprint,
        "examples": material.digest,
        "pool": None if material.pool is None else material.pool.fingerprint,
        "num_processes": place.num_processes,
    }
