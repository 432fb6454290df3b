"""Conversations of other trainers, and those that we export, are questions and answers again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.label_files import write_own
from tests.make_videos import noise_scene, write_video
from vidlabel.cli import app
from vidlabel.data import Span, Task
from vidlabel.errors import InputError
from vidlabel.train.examples import Example, ExampleTally
from vidlabel.train.reading import read_examples

LLAVA = [
    {
        "id": "0",
        "video": "v/a.mp4",
        "conversations": [
            {"from": "human", "value": "<image>\nWhat is it?"},
            {"from": "gpt", "value": "A dog."},
            {"from": "human", "value": "Where?"},
            {"from": "gpt", "value": "At home."},
        ],
    }
]
FACTORY = [
    {
        "messages": [
            {"role": "system", "content": "You see."},
            {"role": "user", "content": "<video>What is it?"},
            {"role": "assistant", "content": "A dog."},
        ],
        "videos": ["/data/a.mp4"],
    }
]
PARTS = [
    {
        "messages": [
            {"role": "user", "content": [{"type": "video"}, {"type": "text", "text": "What is it?"}]},
            {"role": "assistant", "content": [{"type": "text", "text": "A dog."}]},
        ],
        "videos": ["a.mp4"],
    }
]
PRETRAIN = [
    {
        "image": "00453/1.jpg",
        "conversations": [
            {"from": "human", "value": "Describe the image.\n<image>"},
            {"from": "gpt", "value": "A red ball."},
        ],
    }
]


def write(path: Path, entries: list[Any]) -> Path:
    lines = "".join(json.dumps(entry) + "\n" for entry in entries)
    path.write_text(lines if path.suffix == ".jsonl" else json.dumps(entries))
    return path


def read(path: Path, task: Task = "qa", **options: Any) -> list[Example]:
    return list(read_examples([path], task=task, **options))


@pytest.mark.parametrize("name", ["qa.json", "qa.jsonl"])
@pytest.mark.parametrize(
    ("entries", "path", "expected"),
    [
        (LLAVA, "v/a.mp4", [("What is it?", "A dog."), ("Where?", "At home.")]),
        (FACTORY, "/data/a.mp4", [("What is it?", "A dog.")]),
        (PARTS, "a.mp4", [("What is it?", "A dog.")]),
    ],
)
def test_each_question_and_answer_is_an_example(
    tmp_path: Path, name: str, entries: list[Any], path: str, expected: list[tuple[str, str]]
) -> None:
    examples = read(write(tmp_path / name, entries))
    assert [(e.question, e.answer) for e in examples] == expected
    assert {e.source for e in examples} == {str(tmp_path / path)}


def test_a_pictures_only_answer_is_its_caption_too(tmp_path: Path) -> None:
    file = write(tmp_path / "llava.json", PRETRAIN)
    (tmp_path / "images").mkdir()
    for task in ("caption", "qa"):
        (example,) = read(file, task, video_root=str(tmp_path / "images"))
        assert (example.question, example.answer) == ("Describe the image.", "A red ball.")
        assert example.image == str(tmp_path / "images/00453/1.jpg")


def test_what_shows_nothing_or_several_things_is_counted(tmp_path: Path) -> None:
    text = {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]}
    tally = ExampleTally()
    file = write(tmp_path / "mixed.json", [*LLAVA, text, {**text, "image": ["a.jpg", "b.jpg"]}])
    assert len(read(file, tally=tally)) == 2
    assert tally.left_out == {"show nothing": 1, "show several things at once": 1}
    assert "entry 2" in tally.reasons
    with pytest.raises(InputError, match=r"no captions in .*: 1 are conversations, not captions \(first: .*entry 1\)"):
        read(write(tmp_path / "llava.json", LLAVA), "caption")


@pytest.mark.parametrize(
    ("entries", "wrong"),
    [
        ([{"video": "a.mp4", "conversations": ["a"]}], "entry 1: should have a list of turns"),
        (
            [{"video": "a.mp4", "messages": [{"role": "user", "content": 7}]}],
            "entry 1: a turn should hold a text, got 7",
        ),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path: Path, entries: list[Any], wrong: str) -> None:
    with pytest.raises(InputError, match=wrong):
        read(write(tmp_path / "a.json", entries))


@pytest.mark.parametrize(
    ("form", "file"), [("llava-video", "qa.json"), ("qwen-vl", "qa.json"), ("conversations", "conversations.jsonl")]
)
def test_what_is_exported_is_read_again(tmp_path: Path, form: str, file: str) -> None:
    changes: list[dict[str, Any]] = [
        {
            "task": "qa",
            "caption": None,
            "question": f"What {n}?",
            "answer": f"A {n}.",
            "clip_id": "c",
            "video_path": "a.mp4",
        }
        | {"start_seconds": 0.0, "end_seconds": 1.0, "video_seconds": 2.0 if form == "conversations" else 1.0}
        for n in range(2)
    ]
    write_video(tmp_path / "a.mp4", noise_scene(25, (200, 60, 40), width=64, height=48, seed=1))
    labels = write_own(tmp_path / "labels.parquet", changes)
    words = ["export", str(labels), "--to", form, "--root", str(tmp_path), "--out", str(tmp_path / "out")]
    assert CliRunner().invoke(app, words).exit_code == 0
    root = str(tmp_path) if form == "conversations" else None
    examples = read(tmp_path / "out" / file, root=root)
    assert [(e.question, e.answer) for e in examples] == [("What 0?", "A 0."), ("What 1?", "A 1.")]
    assert all(Path(e.source).exists() for e in examples)
    if form == "conversations":
        assert all(e.video is not None and e.video.span == Span(0.0, 1.0) for e in examples)
