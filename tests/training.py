"""A tiny model to train, and clips with captions and questions to train it on."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from typer.testing import CliRunner, Result

from tests.make_videos import Image, write_video
from tests.minigpt4_models import golden_config, golden_sources
from vidlabel.cli import app
from vidlabel.models.minigpt4_video.convert import convert
from vidlabel.models.sources_file import CHECKPOINT, write_sources

COLOURS = {"red": (220, 20, 20), "blue": (20, 20, 220), "green": (20, 200, 20), "white": (250, 250, 250)}
# small, quick and repeatable: what every test of a whole run begins with
QUICK = ("--frames", "2", "--workers", "0", "--device", "cpu", "--samples", "0", "--lora-dropout", "0", "--lr", "0.01")


def tiny_model(folder: Path, variant: str = "llama_small") -> Path:
    """One of our own folders: two layers, 56 pixels, an adapter of rank 8 beside it."""
    convert(golden_sources(variant), folder, golden_config(variant))
    return folder


def tiny_sources(folder: Path, variant: str = "llama_small") -> Path:
    """The same model as its original files, which lie elsewhere but for the checkpoint."""
    sources = golden_sources(variant)
    folder.mkdir()
    (folder / CHECKPOINT).write_bytes(sources.checkpoint.read_bytes())
    write_sources(folder, golden_config(variant), vision=sources.vision, language_model=sources.language_model)
    return folder


def colour_clips(folder: Path, count: int = 4, *, bad: int = 0) -> Path:
    """A manifest of clips of one colour each with a caption, a question and an answer; some are no videos at all."""
    folder.mkdir(exist_ok=True)
    names = list(COLOURS)
    rows = []
    for number in range(count):
        name = names[number % len(names)]
        write_video(folder / f"{number}-{name}.mp4", _plain(COLOURS[name]), fps=4)
        rows.append([f"{number}-{name}.mp4", f"It is {name}.", "Which colour is it?", f"{name}, of course."])
    for number in range(bad):
        (folder / f"bad{number}.mp4").write_bytes(b"no video" * 100)
        rows.append([f"bad{number}.mp4", "It is bad.", "What is it?", "Bad."])
    manifest = folder / "clips.csv"
    with manifest.open("w", newline="") as file:
        csv.writer(file).writerows([["video", "caption", "question", "answer"], *rows])
    return manifest


def train(stage: str, manifest: Path, start: Path, out: Path, *more: str) -> Result:
    return CliRunner().invoke(app, train_words(stage, manifest, start, out, *more))


def train_words(stage: str, manifest: Path, start: Path, out: Path, *more: str) -> list[str]:
    return ["train", stage, "--data", str(manifest), "--from", str(start), "--out", str(out), *QUICK, *more]


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "vidlabel", *words]


def _plain(rgb: tuple[int, int, int]) -> Iterator[Image]:
    for _ in range(4):
        image = np.empty((48, 64, 3), np.uint8)
        image[:] = rgb
        yield image
