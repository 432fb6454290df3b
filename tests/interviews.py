"""Runs of interviews for tests: settings, pools, and a captioner that says what a function tells it to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from tests.minigpt4_models import asked_clip
from tests.runs import echo_settings
from vidlabel.asking import Asking
from vidlabel.data import Answer, AskedClip, Question
from vidlabel.interviews import Interview
from vidlabel.labels import Label
from vidlabel.prompts import Pool, load_pool

GOOD = "A brown dog runs over the wet grass and jumps over a low wooden fence."
LOOP = "a dog a dog a dog a dog a dog a dog a dog a dog a dog a dog."
COLOURS = Pool("colours", "qa", "", {"en": ("What colour is the car?", "What colour is the sky?")})
COUNTS = Pool("counts", "qa", "", {"en": ("How many people are there?", "How many cars are there?")})

Say = Callable[[Question], str]


def caption_asking(*, pools: Sequence[Pool] | None = None, **answers: object) -> Asking:
    return Asking(echo_settings(**answers), tuple(pools or [load_pool("caption")]))


def qa_asking(*, pools: Sequence[Pool] = (COLOURS, COUNTS), **answers: object) -> Asking:
    chosen = {"pool": ",".join(pool.name for pool in pools), "per_clip": 2} | answers
    settings = replace(echo_settings(**chosen), task="qa")
    source = [load_pool("caption-detailed")] if answers.get("propose") else []
    return Asking(settings, (*pools, *source))


class ScriptedCaptioner:
    """Says what a function of the question gives; keeps what it was asked."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self.asked: list[tuple[str, Question]] = []

    def answer(self, clips: Iterable[AskedClip]) -> Iterator[Answer]:
        for clip in clips:
            for question in clip.questions:
                self.asked.append((clip.clip.clip_id, question))
                yield said(clip, question, self._say(question))


def said(clip: AskedClip, question: Question, text: str) -> Answer:
    num_tokens = len(text.split())
    return Answer(clip.clip.clip_id, question, text, num_tokens=num_tokens, mean_logprob=-1.0, num_frames=3)


def interview(asking: Asking, say: Say, clip_id: str = "clip") -> tuple[list[Label], list[Question]]:
    """All labels of one clip, and everything that was asked for them, in order."""
    clip = asked_clip(clip_id)
    wanted = asking.wanted(clip_id, clip.clip.video)
    held = Interview(clip, wanted, asking)
    waiting, asked, labels, num_closed = list(asking.first_questions(clip_id, wanted)), [], [], 0
    while waiting:
        question = waiting.pop(0)
        asked.append(question)
        following = held.take(said(clip, question, say(question)))
        labels += following.labels
        waiting += following.questions
        num_closed += following.num_closed
    assert num_closed == len(wanted)
    return labels, asked
