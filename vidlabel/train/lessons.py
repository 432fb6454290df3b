"""Examples about one clip as the language model reads them: the prompt that labelling makes, and behind it the answer
that is to be said. Only answers and their end tokens are learnt.

    bos bos [INST] <Img> F0 F0 ...   \\nWhat happens? [/INST]   A cat sits . </s>   \\nWho sits? [/INST]   A cat . </s>
    ---------- opening -----------   ------ question -------   ---- answer ----   --------- another turn -----------

Each turn reads the opening and itself, as if no other were there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from vidlabel.data import Cue
from vidlabel.errors import InputError, VideoError
from vidlabel.models.minigpt4_video.config import ModelConfig
from vidlabel.models.minigpt4_video.prompt import (
    Prefix,
    PromptTooLongError,
    answer_ids,
    build_prefix,
    build_prompts,
    build_suffix,
    captions_of_frames,
)
from vidlabel.models.minigpt4_video.tokenizer import PromptTokenizer
from vidlabel.train.settings import PromptForm

IMAGE = -1  # stands for one image token among the ids
TOO_LONG = "the question is too long for the model's window"


@dataclass(frozen=True, slots=True)
class Turn:
    """Positions in a row of ids: the question begins at `start`, the answer at `answer_start`; it ends before `end`."""

    start: int
    answer_start: int
    end: int


@dataclass(frozen=True, slots=True)
class Lesson:
    """Ids with `IMAGE` where a frame's tokens go."""

    ids: tuple[int, ...]
    turns: tuple[Turn, ...]
    too_long: tuple[int, ...] = ()  # which of what was asked has no turn, because it does not fit


@dataclass(frozen=True, slots=True)
class LessonForm:
    """How prompts are laid out, and how long they may be.

    The reference's form is that of its training: no space before [/INST], one beginning-of-text token, and a context
    that is too long loses its end. In the form of inference subtitles are shortened until it fits, as when labelling.
    """

    prompt_form: PromptForm
    max_context_tokens: int
    max_answer_tokens: int  # a longer answer is cut, and then has no end token

    def applied(self, config: ModelConfig) -> ModelConfig:
        if self.prompt_form == "inference":
            return config
        if config.prompt_family not in ("inst", "inst_training"):
            raise InputError(
                f"--prompt-form reference: is that of Llama-2 and Mistral; this model's is {config.prompt_family}"
            )
        return replace(config, prompt_family="inst_training", num_bos=1)


def make_lesson(
    tokenizer: PromptTokenizer,
    config: ModelConfig,
    form: LessonForm,
    *,
    pts_seconds: Sequence[float],
    cues: Sequence[Cue],
    asked: Sequence[tuple[str, str]],
) -> Lesson:
    """`config` as `form.applied` gives it; `asked`: questions with their answers. VideoError where frames and not one
    question fit."""
    if form.prompt_form == "reference":
        opening, suffixes = _reference(tokenizer, config, form, captions_of_frames(pts_seconds, cues), asked)
    else:
        opening, suffixes = _fitted(tokenizer, config, form, pts_seconds, cues, [question for question, _ in asked])
    ids, turns = list(opening), []
    for suffix, (_, answer) in zip(suffixes, asked, strict=True):
        if suffix is None:
            continue
        start = len(ids)
        ids += [*suffix, *answer_ids(tokenizer, config, answer)[: form.max_answer_tokens]]
        turns.append(Turn(start, start + len(suffix), len(ids)))
    return Lesson(tuple(ids), tuple(turns), tuple(at for at, suffix in enumerate(suffixes) if suffix is None))


def _opening_ids(prefix: Prefix, tokens_per_frame: int) -> tuple[int, ...]:
    image = (IMAGE,) * tokens_per_frame
    first, *others = prefix.segments
    return (*first, *(i for segment in others for i in (*image, *segment)))


def _reference(
    tokenizer: PromptTokenizer,
    config: ModelConfig,
    form: LessonForm,
    captions: Sequence[Sequence[str]],
    asked: Sequence[tuple[str, str]],
) -> tuple[tuple[int, ...], list[tuple[int, ...] | None]]:
    """A context that is too long loses its end, if need be with all of the question."""
    ((question, _),) = asked  # the reference has one a row
    opening = _opening_ids(build_prefix(tokenizer, config, captions, max_tokens=1 << 30), config.tokens_per_frame)
    # the beginning-of-text token comes on top there
    context = (*opening, *build_suffix(tokenizer, config, question))[: config.num_bos + form.max_context_tokens]
    return context[: len(opening)], [context[len(opening) :]]


def _fitted(
    tokenizer: PromptTokenizer,
    config: ModelConfig,
    form: LessonForm,
    pts_seconds: Sequence[float],
    cues: Sequence[Cue],
    questions: Sequence[str],
) -> tuple[tuple[int, ...], list[tuple[int, ...] | None]]:
    """The opening that leaves room for the longest question, and the questions; None: too long."""
    try:
        prompts = build_prompts(
            tokenizer,
            config,
            pts_seconds=pts_seconds,
            cues=cues,
            questions=questions,
            max_tokens=form.max_context_tokens,
        )
    except PromptTooLongError as error:
        raise VideoError(str(error)) from error
    fitting = [prompt for prompt in prompts if prompt is not None]
    if not fitting:
        raise VideoError(TOO_LONG)
    shortest = min((prompt.prefix for prompt in fitting), key=lambda prefix: prefix.num_tokens)
    suffixes = [None if prompt is None else prompt.suffix for prompt in prompts]
    return _opening_ids(shortest, config.tokens_per_frame), suffixes
