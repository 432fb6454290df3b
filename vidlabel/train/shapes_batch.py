"""`shapes` scenes as training batches. Prompts are built by the model's own prompt code: training sees what a run sees.

A clip's prefix stands once in its row, its questions and answers behind it; each attends to the prefix and to itself:

    prefix | question answer | question answer | ...
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vidlabel.models.minigpt4_video.config import ModelConfig
from vidlabel.models.minigpt4_video.prompt import build_prefix, build_suffix, captions_of_frames
from vidlabel.models.minigpt4_video.tokenizer import PromptTokenizer
from vidlabel.train.shapes_draws import Asked
from vidlabel.train.shapes_world import COLOURS, SHAPES, Scene, coverage, render

IGNORED = -100
NUM_TRUTHS = 8 + len(SHAPES)  # of a thing in a frame


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One clip: its pictures, its prompt's segments, and what is asked about it, as ids."""

    images: npt.NDArray[np.uint8]  # (T, S, S, 3)
    segments: tuple[tuple[int, ...], ...]
    asked: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]  # suffix and answer ids


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    images: Tensor  # (B * T, S, S, 3) uint8
    ids: Tensor  # (B, L)
    is_image: Tensor  # (B, L) bool: where the image tokens go, in order
    labels: Tensor  # (B, L): the id that each position should foresee, or IGNORED
    positions: Tensor  # (B, L)
    attends: Tensor  # (B, 1, L, L) bool


def sample_shares(random: np.random.Generator, num_frames: int) -> npt.NDArray[np.float64]:
    """Evenly spaced moments. Where exactly the first and last lie differs from file to file, so here it varies."""
    first, last = random.uniform(0.0, 0.09), random.uniform(0.91, 1.0)
    return np.linspace(first, last, num_frames)


def make_sample(
    scene: Scene,
    asked: Sequence[Asked],
    shares: npt.NDArray[np.float64],
    tokenizer: PromptTokenizer,
    config: ModelConfig,
    *,
    draw: bool = True,
) -> Sample:
    """The clip at these shares of its length; not drawn, its pictures are empty."""
    size = config.vision.image_size
    seconds = [float(share) * scene.seconds for share in shares]
    captions = captions_of_frames(seconds, scene.cues)
    prefix = build_prefix(tokenizer, config, captions, max_tokens=config.context_window)
    empty = np.empty((0, size, size, 3), np.uint8)
    return Sample(
        images=render(scene, [float(share) for share in shares], size, size) if draw else empty,
        segments=prefix.segments,
        asked=tuple(
            (build_suffix(tokenizer, config, question), (*tokenizer.encode(answer), tokenizer.eos_ids[0]))
            for question, answer in asked
        ),
    )


def collate(samples: Sequence[Sample], tokens_per_frame: int) -> Batch:
    """Rows padded on the right."""
    rows = [_row(sample, tokens_per_frame) for sample in samples]
    longest = max(len(row[0]) for row in rows)
    ids, labels, positions, part = (
        torch.from_numpy(np.stack([np.pad(row[i], (0, longest - len(row[i])), constant_values=fill) for row in rows]))
        for i, fill in ((0, 0), (1, IGNORED), (2, 0), (3, -1))
    )
    causal = torch.ones(longest, longest, dtype=torch.bool).tril()
    same = part[:, :, None] == part[:, None, :]
    attends = causal & (same | (part[:, None, :] == 0) & (part[:, :, None] >= 0))
    images = np.concatenate([sample.images for sample in samples])
    is_image = ids < 0
    return Batch(torch.from_numpy(images), ids.clamp(min=0), is_image, labels, positions, attends[:, None])


def embed(model: Any, batch: Batch, image_embeds: Tensor) -> Tensor:
    """(B, L, hidden) with the frames' embeddings in their slots, as `embed_prefix` puts them."""
    embeds: Tensor = model.llama_model.get_input_embeddings()(batch.ids)
    return embeds.masked_scatter(batch.is_image[..., None], image_embeds.flatten(0, 1))


def read(model: Any, batch: Batch, image_embeds: Tensor) -> Tensor:
    """The language model's last hidden states (B, L, hidden)."""
    hidden: Tensor = model.llama_model.model(
        inputs_embeds=embed(model, batch, image_embeds),
        attention_mask=batch.attends,
        position_ids=batch.positions,
        use_cache=False,
    ).last_hidden_state
    return hidden


