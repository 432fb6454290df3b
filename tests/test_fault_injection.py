"""A captioner that misbehaves in a known way, in the real pipeline over real videos: every fault carries its flag,
none reaches the clean labels, and no good answer is lost."""

from __future__ import annotations

import csv
import random
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from zlib import crc32

import pytest

from tests.fault_texts import GOOD, HEARD, Kind, faults_of
from tests.label_files import read_back
from tests.label_files import run as command
from tests.make_videos import noise_scene, write_video
from tests.runs import echo_settings, job
from vidlabel.config import SceneSettings, Settings
from vidlabel.data import Answer, AskedClip, Clip, Question
from vidlabel.manifest import read_inputs
from vidlabel.prompts import load_pool
from vidlabel.quality import FLAGS
from vidlabel.run import run

NUM_VIDEOS = 24
FAULTY_SHARE = 0.5
QUESTIONS_OF_A_POOL = 2
PER_CLIP = 10  # captions of a clip
Key = tuple[str, str]  # clip id and question


class GoodCaptioner:
    """Answers each kind of question in a good form, each answer with a number of its own."""

    def answer(self, clips: Iterable[AskedClip]) -> Iterator[Answer]:
        for asked in clips:
            for question in asked.questions:
                yield Answer(asked.clip.clip_id, question, good_text(asked.clip, question))


class InjectingCaptioner:
    """Spoils a known share of another captioner's answers, by a seed, and remembers what it did to which."""

    def __init__(self, captioner: GoodCaptioner, *, seed: int, share: float) -> None:
        self._captioner = captioner
        self._seed = seed
        self._share = share
        self._seen: dict[str, AskedClip] = {}
        self.injected: dict[Key, str] = {}  # the flag that must be found; "" for answers that were left alone

    def answer(self, clips: Iterable[AskedClip]) -> Iterator[Answer]:
        for given in self._captioner.answer(self._listening(clips)):
            yield self._spoilt(given)

    def _listening(self, clips: Iterable[AskedClip]) -> Iterator[AskedClip]:
        for asked in clips:
            self._seen[asked.clip.clip_id] = asked
            yield asked

    def _spoilt(self, given: Answer) -> Answer:
        question, asked = given.question, self._seen[given.clip_id]
        chance = random.Random(f"{self._seed} {asked.clip.video.path} {question.text}")
        faults = faults_of((question.task, question.language), pool_of(question))
        flag = chance.choice(sorted(faults)) if chance.random() < self._share else ""
        self.injected[given.clip_id, question.text] = flag
        if not flag:
            return given
        heard = " ".join(cue.text for cue in asked.frames.cues)
        template, _, cut = chance.choice(faults[flag]).partition("|")
        text = template.format(n=number_of(asked.clip, question), good=given.text, asked=question.text, heard=heard)
        return replace(given, text=text, finish_reason="length" if cut else "stop")


def number_of(clip: Clip, question: Question) -> int:
    return crc32(f"{clip.video.path} {question.text}".encode()) % 90_000 + 10_000


def pool_of(question: Question) -> str:
    return question.pool if question.task == "caption" else str(question.extra["asked_from"])


def good_text(clip: Clip, question: Question) -> str:
    template = GOOD[question.task, question.language][pool_of(question)]
    return template.format(n=number_of(clip, question))


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("videos")
    return [
        write_video(folder / f"video{n:02}.mp4", noise_scene(6, (200, 60 + n, 40), width=64, height=48, seed=n))
        for n in range(NUM_VIDEOS)
    ]


def inputs_of(kind: Kind, videos: list[Path], folder: Path) -> Path:
    """The videos with subtitles in the language beside them, and for answers a manifest of questions."""
    task, language = kind
    for video in videos:
        shutil.copy(video, folder)
        vtt = f"WEBVTT\n\n00:00.000 --> 00:09.000\n{HEARD[language]}\n"
        (folder / f"{video.stem}.vtt").write_text(vtt, encoding="utf-8")
    if task == "caption":
        return folder
    with (folder / "questions.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["video", "question", "language", "asked_from"])
        for video in videos:
            for pool in GOOD[kind]:
                for text in load_pool(pool).questions[language][:QUESTIONS_OF_A_POOL]:
                    writer.writerow([video.name, text, language, pool])
    return folder / "questions.csv"


def settings_of(kind: Kind) -> Settings:
    task, language = kind
    asked = {"per_clip": PER_CLIP} if task == "caption" else {"pool": "manifest"}
    made = echo_settings(language=language, **asked)
    return replace(made, task=task, scenes=SceneSettings(split="none"))


@pytest.mark.parametrize("kind", GOOD, ids="-".join)
def test_every_injected_fault_is_flagged_and_only_good_answers_pass_the_filter(
    kind: Kind, videos: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "videos").mkdir()
    captioner = InjectingCaptioner(GoodCaptioner(), seed=14, share=FAULTY_SHARE)
    out, clean = tmp_path / "labels.parquet", tmp_path / "clean.parquet"
    inputs = inputs_of(kind, videos, tmp_path / "videos")
    # with a root the ids, and so the questions drawn, are the same wherever the folder is
    found = read_inputs([str(inputs)], root=str(tmp_path / "videos"), lines=None)
    run(found, job(out, captioner=captioner, settings=settings_of(kind)))
    injected = captioner.injected
    faults = Counter(injected.values())
    num_good = faults.pop("")
    assert len(injected) >= NUM_VIDEOS * PER_CLIP
    assert abs(num_good / len(injected) - (1 - FAULTY_SHARE)) < 0.1
    assert set(faults) == {flag for pool in GOOD[kind] for flag in faults_of(kind, pool)}
    assert all(num >= (1 if flag == "short" else 5) for flag, num in faults.items())

    labels = {key_of(row): row for row in read_back(out)}
    assert labels.keys() == injected.keys()
    unflagged = [(flag, labels[key]["caption"] or labels[key]["answer"], labels[key]["flags"])
                 for key, flag in injected.items() if flag and flag not in labels[key]["flags"]]  # fmt: skip
    assert unflagged == []
    accused = [(labels[key]["caption"] or labels[key]["answer"], labels[key]["flags"])
               for key, flag in injected.items() if not flag and labels[key]["flags"]]  # fmt: skip
    assert accused == []

    assert command("filter", out, "--drop-flags", "all", "--out", clean)[0] == 0
    assert {key_of(row) for row in read_back(clean)} == {key for key, flag in injected.items() if not flag}


def test_the_injected_faults_are_all_that_there_are_flags_for() -> None:
    injected = {flag for kind, pools in GOOD.items() for pool in pools for flag in faults_of(kind, pool)}
    assert injected == set(FLAGS)


def key_of(row: dict[str, object]) -> Key:
    return str(row["clip_id"]), str(row["instruction"])
