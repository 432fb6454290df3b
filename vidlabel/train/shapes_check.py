"""How many scenes of the stream "check" a `shapes` model in training describes rightly, drawn straight to its size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from vidlabel.models.minigpt4_video.model import MiniGPT4Video, normalise, pad_left
from vidlabel.models.minigpt4_video.tokenizer import PromptTokenizer
from vidlabel.train.shapes_batch import make_sample, sample_shares
from vidlabel.train.shapes_score import score_answer, score_caption
from vidlabel.train.shapes_text import captions, question
from vidlabel.train.shapes_world import make_scene

if TYPE_CHECKING:
    from torch import Tensor

_ROWS = 16  # decoded at once
_LONGEST = 72  # tokens of an answer; no true one is longer


@torch.no_grad()
def check(model: MiniGPT4Video, tokenizer: PromptTokenizer, num_scenes: int) -> dict[str, float]:
    """Shares that are right, of captions and of answers."""
    random = np.random.default_rng(0)
    rows: list[Tensor] = []
    told = []
    for number in range(num_scenes):
        scene = make_scene("check", number)
        asked = (captions(scene, random), question(scene, random))
        shares = sample_shares(random, model.config.num_frames)
        sample = make_sample(scene, asked, shares, tokenizer, model.config)
        images = model.encode_images(normalise(torch.from_numpy(sample.images).permute(0, 3, 1, 2)))
        prefix = model.embed_segments(sample.segments, images)
        rows += [torch.cat([prefix, model.embed_ids(suffix)]) for suffix, _ in sample.asked]
        told.append((scene, asked[1][1]))
    texts = [
        text for first in range(0, len(rows), _ROWS) for text in _answers(model, tokenizer, rows[first : first + _ROWS])
    ]
    scores: dict[str, list[bool]] = {"answer": []}
    for (scene, expected), text, answer in zip(told, texts[::2], texts[1::2], strict=True):
        scores["answer"].append(score_answer(expected, answer))
        for name, right in score_caption(scene, text).items():
            scores.setdefault(name, []).append(right)
    return {name: float(np.mean(values)) for name, values in scores.items()}


def _answers(model: MiniGPT4Video, tokenizer: PromptTokenizer, rows: list[Tensor]) -> list[str]:
    embeds, mask = pad_left(rows)
    made = model.llama_model.generate(
        inputs_embeds=embeds,
        attention_mask=mask,
        do_sample=False,
        max_new_tokens=_LONGEST,
        repetition_penalty=1.1,  # the default of a run
        eos_token_id=list(tokenizer.eos_ids),
        pad_token_id=tokenizer.pad_id,
    )
    return [tokenizer.decode(ids.tolist()) for ids in made]
