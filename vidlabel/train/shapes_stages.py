"""How the `shapes` model learns: first its tower to see and its language model to repeat, then both together, and at
last to tell one thing from another."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vidlabel.models.minigpt4_video.config import ModelConfig
from vidlabel.models.minigpt4_video.model import MiniGPT4Video, normalise
from vidlabel.models.minigpt4_video.tokenizer import PromptTokenizer
from vidlabel.train import shapes_text, shapes_text_zh
from vidlabel.train.shapes_batch import (
    NUM_TRUTHS,
    Sample,
    answer_loss,
    at_frame_ends,
    collate,
    make_sample,
    patch_truth,
    read,
    sample_shares,
    thing_truth,
)
from vidlabel.train.shapes_check import check
from vidlabel.train.shapes_draws import ATTRIBUTES, Asked
from vidlabel.train.shapes_text import captions, motion_question, question, question_of_kind
from vidlabel.train.shapes_wear import wear
from vidlabel.train.shapes_world import COLOURS, SHAPES, Language, Scene, make_scene, render

logger = logging.getLogger(__name__)

NUM_PICTURES, NUM_VOICES, NUM_CLIPS = 128, 64, 12  # in a batch of each stage
SCENES_PER_STAGE = 10_000_000
_HELD = 1 / 3  # of the stage in which all learn together: the tower does not change
_LATE = 100_000  # steps that the stage before cannot reach: other scenes


@dataclass(frozen=True, slots=True)
class _Step:
    number: int
    share: float  # of the stage that is done, 0 to 1
    elapsed_seconds: float

    def __str__(self) -> str:
        return f"step {self.number}, {self.share:.0%}, {self.elapsed_seconds:.0f} s:"


def learn_to_see(model: MiniGPT4Video, num_steps: int, seed: int) -> None:
    """Every patch token tells a head that is thrown away what it lies on: colour, shape, way to the centre, parts."""
    tower = nn.ModuleList([model.visual_encoder, model.ln_vision])
    num_colours, num_shapes = len(COLOURS) + 1, len(SHAPES) + 1
    head = nn.Linear(model.config.vision.embed_dim, num_colours + num_shapes + 2 + 16)
    optimizers = _optimizers([(tower, 1e-3)], (head, 1e-3))
    random = np.random.default_rng((seed, 1))
    for step in _steps(num_steps):
        images, kinds, offsets, covered = _pictures(model.config, random, seed, step.number)
        told = head(model.ln_vision(model.visual_encoder(images))[:, 1:])
        colour, shape, offset, cover = told.split([num_colours, num_shapes, 2, 16], dim=-1)
        on_thing = kinds[..., 0] > 0
        loss = F.mse_loss(offset[on_thing], offsets[on_thing]) * 0.2 + F.mse_loss(cover, covered) * 20
        for logits, truth in ((colour, kinds[..., 0]), (shape, kinds[..., 1])):
            loss = loss + F.cross_entropy(logits[on_thing], truth[on_thing])
            loss = loss + F.cross_entropy(logits[~on_thing], truth[~on_thing])
        _descend(optimizers, loss, step)
        if step.number % 100 == 0:
            right = (shape[on_thing].argmax(-1) == kinds[on_thing][:, 1]).float().mean()
            logger.info("see %s loss %.3f, shapes right %.3f", step, loss.item(), right.item())


def learn_to_repeat(
    model: MiniGPT4Video, tokenizer: PromptTokenizer, num_steps: int, seed: int, spoken: Language = "en"
) -> None:
    """The language model alone, with noise for pictures: what does the voice say?"""
    language, config = model.llama_model, model.config
    optimizers = _optimizers([(language, 2e-3)])
    random = np.random.default_rng((seed, 2))
    ask = (shapes_text_zh if spoken == "zh" else shapes_text).speech_question
    for step in _steps(num_steps):
        samples = []
        for i in range(NUM_VOICES):
            number = _number(seed, 1, NUM_VOICES * step.number + i)
            scene = make_scene("train", number, wild_words=i % 2 == 0, language=spoken)
            asked = [ask(scene, random), ask(scene, random)]
            shares = sample_shares(random, config.num_frames)
            samples.append(make_sample(scene, asked, shares, tokenizer, config, draw=False))
        batch = collate(samples, 1)
        noise = torch.randn(len(samples) * config.num_frames, 1, language.config.hidden_size) * 0.05
        loss = answer_loss(model, batch, read(model, batch, noise))
        _descend(optimizers, loss, step)
        if step.number % 50 == 0:
            logger.info("repeat %s loss %.3f", step, loss.item())


def learn_together(
    model: MiniGPT4Video, tokenizer: PromptTokenizer, num_steps: int, seed: int, *, seconds: float, check_every: int
) -> None:
    """Captions and answers from pictures and subtitles. The tower is held at first: the language model learns to read
    what it sees before it may change it. After `seconds` there are no further steps.

    Two heads that are thrown away help: words alone teach motion slowly. One is to tell from a frame's image
    tokens what is where; the other from the language model's state after each frame, and how far things have come.
    """
    config = model.config
    tower = nn.ModuleList([model.visual_encoder, model.ln_vision])
    heads = nn.ModuleList(nn.Linear(model.llama_proj.out_features, len(COLOURS) * NUM_TRUTHS) for _ in range(2))
    parts = [(tower, 4e-4), (model.llama_proj, 1.5e-3), (model.llama_model, 1.5e-3)]
    optimizers = _optimizers(parts, (heads, 1.5e-3))
    random = np.random.default_rng((seed, 3))
    recent: list[tuple[float, float, float]] = []
    asks = (captions, motion_question, motion_question, question, question)
    for step in _steps(num_steps, seconds):
        tower.requires_grad_(step.share >= _HELD)
        lessons = list(_lessons(config, tokenizer, random, seed, step.number, asks))
        batch = collate([sample for sample, _, _ in lessons], config.tokens_per_frame)
        truth = torch.stack([thing_truth(scene, shares) for _, scene, shares in lessons])
        images = model.encode_images(normalise(batch.images.permute(0, 3, 1, 2)))
        hidden = read(model, batch, images)
        losses = (
            answer_loss(model, batch, hidden),
            _truth_loss(heads[0](images.mean(dim=1)).view_as(truth), truth),
            _truth_loss(heads[1](at_frame_ends(batch, hidden, config.num_frames)).view_as(truth), truth),
        )
        _descend(optimizers, losses[0] + losses[1] + 3 * losses[2], step)
        recent = [*recent[-49:], (losses[0].item(), losses[1].item(), losses[2].item())]
        if step.number % 25 == 0:
            logger.info("together %s losses %s", step, np.mean(recent, axis=0).round(4))
        if (step.number + 1) % check_every == 0:
            logger.info("together %s right: %s", step, check(model, tokenizer, num_scenes=32))


def learn_to_tell_apart(
    model: MiniGPT4Video, tokenizer: PromptTokenizer, num_steps: int, seed: int, *, seconds: float
) -> None:
    """Goes on with smaller steps and other questions: which of two things has this colour, this size? Those come late,
    for there is nothing to ask before the things are seen."""
    config = model.config
    tower = nn.ModuleList([model.visual_encoder, model.ln_vision]).requires_grad_(True)
    optimizers = _optimizers([(tower, 1.2e-4), (model.llama_proj, 4.5e-4), (model.llama_model, 4.5e-4)])
    random = np.random.default_rng((seed, 4))
    asks = (captions, motion_question, _attribute, _attribute, question)
    for step in _steps(num_steps, seconds):
        lessons = _lessons(config, tokenizer, random, seed, _LATE + step.number, asks)
        batch = collate([sample for sample, _, _ in lessons], config.tokens_per_frame)
        images = model.encode_images(normalise(batch.images.permute(0, 3, 1, 2)))
        loss = answer_loss(model, batch, read(model, batch, images))
        _descend(optimizers, loss, step)
        if step.number % 25 == 0:
            logger.info("tell apart %s loss %.4f", step, loss.item())
    logger.info("tell apart, at the end, right: %s", check(model, tokenizer, num_scenes=100))


def _attribute(scene: Scene, random: np.random.Generator) -> Asked:
    return question_of_kind(scene, random, ATTRIBUTES)[1]


def _truth_loss(told: Tensor, truth: Tensor) -> Tensor:
    """Of (B, T, colours, NUM_TRUTHS): whether it is shown everywhere, the rest where it is."""
    is_shown = truth[..., 0] > 0
    seen = F.binary_cross_entropy_with_logits(told[..., 0], truth[..., 0])
    return seen + F.mse_loss(told[is_shown][:, 1:], truth[is_shown][:, 1:])


def _lessons(
    config: ModelConfig,
    tokenizer: PromptTokenizer,
    random: np.random.Generator,
    seed: int,
    step: int,
    asks: Sequence[Callable[[Scene, np.random.Generator], Asked]],
) -> Iterator[tuple[Sample, Scene, npt.NDArray[np.float64]]]:
    """Clips with these things asked of each, and the scenes and moments that they show; every fourth may hold made-up
    words."""
    for i in range(NUM_CLIPS):
        number = _number(seed, 2, 2 * (NUM_CLIPS * step + i))
        scene = make_scene("train", number, wild_words=i % 4 == 0)
        if len(scene.things) == 1 and i % 2:  # two are harder, so they are shown more often
            scene = make_scene("train", number + 1, wild_words=i % 4 == 0)
        asked = [ask(scene, random) for ask in asks]
        shares = sample_shares(random, config.num_frames)
        sample = make_sample(scene, asked, shares, tokenizer, config)
        yield Sample(wear(sample.images, random), sample.segments, sample.asked), scene, shares


def _pictures(
    config: ModelConfig, random: np.random.Generator, seed: int, step: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Normalised frames, each of another scene, and the truth of their patches."""
    size, side = config.vision.image_size, config.vision.image_size // config.vision.patch_size
    images, truths = [], []
    for i in range(NUM_PICTURES):
        scene = make_scene("train", _number(seed, 0, NUM_PICTURES * step + i))
        shares = random.uniform(0, 1, size=1)
        images.append(torch.from_numpy(wear(render(scene, shares.tolist(), size, size), random)))
        truths.append(patch_truth(scene, shares, side))
    kinds, offsets, covered = (torch.cat(parts) for parts in zip(*truths, strict=True))
    return normalise(torch.cat(images).permute(0, 3, 1, 2)), kinds, offsets, covered


