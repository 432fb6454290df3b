"""How likely a model finds the right answers: the mean over their tokens of the negative log-likelihood, each token
given the video, the question and the right tokens before it. It is what training minimises.

A scorer is a captioner whose answers are the references and whose `mean_logprob` is theirs, so that a run decodes,
resumes and records failures for it as for any other.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from vidlabel.captioner import Captioner
from vidlabel.captioners import load_weights
from vidlabel.config import AnswerSettings, Limits
from vidlabel.data import Answer, AskedClip, Question
from vidlabel.errors import InputError
from vidlabel.evaluation.questions import Asked
from vidlabel.models.presets import resolve

if TYPE_CHECKING:
    from torch import Tensor

    from vidlabel.models.minigpt4_video.answers import Asked as AskedPrompt
    from vidlabel.models.minigpt4_video.model import MiniGPT4Video
    from vidlabel.models.minigpt4_video.tokenizer import PromptTokenizer

REFERENCE = "reference"  # the column of the labels that holds one
_VISION_CHUNK = 16  # frames in one pass of the vision tower


def ask_references(asked: Asked) -> Asked:
    """The same videos, asked each question once for every reference."""
    videos = []
    for video in asked.videos:
        questions = tuple(
            replace(question, key=f"{question.text}\x1f{text}", extra={REFERENCE: text})
            for question in video.questions
            for text in asked.references(video, question)
        )
        videos.append(replace(video, questions=questions))
    return replace(asked, videos=tuple(videos))


def load_scorer(
    settings: AnswerSettings, limits: Limits, *, device: str | None = None, num_questions: int | None = None
) -> Captioner:
    """Called as `load_captioner` is; of the limits nothing counts, for one reference is read at a time."""
    del limits, num_questions
    spec = resolve(settings.model)
    if spec.folder is None or spec.fingerprint != settings.model_fingerprint:
        raise InputError(f"--model {settings.model}: has no likelihoods, or not the weights that this run began with")
    import torch

    return Scorer(*load_weights(spec, settings, device or ("cuda" if torch.cuda.is_available() else "cpu")))


class Scorer:
    """Answers each question with its reference."""

    def __init__(self, model: MiniGPT4Video, tokenizer: PromptTokenizer) -> None:
        self.model, self.tokenizer = model.eval(), tokenizer

    def answer(self, clips: Iterable[AskedClip]) -> Iterator[Answer]:
        import torch

        from vidlabel.models.minigpt4_video.answers import failed

        for clip in clips:
            try:
                found = list(self._of_clip(clip))
            except torch.OutOfMemoryError:
                found = [failed(clip, one, "out of memory while its right answers were read") for one in clip.questions]
            yield from found

    def _of_clip(self, clip: AskedClip) -> Iterator[Answer]:
        import torch

        from vidlabel.models.minigpt4_video.answers import ask, failed
        from vidlabel.models.minigpt4_video.prompt import prompt_budget

        config = self.model.config
        answers = {question: self._ids(question) for question in clip.questions}
        longest = max(map(len, answers.values()))
        room = prompt_budget(config, self.model.max_positions, longest)
        asked, refused = ask(clip, self.tokenizer, config, max_tokens=room)
        yield from refused
        if not asked:
            return
        with torch.inference_mode():
            images = self.model.encode_images(self.model.preprocess(clip.frames.images), chunk=_VISION_CHUNK)
            by_prefix: dict[object, list[AskedPrompt]] = {}
            for one in asked:
                by_prefix.setdefault(one.prompt.prefix, []).append(one)
            for same in by_prefix.values():
                prefix = self.model.embed_prefix(same[0].prompt.prefix, images)
                rows = [(one.prompt.suffix, answers[one.question]) for one in same]
                for one, mean in zip(same, reference_logprobs(self.model, prefix, rows), strict=True):
                    if not math.isfinite(mean):
                        yield failed(clip, one.question, "the model's numbers overflow: choose another --dtype")
                        continue
                    yield Answer(
                        clip_id=clip.clip.clip_id,
                        question=one.question,
                        text=str(one.question.extra[REFERENCE]),
                        num_tokens=len(answers[one.question]),
                        mean_logprob=mean,
                        num_frames=one.prompt.prefix.num_frames,
                        num_subtitle_words=one.prompt.prefix.num_subtitle_words,
                    )

    def _ids(self, question: Question) -> tuple[int, ...]:
        from vidlabel.models.minigpt4_video.prompt import answer_ids

        return answer_ids(self.tokenizer, self.model.config, str(question.extra[REFERENCE]))


def reference_logprobs(
    model: MiniGPT4Video, prefix: Tensor, rows: Sequence[tuple[Sequence[int], Sequence[int]]]
) -> list[float]:
    """The mean of each answer's tokens after the clip's embedded prefix (P, hidden) and its question: rows are ids of
    suffix and answer. The prefix is read once: its keys and values stay while the rows come and go."""
    import torch
    from transformers import DynamicCache

    from vidlabel.models.minigpt4_video.grounding import means, token_logprobs

    language = model.llama_model.model
    cache = DynamicCache()
    language(inputs_embeds=prefix[None], past_key_values=cache, use_cache=True)
    found = []
    for suffix, answer in rows:
        embeds = model.embed_ids([*suffix, *answer[:-1]])
        hidden = language(inputs_embeds=embeds[None], past_key_values=cache, use_cache=True).last_hidden_state[0]
        cache.crop(-len(embeds))
        targets = torch.tensor(answer, device=model.device)
        found += means(token_logprobs(model, hidden[-len(answer) :], targets), [len(answer)])
    return found
