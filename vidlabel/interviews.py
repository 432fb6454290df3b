"""One clip's questions and answers, until its labels are made: what is asked next follows from what was said.

A flagged answer may be asked for again, a question answered in other words, a caption rewritten, questions proposed.
Every answer finds its label by its question, never by position; nothing here knows a model or a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from vidlabel.asking import PARTS, Asking, Wanted
from vidlabel.data import Answer, AskedClip, Question
from vidlabel.labels import Label, flags_for, make_label
from vidlabel.quality import FLAGS, has_opening, strip_opening
from vidlabel.quality.agreement import agree
from vidlabel.rewriting import adds_facts, propose_prompt, read_questions, rewrite_prompt

_PROPOSING, _REWRITING = "propose", "rewrite"  # pools of what the language model is told


@dataclass(frozen=True, slots=True)
class Next:
    """What follows from an answer."""

    labels: tuple[Label, ...] = ()
    questions: tuple[Question, ...] = ()  # to be put to the clip
    num_closed: int = 0  # labels that are made, or will not be
    error: str | None = None  # why one will not be


@dataclass(slots=True, eq=False)
class _Row:
    """A label in the making."""

    wanted: Wanted
    num_open: int = 0
    kept: dict[int, Answer] = field(default_factory=dict)  # the best so far, by the question's place
    attempts: dict[int, int] = field(default_factory=dict)
    attempt_kept: dict[int, int] = field(default_factory=dict)
    used: list[str] = field(default_factory=list)  # texts that were asked
    others: list[str] = field(default_factory=list)  # answers to the rewordings
    rewritten: Answer | None = None
    asked_to_rewrite: bool = False
    error: str | None = None


class Interview:
    """Of one clip. `wanted`: the labels that are still to be made."""

    def __init__(self, asked: AskedClip, wanted: Sequence[Wanted], asking: Asking) -> None:
        self.asked = asked
        self._asking = asking
        self._settings = asking.settings
        self._proposals = [one for one in wanted if one.form == "proposed"]
        # where an answer belongs: its row, and the place of its question there (None: a rewording)
        self._open: dict[Question, list[tuple[_Row, int | None]]] = {}
        self._source = asking.source(asked.clip.clip_id) if self._proposals else None
        for one in wanted:
            if one.form != "proposed":
                self._begin(one)

    def take(self, answer: Answer) -> Next:
        """An answer to one of the open questions; a KeyError if there is no such question."""
        question = answer.question
        if question == self._source:
            return self._propose(answer)
        if question.pool == _PROPOSING:
            return self._proposed(answer)
        steps = [self._step(row, place, answer) for row, place in self._open.pop(question)]
        errors = [step.error for step in steps if step.error]
        return Next(
            tuple(label for step in steps for label in step.labels),
            tuple(q for step in steps for q in step.questions),
            sum(step.num_closed for step in steps),
            errors[0] if errors else None,
        )

    # ---- rows ------------------------------------------------------------------------------------------------------

    def _begin(self, wanted: Wanted) -> tuple[Question, ...]:
        row = _Row(wanted, num_open=len(wanted.all_questions), used=[one.text for one in wanted.all_questions])
        for place, question in enumerate(wanted.questions):
            self._open.setdefault(question, []).append((row, place))
        for question in wanted.rewordings:
            self._open.setdefault(question, []).append((row, None))
        return wanted.all_questions

    def _step(self, row: _Row, place: int | None, answer: Answer) -> Next:
        row.num_open -= 1
        if answer.question.pool == _REWRITING:
            row.rewritten = answer
        elif place is None:
            row.others.append("" if answer.error else answer.text)
        elif answer.error is not None:
            row.error = answer.error if place not in row.kept else row.error  # else what an earlier try said is kept
        else:
            follow_up = self._keep(row, place, answer)
            if follow_up is not None:
                return self._ask(row, place, follow_up)
        if row.num_open:
            return Next()
        if row.error is not None:
            return Next(num_closed=1, error=row.error)
        if self._settings.answers.rewrite != "none" and not row.asked_to_rewrite:
            row.asked_to_rewrite = True
            return self._ask(row, None, self._to_rewrite(row))
        return Next((self._label(row),), num_closed=1)

    def _ask(self, row: _Row, place: int | None, question: Question) -> Next:
        row.num_open += 1
        self._open.setdefault(question, []).append((row, place))
        return Next(questions=(question,))

    def _keep(self, row: _Row, place: int, answer: Answer) -> Question | None:
        """Keeps the better of two answers; what to ask instead, if it is still no good and may be tried again."""
        answer = self._tidied(answer)
        row.attempts[place] = row.attempts.get(place, 0) + 1
        before = row.kept.get(place)
        if before is None or len(self._faults(answer)) < len(self._faults(before)):
            row.kept[place], row.attempt_kept[place] = answer, row.attempts[place]
        if row.attempts[place] > self._settings.answers.retry_flagged or not self._faults(row.kept[place]):
            return None
        another = self._asking.another(answer.question, self.asked.clip.clip_id, row.used)
        if another is not None:
            row.used.append(another.text)
        return another

    def _faults(self, answer: Answer) -> list[str]:
        """Of what was said; that a file is damaged is no reason to ask again."""
        return [flag for flag in flags_for(self.asked, answer) if flag in FLAGS]

    def _tidied(self, answer: Answer) -> Answer:
        if not self._settings.answers.strip_openings:
            return answer
        question = answer.question
        if not has_opening(answer.text, question.language, talk_only=question.task == "qa"):
            return answer
        return replace(answer, text=strip_opening(answer.text, question.language))

    # ---- labels ----------------------------------------------------------------------------------------------------

    def _label(self, row: _Row) -> Label:
        answers = [row.kept[place] for place in sorted(row.kept)]
        wanted = row.wanted
        more: dict[str, object] = dict.fromkeys(self._asking.columns) | dict(self.asked.frames.signals)
        more |= {"level": wanted.level} if "level" in more else {}
        if wanted.form == "structured" and PARTS[0] in more:
            more |= {part: answer.text for part, answer in zip(PARTS, answers, strict=True)}
        if "agreement" in more and row.others:
            said, question = answers[0].text, wanted.questions[0]
            agreeing = [agree(question.original or question.text, said, other) for other in row.others]
            more["agreement"] = sum(agreeing) / len(agreeing)
        if "attempt" in more:
            more["attempt"] = max(row.attempt_kept.values())
        if answers[0].features is not None:
            more["temporal_consistency"] = answers[0].features.temporal_consistency
        answer = answers[0] if wanted.form in ("plain", "proposed") else joined(answers, wanted)
        faults = [flag for one in answers for flag in flags_for(self.asked, one)]
        text = self._rewritten(row, answers)
        if text is not None:
            more["caption_original"] = "\n".join(one.text for one in answers)
            answer = replace(answer, text=text)
            # judged as what it is now: a condensed caption is not too short for the instruction to be detailed
            plain = replace(answer, finish_reason="stop", question=replace(answer.question, text="Rewrite."))
            faults = [*(flag for flag in faults if flag not in FLAGS), *flags_for(self.asked, plain)]
        return make_label(self.asked, answer, self._settings, flags=tuple(dict.fromkeys(faults)), more=more)

    def _rewritten(self, row: _Row, answers: Sequence[Answer]) -> str | None:
        """What the language model made of the captions; None where it failed, broke off or added to them."""
        made = row.rewritten
        if made is None or made.error or made.finish_reason != "stop" or not made.text.strip():
            return None
        return None if adds_facts([answer.text for answer in answers], made.text) else made.text.strip()

    def _to_rewrite(self, row: _Row) -> Question:
        question = row.wanted.questions[0]
        captions = [row.kept[place].text for place in sorted(row.kept)]
        return Question(
            rewrite_prompt(captions, question.language),
            _REWRITING,
            "caption",
            question.language,
            key=row.wanted.key,
            sees_video=False,
        )

    # ---- proposed questions ----------------------------------------------------------------------------------------

    def _propose(self, answer: Answer) -> Next:
        if answer.error is not None:
            return Next(num_closed=len(self._proposals), error=answer.error)
        language = answer.question.language
        prompt = propose_prompt(answer.text, self._settings.answers.propose, language)
        return Next(questions=(Question(prompt, _PROPOSING, "qa", language, sees_video=False),))

    def _proposed(self, answer: Answer) -> Next:
        """Questions for all labels that wait for one: the model's own, and the pools' where those are too few."""
        clip_id = self.asked.clip.clip_id
        everything = self._asking.wanted(clip_id, self.asked.clip.video)  # what is done already too
        asked = {question.text for one in everything for question in one.questions}
        number = self._settings.answers.propose
        texts = [] if answer.error else read_questions(answer.text, answer.question.language, number)
        found = [text for text in texts if text not in asked]
        spare = [q for q in self._asking.spare_questions(clip_id) if q.text not in {*asked, *found}]
        language = answer.question.language
        questions = [*(Question(text, "proposed", "qa", language) for text in found), *spare]
        filled: list[Wanted] = []
        for wanted in self._proposals:
            place = int(wanted.key.split()[-1])  # by its number, so that a resumed run gives each the same question
            if place >= len(questions):
                return Next(num_closed=len(self._proposals), error="too few questions in the pools, and none proposed")
            filled.append(self._asking.proposed(wanted, questions[place]))
        return Next(questions=tuple(question for one in filled for question in self._begin(one)))


def joined(answers: Sequence[Answer], wanted: Wanted) -> Answer:
    """Several answers about one clip as one: texts one after the other, means weighed by their tokens."""
    first = answers[0]
    instruction = "\n".join(answer.question.text for answer in answers)
    pools = ",".join(dict.fromkeys(answer.question.pool for answer in answers))
    question = replace(first.question, text=instruction, pool=pools, key=wanted.key)
    space = "" if first.question.language.lower().startswith("zh") else " "
    return replace(
        first,
        question=question,
        text=space.join(answer.text.strip() for answer in answers),
        num_tokens=sum(answer.num_tokens for answer in answers),
        finish_reason="length" if any(answer.finish_reason == "length" for answer in answers) else "stop",
        mean_logprob=_mean([(answer.mean_logprob, answer.num_tokens) for answer in answers]),
        grounding=_mean([(answer.grounding, answer.num_tokens) for answer in answers]),
        flags=tuple(dict.fromkeys(flag for answer in answers for flag in answer.flags)),
    )


def _mean(weighed: Sequence[tuple[float | None, int]]) -> float | None:
    known = [(value, max(1, weight)) for value, weight in weighed if value is not None]
    return sum(value * weight for value, weight in known) / sum(weight for _, weight in known) if known else None
