"""The exam of a `shapes` model: held-out scenes as real video files, through the real decoder, prompts and captioner.

Used by `benchmarks/shapes.py` and by the tests; nothing is drawn straight into the model.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vidlabel.config import AnswerSettings, FrameSettings, SceneSettings
from vidlabel.data import Answer, AskedClip, Question, Video
from vidlabel.engine.captioner import EngineCaptioner
from vidlabel.frames import sample_frames
from vidlabel.models.minigpt4_video.loading import load_model
from vidlabel.prompts import choose, load_pool
from vidlabel.scenes import find_clips
from vidlabel.train.shapes_score import score_answer, score_caption
from vidlabel.train.shapes_text import question_of_kind
from vidlabel.train.shapes_video import write_video
from vidlabel.train.shapes_world import Scene, make_scene

POOLS = (("caption", "en"), ("caption", "zh"), ("caption-short", "en"), ("caption-detailed", "en"))
NUM_QUESTIONS = 3  # a clip


@dataclass(frozen=True, slots=True)
class Result:
    """Shares that are right, by what was asked and what was looked at, and every wrong answer in words."""

    shares: Mapping[str, Mapping[str, float]]
    question_kinds: Mapping[
        str, tuple[int, int]
    ]  # of each kind of question: how many are right, and how many there were
    mistakes: Sequence[str]

    @property
    def worst(self) -> float:
        return min(share for row in self.shares.values() for share in row.values())

    @property
    def worst_kind(self) -> float:
        """The lowest share among the kinds of questions."""
        return min(num_right / num for num_right, num in self.question_kinds.values())


@dataclass(slots=True)
class _Marks:
    right: dict[str, dict[str, list[bool]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    by_kind: dict[str, list[bool]] = field(default_factory=lambda: defaultdict(list))
    mistakes: list[str] = field(default_factory=list)

    def add(self, group: str, scores: Mapping[str, bool], said: str) -> None:
        for name, right in scores.items():
            self.right[group][name].append(right)
        if not all(scores.values()):
            self.mistakes.append(f"{group}: {', '.join(name for name in scores if not scores[name])}: {said}")


def examine(weights: Path, scratch: Path, *, num_scenes: int, first: int = 0) -> Result:
    """Writes the videos into `scratch` and asks about each. The settings are those of a run without options."""
    model, tokenizer = load_model(weights)
    settings = AnswerSettings(model=str(weights), model_fingerprint="", pool="", pool_fingerprint="")
    captioner = EngineCaptioner(model, tokenizer, settings)
    frames = FrameSettings(num_frames=model.config.num_frames, image_size=model.config.vision.image_size)
    scenes = {str(number): make_scene("held-out", number) for number in range(first, first + num_scenes)}
    expected: dict[str, tuple[str, str]] = {}  # kind and answer, by clip and question

    def asked_clips() -> Iterator[AskedClip]:
        for name, scene in scenes.items():
            questions = _questions(scene, int(name))
            expected.update({name + asked: wanted for asked, wanted in questions.items()})
            yield _film(scene, scratch / f"{name}.mp4", list(questions), frames)

    marks = _Marks()
    for answer in captioner.answer(asked_clips()):
        name = answer.clip_id.partition("-")[0]  # of video and span
        _mark(marks, answer, scenes[name], expected.get(name + answer.question.text, ("", "")))
    return Result(
        {group: {name: float(np.mean(right)) for name, right in row.items()} for group, row in marks.right.items()},
        {kind: (sum(right), len(right)) for kind, right in sorted(marks.by_kind.items())},
        marks.mistakes,
    )


def _questions(scene: Scene, number: int) -> dict[str, tuple[str, str]]:
    """Different questions about one scene, each with its kind and answer."""
    random = np.random.default_rng((7, number))
    found: dict[str, tuple[str, str]] = {}
    while len(found) < NUM_QUESTIONS:
        kind, (asked, answer) = question_of_kind(scene, random)
        found[asked] = (kind, answer)
    return found


def _film(scene: Scene, path: Path, questions: Sequence[str], frames: FrameSettings) -> AskedClip:
    write_video(path, [scene])
    video = Video(video_id=path.stem, path=path.name, location=str(path))
    (clip,) = find_clips(video, SceneSettings(split="none"))
    asked = [Question(text, pool="exam", task="qa") for text in questions]
    for pool, language in POOLS:
        asked += choose(load_pool(pool), clip_id=path.stem, seed=0, per_clip=1, language=language)
    return AskedClip(clip, sample_frames(clip, frames), tuple(asked))


def _mark(marks: _Marks, answer: Answer, scene: Scene, expected: tuple[str, str]) -> None:
    asked = answer.question
    if asked.task == "qa":
        kind, wanted = expected
        right = score_answer(wanted, answer.text)
        marks.add("questions", {"answer": right}, f"{asked.text} {answer.text} (not: {wanted})")
        marks.by_kind[kind].append(right)
    else:
        truth = [(thing.colour, thing.shape, thing.motion) for thing in scene.things]
        said = f"{answer.text} (not: {truth}, {[cue.text for cue in scene.cues]})"
        marks.add(f"{asked.pool} {asked.language}", score_caption(scene, answer.text), said)
