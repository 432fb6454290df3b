"""One example as the language model reads it: the prompt that labelling makes, and behind it the answer that is to
be said. Only the answer and its end token are learnt.

    bos bos [INST] <Img> F0 F0 ... \\nWhat happens? [/INST]   A cat sits . </s>
    --------------------- context --------------------------  ---- answer ----
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from vidlabel.data import Cue
from vidlabel.errors import InputError, VideoError
from vidlabel.models.minigpt4_video.config import ModelConfig
from vidlabel.models.minigpt4_video.prompt import (
    FAMILIES,
    Prompt,
    PromptTooLongError,
    build_prefix,
    build_prompts,
    build_suffix,
    captions_of_frames,
)
from vidlabel.models.minigpt4_video.tokenizer import PromptTokenizer
from vidlabel.train.settings import PromptForm

IMAGE = -1  # stands for one image token among the ids


@dataclass(frozen=True, slots=True)
class Lesson:
    """Ids with `IMAGE` where a frame's tokens go. The answer begins at `num_context`."""

    ids: tuple[int, ...]
    num_context: int


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
    question: str,
    answer: str,
) -> Lesson:
    """`config` as `form.applied` gives it. VideoError where frames and question do not fit."""
    if form.prompt_form == "reference":
        captions = captions_of_frames(pts_seconds, cues)
        prefix = build_prefix(tokenizer, config, captions, max_tokens=1 << 30)
        prompt = Prompt(prefix, build_suffix(tokenizer, config, question))
        # the beginning-of-text token comes on top there
        context = prompt_ids(prompt, config.tokens_per_frame)[: config.num_bos + form.max_context_tokens]
    else:
        found = _fitted(tokenizer, config, form, pts_seconds, cues, question)
        context = prompt_ids(found, config.tokens_per_frame)
    said = (*tokenizer.encode(answer), end_id(tokenizer, config))[: form.max_answer_tokens]
    return Lesson((*context, *said), len(context))


def prompt_ids(prompt: Prompt, tokens_per_frame: int) -> tuple[int, ...]:
    """The whole prompt as one row."""
    image = (IMAGE,) * tokens_per_frame
    first, *others = prompt.prefix.segments
    return (*first, *(i for segment in others for i in (*image, *segment)), *prompt.suffix)


def end_id(tokenizer: PromptTokenizer, config: ModelConfig) -> int:
    """The token that ends an answer."""
    stops = FAMILIES[config.prompt_family].stops
    return tokenizer.control_id(stops[0]) if stops else tokenizer.eos_ids[0]


def _fitted(
    tokenizer: PromptTokenizer,
    config: ModelConfig,
    form: LessonForm,
    pts_seconds: Sequence[float],
    cues: Sequence[Cue],
    question: str,
) -> Prompt:
    try:
        (prompt,) = build_prompts(
            tokenizer,
            config,
            pts_seconds=pts_seconds,
            cues=cues,
            questions=[question],
            max_tokens=form.max_context_tokens,
        )
    except PromptTooLongError as error:
        raise VideoError(str(error)) from error
    if prompt is None:
        raise VideoError("the question is too long for the model's window")
    return prompt
