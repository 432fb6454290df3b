"""A set of `shapes` videos with true captions, questions and answers, in English, Chinese or both: to train on and to
examine with. `python -m vidlabel.train.shapes_set --scenes 2000 --language both --out DIR` writes

    videos/00000.mp4, 00000.vtt     one scene each, and what the voice says
    captions.jsonl                  video, instruction, caption, language
    questions.jsonl                 video, question, answer, kind, language
    tracks.jsonl                    video, instruction, caption: where one thing is in each frame
    pictures/00000.png, 00000.txt   one frame of each scene, and what is where on it
"""

from __future__ import annotations

import argparse
import json
import math
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Literal, NamedTuple, get_args

import numpy as np

from vidlabel.atomic import whole_file, write_whole
from vidlabel.train import shapes_text, shapes_text_zh
from vidlabel.train.shapes_draws import ANY_KIND, ATTRIBUTES, MOTIONS
from vidlabel.train.shapes_video import write_video
from vidlabel.train.shapes_world import Language, Scene, Stream, make_scene, render

Languages = Literal["en", "zh", "both"]
Row = dict[str, str]
MOMENTS = tuple((i + 0.5) / 8 for i in range(8))  # of the frames that `shapes` is shown


@dataclass(frozen=True, slots=True)
class SetPlan:
    """Which scenes, and how much is said of each."""

    stream: Stream = "train"
    first: int = 0
    num_scenes: int = 2000
    languages: Languages = "en"
    num_captions: int = 3
    num_questions: int = 6
    num_tracks: int = 2
    hard: bool = False  # more scenes with two things, more questions about what tells them apart and what they do
    max_fps: float = math.inf  # where few frames are looked at, writing and decoding the others is waste

    def __post_init__(self) -> None:
        if min(self.num_scenes, self.num_captions, self.num_questions, self.num_tracks) < 1:
            raise ValueError(f"a set has scenes, captions, questions and tracks, got {self}")
        if not self.max_fps > 0:
            raise ValueError(f"frames per second are above 0, got max_fps={self.max_fps}")

    def scene_number(self, position: int) -> int:
        """In hard sets every second scene gets another chance to have two things."""
        if not self.hard:
            return self.first + position
        number = self.first + 2 * position
        return number + (position % 2 == 1 and len(make_scene(self.stream, number).things) == 1)


class _Written(NamedTuple):
    captions: list[Row]
    questions: list[Row]
    tracks: list[Row]


def write_set(folder: Path, plan: SetPlan, *, num_workers: int = 1) -> None:
    """The same files every time. The .jsonl files come last: where they are, the set is whole."""
    for name in ("videos", "pictures"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(num_workers) as workers:
        written = list(workers.map(partial(_write, folder, plan), range(plan.num_scenes), chunksize=16))
    for name in _Written._fields:
        rows = (row for scene in written for row in getattr(scene, name))
        write_whole(folder / f"{name}.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def _write(folder: Path, plan: SetPlan, position: int) -> _Written:
    """One scene: its video, its picture, and its rows."""
    number = plan.scene_number(position)
    language = _language(plan.languages, position)
    scene = make_scene(plan.stream, number, wild_words=position % 4 == 0, language=language)
    random = np.random.default_rng((11, number))
    name = f"{number:05}"
    filmed = replace(scene, fps=min(scene.fps, plan.max_fps))
    write_video(folder / "videos" / f"{name}.mp4", [filmed], preset="veryfast")
    _write_picture(folder / "pictures" / name, scene, float(random.uniform(0, 1)), language)
    return _rows(plan, scene, {"video": f"videos/{name}.mp4", "language": language}, random)


def _rows(plan: SetPlan, scene: Scene, source: Row, random: np.random.Generator) -> _Written:
    teller = _teller(source["language"])
    captions = [teller.captions(scene, random) for _ in range(plan.num_captions)]
    tracks = [teller.track_question(scene, MOMENTS, random) for _ in range(plan.num_tracks)]
    questions: dict[str, Row] = {}  # a question is asked once
    while len(questions) < plan.num_questions:
        kinds = (ATTRIBUTES, MOTIONS, ANY_KIND)[len(questions) % 3] if plan.hard else ANY_KIND
        kind, (asked, answer) = teller.question_of_kind(scene, random, kinds)
        questions[asked] = {**source, "kind": kind, "question": asked, "answer": answer}
    return _Written(
        [{**source, "instruction": asked, "caption": caption} for asked, caption in captions],
        list(questions.values()),
        [{**source, "instruction": asked, "caption": places} for asked, places in tracks],
    )


def _teller(language: str) -> ModuleType:
    return shapes_text_zh if language == "zh" else shapes_text


def _language(languages: Languages, position: int) -> Language:
    if languages == "both":
        return "en" if position % 2 == 0 else "zh"
    return languages


def _write_picture(stem: Path, scene: Scene, share: float, language: Language) -> None:
    import cv2

    image = render(scene, [share], scene.width, scene.height)[0]
    with whole_file(stem.with_suffix(".png")) as beside:
        beside.write_bytes(cv2.imencode(".png", image[..., ::-1])[1].tobytes())
    write_whole(stem.with_suffix(".txt"), _teller(language).still_caption(scene, share) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--scenes", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0, help="number of the first scene")
    parser.add_argument("--stream", choices=get_args(Stream), default="train")
    parser.add_argument("--language", choices=get_args(Languages), default="en")
    parser.add_argument("--hard", action="store_true", help="more scenes with two things, more asked about them")
    parser.add_argument("--max-fps", type=float, default=math.inf, help="no video has more frames a second")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    plan = SetPlan(
        options.stream, options.first, options.scenes, options.language, hard=options.hard, max_fps=options.max_fps
    )
    write_set(options.out, plan, num_workers=options.workers)


if __name__ == "__main__":
    main()
