"""The likelihood of a right answer is that of one plain forward pass, and of training; a clip that cannot be read fails
alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from tests.minigpt4_models import VARIANTS, ScarceVision, asked_clip, golden_model
from vidlabel.captioner import Captioner
from vidlabel.data import AskedClip, Cue, Question
from vidlabel.evaluation.losses import REFERENCE, Scorer
from vidlabel.models.minigpt4_video.answers import ask
from vidlabel.models.minigpt4_video.prompt import answer_ids

REFERENCES = ("A red ball goes.", "你好世界。", "a")


def clip_with_references(clip_id: str, questions: tuple[str, ...], references: tuple[str, ...]) -> AskedClip:
    clip = asked_clip(clip_id, texts=questions, cues=(Cue(0.0, 1.0, "red ball"),), num_frames=3)
    asked = tuple(
        Question(text, "test", "qa", key=f"{text}\x1f{reference}", extra={REFERENCE: reference})
        for text in questions
        for reference in references
    )
    return replace(clip, questions=asked)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_reference_has_the_loss_of_a_plain_forward_pass(variant: str) -> None:
    """Though the clip is read once for all, and one reference leaves nothing behind for the next."""
    model, tokenizer = golden_model(variant)
    clip = clip_with_references("a", ("Why?", "What is happening in this video?"), REFERENCES)
    found = list(Scorer(model, tokenizer).answer([clip]))
    asked, _ = ask(clip, tokenizer, model.config, max_tokens=400)
    assert [(a.question, a.text) for a in found] == [(q, q.extra[REFERENCE]) for q in clip.questions]
    with torch.inference_mode():
        images = model.encode_images(model.preprocess(clip.frames.images))
        for answer, one in zip(found, asked, strict=True):
            ids = answer_ids(tokenizer, model.config, answer.text)
            prompt = torch.cat([model.embed_prefix(one.prompt.prefix, images), model.embed_ids(one.prompt.suffix)])
            embeds = torch.cat([prompt, model.embed_ids(ids)])
            logits = model.llama_model(inputs_embeds=embeds[None], use_cache=False).logits[0, len(prompt) - 1 : -1]
            loss = F.cross_entropy(logits, torch.tensor(ids))
            assert answer.num_tokens == len(ids)
            assert answer.mean_logprob == pytest.approx(-float(loss), abs=2e-5)


def test_a_scorer_is_a_captioner() -> None:
    scorer: Captioner = Scorer(*golden_model("llama_small"))
    assert list(scorer.answer([])) == []


def test_a_clip_that_does_not_fit_fails_alone() -> None:
    model, tokenizer = golden_model("llama_small")
    scarce = ScarceVision(model.config, model.llama_model.config)
    scarce.load_state_dict(model.state_dict())
    scarce.max_frames = 3
    fits = clip_with_references("b", ("Why?",), REFERENCES[:1])
    large = replace(clip_with_references("a", ("Why?",), REFERENCES), frames=asked_clip("a", num_frames=5).frames)
    long = clip_with_references("c", ("Why?", "what " * 9000), REFERENCES[:1])
    found = {(a.clip_id, a.question.text[:4]): a.error for a in Scorer(scarce, tokenizer).answer([large, long, fits])}
    assert found == {
        ("a", "Why?"): "out of memory while its right answers were read",
        ("c", "Why?"): None,
        ("c", "what"): "the question is too long for the model's window",
        ("b", "Why?"): None,
    }
