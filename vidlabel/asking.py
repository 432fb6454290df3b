"""What a clip is asked: the labels it is to get, and the questions that lead to each.

Which labels those are is known before a clip is opened, so that a run can tell what is done: a question that the
language model is still to come up with has its place, and its label's id, already.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from vidlabel.config import Settings
from vidlabel.data import Question, Task, Video, stable_id
from vidlabel.errors import InputError
from vidlabel.prompts import Pool, choose, in_language, list_pools, load_pool
from vidlabel.rewording import reworded

LEVELS = ("short", "medium", "detailed", "structured")
PARTS = ("subject", "action", "setting", "camera", "mood")  # of a structured caption: columns
SOURCE_POOL = "caption-detailed"  # what questions are proposed from

Form = Literal["plain", "structured", "merged", "proposed"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """One label that a clip is to get."""

    key: str  # names it among the clip's labels of one task
    task: Task
    questions: tuple[Question, ...]  # one; of a structured or merged caption several; none while it is to be proposed
    form: Form = "plain"
    level: str | None = None
    rewordings: tuple[Question, ...] = ()  # of the question, to compare answers

    @property
    def all_questions(self) -> tuple[Question, ...]:
        return (*self.questions, *self.rewordings)


@dataclass(frozen=True, slots=True)
class Asking:
    """What a run asks: its settings, and the pools that they name."""

    settings: Settings
    pools: tuple[Pool, ...] = ()

    def measuring(self, signals: tuple[str, ...]) -> Asking:
        """The same, with what is measured of every clip beside."""
        return replace(self, settings=replace(self.settings, frames=replace(self.settings.frames, signals=signals)))

    def wanted(self, clip_id: str, video: Video) -> tuple[Wanted, ...]:
        """The labels that a clip is to get, by hashes of the seed and the clip's id."""
        if self.settings.task == "qa":
            return (*self._pairs(clip_id, video), *self._proposals())
        if self._levels:
            captions = [wanted for level in self._levels for wanted in self._of_level(level, clip_id)]
        else:
            (pool,) = self.pools
            captions = [self._plain(question) for question in self._draw(pool, clip_id)]
        if self.settings.answers.rewrite != "merge":
            return tuple(captions)
        questions = tuple(question for caption in captions for question in caption.questions)
        return (Wanted("merged", "caption", questions, "merged"),)

    def source(self, clip_id: str) -> Question:
        """Asks for the caption that questions are proposed from."""
        (question,) = choose(
            self._pool(SOURCE_POOL), clip_id=clip_id, seed=self.seed, per_clip=1, language=self.language
        )
        return replace(question, key="proposed from")

    def proposed(self, wanted: Wanted, question: Question) -> Wanted:
        """A label that was to be proposed, now that its question is there."""
        question = replace(question, key=wanted.key)
        return replace(wanted, questions=(question,), rewordings=reworded(question, self.settings.answers.verify))

    def spare_questions(self, clip_id: str) -> tuple[Question, ...]:
        """Of the pools, in the clip's order: for where the language model comes up with too few."""
        pools = self._question_pools
        every = sum(len(in_language(pool, self.language)[1]) for pool in pools)
        return tuple(self._round_robin(clip_id, pools, every))

    def another(self, question: Question, clip_id: str, used: Sequence[str]) -> Question | None:
        """What to ask instead, where the answer was no good: a caption's pool has other instructions, a question is
        put in other words. None when there is nothing left."""
        if question.task == "qa":
            others = reworded(question, 8)  # as many as there are
        else:
            pool = self._pool(question.pool)
            every = len(in_language(pool, self.language)[1])
            drawn = choose(pool, clip_id=clip_id, seed=self.seed, per_clip=every, language=self.language)
            others = tuple(replace(one, key=question.key or question.text) for one in drawn)
        return next((one for one in others if one.text not in used), None)

    def first_questions(self, clip_id: str, wanted: Sequence[Wanted]) -> tuple[Question, ...]:
        """All that can be asked at once: the rest follows from the answers."""
        source = [self.source(clip_id)] if any(one.form == "proposed" for one in wanted) else []
        return tuple(dict.fromkeys([*(q for one in wanted for q in one.all_questions), *source]))

    @property
    def seed(self) -> int:
        return self.settings.answers.seed

    @property
    def language(self) -> str:
        return self.settings.answers.language

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that labels of these settings have beside the usual ones."""
        answers = self.settings.answers
        return (
            *(["level"] if self._levels else []),
            *(PARTS if "structured" in self._levels and answers.rewrite != "merge" else ()),
            *(["agreement"] if answers.verify else []),
            *(["attempt"] if answers.retry_flagged else []),
            *(["caption_original"] if answers.rewrite != "none" else []),
            *self.settings.frames.signals,
        )

    def most_questions(self, most_from_manifest: int) -> int:
        """That one clip is asked at once."""
        answers = self.settings.answers
        if self.settings.task == "qa":
            num_pairs = (0 if self._asks_manifest else answers.per_clip) or most_from_manifest
            return max(1, num_pairs + bool(answers.propose), answers.propose) * (1 + answers.verify)
        if not self._levels:
            return answers.per_clip
        return sum(len(PARTS) if level == "structured" else answers.per_clip for level in self._levels)

    @property
    def _levels(self) -> list[str]:
        levels = self.settings.answers.levels
        return levels.split(",") if levels else []

    @property
    def _asks_manifest(self) -> bool:
        return self.settings.answers.pool == "manifest"

    def _pairs(self, clip_id: str, video: Video) -> list[Wanted]:
        if self._asks_manifest:
            questions: Sequence[Question] = video.questions
        else:
            per_clip = self.settings.answers.per_clip
            questions = tuple(self._round_robin(clip_id, self._question_pools, per_clip)[:per_clip])
            if len(questions) < per_clip:
                raise InputError(
                    f"--per-clip {per_clip}: the pools have {len(questions)} different questions in {self.language}"
                )
        return [replace(self._plain(q), rewordings=reworded(q, self.settings.answers.verify)) for q in questions]

    def _proposals(self) -> list[Wanted]:
        return [Wanted(f"proposed {number}", "qa", (), "proposed") for number in range(self.settings.answers.propose)]

    def _of_level(self, level: str, clip_id: str) -> list[Wanted]:
        if level != "structured":
            pool = self._pool(f"caption-{level}")
            return [replace(self._plain(question), level=level) for question in self._draw(pool, clip_id)]
        parts = [
            choose(
                self._pool(f"structured-{part}"), clip_id=clip_id, seed=self.seed, per_clip=1, language=self.language
            )
            for part in PARTS
        ]
        return [Wanted("structured", "caption", tuple(q for (q,) in parts), "structured", level)]

    def _draw(self, pool: Pool, clip_id: str) -> tuple[Question, ...]:
        per_clip = self.settings.answers.per_clip
        return choose(pool, clip_id=clip_id, seed=self.seed, per_clip=per_clip, language=self.language)

    def _round_robin(self, clip_id: str, pools: Sequence[Pool], count: int) -> list[Question]:
        """One question of every pool, in an order of the clip's own, then a second one of every pool, and so on, until
        there are `count` or no more. A plan does this for millions of clips: no pool draws that need not."""
        lots = sorted(pools, key=lambda pool: stable_id("pool", str(self.seed), clip_id, pool.name))
        turns = -(-count // len(lots))
        while True:
            drawn = []
            for place, pool in enumerate(lots[: count if turns == 1 else None]):
                most = min(turns, len(in_language(pool, self.language)[1]))
                questions = choose(pool, clip_id=clip_id, seed=self.seed, per_clip=most, language=self.language)
                drawn += [(turn, place, question) for turn, question in enumerate(questions)]
            ordered = sorted(drawn, key=lambda one: one[:2])
            found = {question.text: question for _, _, question in ordered}  # pools may share a question
            if len(found) >= count or all(turns >= len(in_language(pool, self.language)[1]) for pool in lots):
                return list(found.values())
            turns *= 2

    @property
    def _question_pools(self) -> list[Pool]:
        return [pool for pool in self.pools if pool.task == "qa"]

    def _pool(self, name: str) -> Pool:
        return next(pool for pool in self.pools if pool.name == name)

    @staticmethod
    def _plain(question: Question) -> Wanted:
        return Wanted(question.key or question.text, question.task, (question,))


def check_levels(text: str) -> str:
    """As the settings hold them."""
    levels = [level.strip() for level in text.split(",") if level.strip()]
    for level in levels:
        if level not in LEVELS:
            raise InputError(f"--levels {text}: no level {level!r}; there are {', '.join(LEVELS)}")
    if not levels or len(set(levels)) < len(levels):
        raise InputError(f"--levels {text}: each level once, for example short,detailed")
    return ",".join(levels)


def pick_pools(task: Task, prompts: str | None, *, levels: str, propose: int, from_manifest: bool) -> tuple[Pool, ...]:
    """The pools that a run needs: those that are named, or what its task takes when none is."""
    if task == "caption" and levels:
        if prompts is not None:
            raise InputError(f"--levels {levels}: every level has a pool of its own; leave out --prompts {prompts}")
        named = [f"caption-{level}" for level in levels.split(",") if level != "structured"]
        named += [f"structured-{part}" for part in PARTS] if "structured" in levels.split(",") else []
    elif task == "caption":
        named = [prompts or "caption"]
    elif from_manifest and prompts is not None:
        raise InputError(
            f"--prompts {prompts}: the manifest has questions of its own, in its column `question`; leave out one or "
            "the other"
        )
    elif from_manifest and not propose:
        named = []
    else:
        named = (
            [name.strip() for name in prompts.split(",")]
            if prompts
            else [name for name in list_pools() if name.startswith("qa-")]
        )
    pools = [load_pool(name) for name in named]
    for pool, name in zip(pools, named, strict=True):
        if pool.task != task:
            raise InputError(f"--prompts {name}: a pool of {pool.task} prompts; {task} needs its own")
    if len({pool.name for pool in pools}) < len(pools):
        raise InputError(f"--prompts {prompts}: two pools of one name; each may be given once")
    return (*pools, *([load_pool(SOURCE_POOL)] if propose else []))


def pools_fingerprint(pools: Sequence[Pool]) -> str:
    return pools[0].fingerprint if len(pools) == 1 else stable_id(*(pool.fingerprint for pool in pools))