def answer_loss(model: Any, batch: Batch, hidden: Tensor) -> Tensor:
    """Mean cross-entropy of the answers' tokens."""
    counted = batch.labels != IGNORED
    logits = model.llama_model.lm_head(hidden[counted])
    return torch.nn.functional.cross_entropy(logits, batch.labels[counted])


def at_frame_ends(batch: Batch, hidden: Tensor, num_frames: int) -> Tensor:
    """The hidden states at every frame's last token: (B, T, hidden)."""
    is_end = batch.is_image & ~torch.nn.functional.pad(batch.is_image[:, 1:], (0, 1))
    return hidden[is_end].view(len(hidden), num_frames, -1)


def thing_truth(scene: Scene, shares: npt.NDArray[np.float64]) -> Tensor:
    """(T, colours, NUM_TRUTHS) of the thing of each colour: whether it is shown, where it is (in the frame, -1 to 1),
    how far it has come since the first frame, how far it comes in the whole clip at the speed it has had since the
    frame before (to look one frame back is learnt first), which shape it is and whether it is large; else 0."""
    truth = np.zeros((len(shares), len(COLOURS), NUM_TRUTHS), np.float32)
    extent = np.array([scene.width / scene.height, 1.0])
    for thing in scene.things:
        kind = [*(thing.shape == shape for shape in SHAPES), thing.size == "large"]
        places = [np.array(thing.position(float(share))) / extent for share in shares]
        for t, (share, at) in enumerate(zip(shares, places, strict=True)):
            if thing.is_shown(float(share)):
                come, last = at - places[0], (at - places[max(0, t - 1)]) * (len(shares) - 1)
                truth[t, list(COLOURS).index(thing.colour)] = (1, *(2 * at - 1), *(2 * come), *(2 * last), *kind)
    return torch.from_numpy(truth)


def patch_truth(scene: Scene, shares: npt.NDArray[np.float64], side: int) -> tuple[Tensor, Tensor, Tensor]:
    """What the vision tower learns first. Per frame and patch: which colour and shape it lies on (0: none), (T, P, 2);
    how far off that thing's centre is, in patches, (T, P, 2); which parts of the patch are covered, (T, P, 16)."""
    aspect = scene.width / scene.height
    centres = (np.arange(side) + 0.5) / side
    kinds = np.zeros((len(shares), side, side, 2), np.int64)
    offsets = np.zeros((len(shares), side, side, 2), np.float32)
    for thing in scene.things:
        kind = (list(COLOURS).index(thing.colour) + 1, SHAPES.index(thing.shape) + 1)
        for t, share in enumerate(shares):
            if not thing.is_shown(float(share)):
                continue
            x, y = thing.position(float(share))
            dx, dy = x / aspect - centres[None, :], y - centres[:, None]
            # a little more than the patches whose centre it covers, so that a small thing always lies on some
            inside = (np.abs(dx) < thing.radius / aspect + 0.3 / side) & (np.abs(dy) < thing.radius + 0.3 / side)
            kinds[t, inside] = kind
            offsets[t, inside] = np.stack(np.broadcast_arrays(dx, dy), axis=-1)[inside] * side
    covered = coverage(scene, shares.tolist(), 4 * side, 4 * side)
    parts = covered.reshape(len(shares), side, 4, side, 4).swapaxes(2, 3).reshape(len(shares), side * side, 16)
    flat = (len(shares), side * side, 2)
    return torch.from_numpy(kinds.reshape(flat)), torch.from_numpy(offsets.reshape(flat)), torch.from_numpy(parts)


def _row(sample: Sample, tokens_per_frame: int) -> tuple[npt.NDArray[np.int64], ...]:
    """ids (-1: an image token), labels, positions, and the part that each position belongs to (0: the prefix)."""
    image = [-1] * tokens_per_frame
    ids = list(sample.segments[0])
    for segment in sample.segments[1:]:
        ids += image + list(segment)
    length = len(ids)
    labels, positions, parts = [IGNORED] * length, list(range(length)), [0] * length
    for number, (suffix, answer) in enumerate(sample.asked, start=1):
        ids += [*suffix, *answer[:-1]]
        labels += [*[IGNORED] * (len(suffix) - 1), *answer]
        positions += range(length, length + len(suffix) + len(answer) - 1)
        parts += [number] * (len(suffix) + len(answer) - 1)
    return tuple(np.array(values, np.int64) for values in (ids, labels, positions, parts))