def _number(seed: int, stage: int, position: int) -> int:
    """No scene is seen twice, in no stage and with no other seed."""
    return (3 * seed + stage) * SCENES_PER_STAGE + position


def _optimizers(
    parts: Sequence[tuple[nn.Module, float]], head: tuple[nn.Module, float] | None = None
) -> list[torch.optim.Optimizer]:
    """Modules with their rates. Muon for the matrices inside, which need a third fewer steps so; AdamW for embeddings,
    norms and the head that is thrown away."""
    embeddings = {id(m.weight) for module, _ in parts for m in module.modules() if isinstance(m, nn.Embedding)}
    inner, outer = [], []
    for module, rate in parts:
        weights = [m.weight for m in module.modules() if isinstance(m, nn.Linear) and id(m.weight) not in embeddings]
        known = set(map(id, weights))
        others = [parameter for parameter in module.parameters() if id(parameter) not in known]
        inner.append({"params": weights, "lr": rate, "peak": rate})
        outer.append({"params": others, "lr": rate, "peak": rate})
    if head is not None:
        outer.append({"params": list(head[0].parameters()), "lr": head[1], "peak": head[1]})
    return [
        torch.optim.AdamW([group for group in outer if group["params"]], betas=(0.9, 0.98), weight_decay=0.02),
        torch.optim.Muon(inner, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"),
    ]


def _descend(optimizers: Sequence[torch.optim.Optimizer], loss: Tensor, step: _Step) -> None:
    """The rate warms up for 5% of the way and falls along a cosine to 2%."""
    scale = min(1.0, step.share / 0.05 + 0.01) * (0.02 + 0.98 * (0.5 + 0.5 * math.cos(math.pi * step.share)))
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    for group in groups:
        group["lr"] = group["peak"] * scale
        for parameter in group["params"]:
            parameter.grad = None
    cast(Any, loss).backward()
    nn.utils.clip_grad_norm_([parameter for group in groups for parameter in group["params"]], 1.0)
    for optimizer in optimizers:
        optimizer.step()


def _steps(num_steps: int, seconds: float = math.inf) -> Iterator[_Step]:
    """Until the steps or the seconds are used up; whichever is nearer to its end says how far we are."""
    started = time.monotonic()
    for number in range(num_steps):
        elapsed = time.monotonic() - started
        if elapsed >= seconds:
            return
        yield _Step(number, max(number / num_steps, elapsed / seconds), elapsed)
