"""A set of `shapes` videos with true captions, questions and answers, in English, Chinese or both: to train on and to
examine with. `python -m vidlabel.train.shapes_set --scenes 2000 --language both --out DIR` writes

    videos/00000.mp4, 00000.vtt     one scene each, and what the voice says
    captions.jsonl                  video, instruction, caption, language
    questions.jsonl                 video, question, answer, kind, language
    pictures/00000.png, 00000.txt   one frame of each scene, and what is on it
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from vidlabel.atomic import whole_file, write_whole
from vidlabel.train import shapes_text, shapes_text_zh
from vidlabel.train.shapes_video import write_video
from vidlabel.train.shapes_world import Language, Scene, Stream, make_scene, render

Languages = Literal["en", "zh", "both"]
Row = dict[str, str]


@dataclass(frozen=True, slots=True)
class SetPlan:
    """Which scenes, and how much is said of each."""

    stream: Stream = "train"
    first: int = 0
    num_scenes: int = 2000
    languages: Languages = "en"
    num_captions: int = 2
    num_questions: int = 6

    def __post_init__(self) -> None:
        if min(self.num_scenes, self.num_captions, self.num_questions) < 1:
            raise ValueError(f"a set has scenes, captions and questions, got {self}")


@dataclass(frozen=True, slots=True)
class _Written:
    captions: tuple[Row, ...]
    questions: tuple[Row, ...]


def write_set(folder: Path, plan: SetPlan, *, num_workers: int = 1) -> None:
    """The same files every time. The two .jsonl files come last: where they are, the set is whole."""
    for name in ("videos", "pictures"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    numbers = range(plan.first, plan.first + plan.num_scenes)
    with ProcessPoolExecutor(num_workers) as workers:
        written = list(workers.map(partial(_write, folder, plan), numbers, chunksize=16))
    _write_lines(folder / "captions.jsonl", (row for scene in written for row in scene.captions))
    _write_lines(folder / "questions.jsonl", (row for scene in written for row in scene.questions))


def still_caption(scene: Scene, share: float, language: Language) -> str:
    """What one frame shows."""
    shown = [thing for thing in scene.things if thing.is_shown(share)]
    if language == "zh":
        names = [f"一个{shapes_text_zh.COLOUR_WORDS[t.colour]}的{shapes_text_zh.SHAPE_WORDS[t.shape]}" for t in shown]
        return ("，".join(names) or "什么也没有") + "。"
    names = [f"{'an' if thing.colour == 'orange' else 'a'} {thing.colour} {thing.shape}" for thing in shown]
    text = " and ".join(names) or "nothing"
    return text[0].upper() + text[1:] + "."


def _write(folder: Path, plan: SetPlan, number: int) -> _Written:
    """One scene: its video, its picture, and its rows."""
    language = _language(plan.languages, number)
    scene = make_scene(plan.stream, number, wild_words=number % 4 == 0, language=language)
    random = np.random.default_rng((11, number))
    name = f"{number:05}"
    write_video(folder / "videos" / f"{name}.mp4", [scene])
    share = float(random.uniform(0, 1))
    _write_picture(folder / "pictures" / f"{name}.png", scene, share)
    write_whole(folder / "pictures" / f"{name}.txt", still_caption(scene, share, language) + "\n")
    source = {"video": f"videos/{name}.mp4", "language": language}
    teller = shapes_text_zh if language == "zh" else shapes_text
    captions = [teller.captions(scene, random) for _ in range(plan.num_captions)]
    questions: dict[str, Row] = {}  # a question is asked once
    while len(questions) < plan.num_questions:
        kind, (asked, answer) = teller.question_of_kind(scene, random)
        questions[asked] = {**source, "kind": kind, "question": asked, "answer": answer}
    return _Written(
        tuple({**source, "instruction": asked, "caption": caption} for asked, caption in captions),
        tuple(questions.values()),
    )


def _language(languages: Languages, number: int) -> Language:
    if languages == "both":
        return "en" if number % 2 == 0 else "zh"
    return languages


def _write_picture(path: Path, scene: Scene, share: float) -> None:
    import cv2

    image = render(scene, [share], scene.width, scene.height)[0]
    with whole_file(path) as beside:
        beside.write_bytes(cv2.imencode(".png", image[..., ::-1])[1].tobytes())


def _write_lines(path: Path, rows: Iterable[Row]) -> None:
    write_whole(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--scenes", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0, help="number of the first scene")
    parser.add_argument("--stream", choices=get_args(Stream), default="train")
    parser.add_argument("--language", choices=get_args(Languages), default="en")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    plan = SetPlan(options.stream, options.first, options.scenes, options.language)
    write_set(options.out, plan, num_workers=options.workers)


if __name__ == "__main__":
    main()
