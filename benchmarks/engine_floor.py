"""What captioning must cost at least: useful multiplications and bytes, by formulas, and the time they take on a
machine whose rates were measured. Padding and finished rows never count; pure arithmetic, no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vidlabel.engine.slots import head_dim_of
from vidlabel.models.minigpt4_video.config import ModelConfig, VisionConfig


@dataclass(frozen=True, slots=True)
class Rates:
    """What a machine was measured to do."""

    flops: float  # multiplications and additions a second, in large matrix products of the run's type
    bytes: float  # a second, read and written together, in a large copy


@dataclass(frozen=True, slots=True)
class Shape:
    """One model's work."""

    vision: VisionConfig
    pool_size: int
    hidden: int
    intermediate: int
    vocab: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int

    @property
    def layer_weights(self) -> int:
        """Of one decoder layer's matrices."""
        attention = self.hidden * self.head_dim * 2 * (self.num_heads + self.num_kv_heads)
        return attention + 3 * self.hidden * self.intermediate

    @property
    def step_weights(self) -> int:
        """Read for every decoding step: all layers and the output layer; embeddings are looked up."""
        return self.num_layers * self.layer_weights + self.hidden * self.vocab

    def kv_bytes(self, bytes_per_element: int) -> int:
        """Keys and values of one position."""
        return 2 * self.num_layers * self.num_kv_heads * self.head_dim * bytes_per_element

    def frame_flops(self) -> float:
        """The vision tower and the projection, one frame."""
        v = self.vision
        tokens = v.num_patches + 1
        patches = 2 * v.num_patches * 3 * v.patch_size**2 * v.embed_dim
        block = tokens * (8 * v.embed_dim**2 + 4 * v.embed_dim * v.mlp_hidden) + 4 * tokens**2 * v.embed_dim
        projection = 2 * (v.num_patches // self.pool_size) * (v.embed_dim * self.pool_size) * self.hidden
        return float(patches + v.depth * block + projection)

    def prefill_flops(self, num_new: int, num_before: int = 0) -> float:
        """`num_new` positions after `num_before`: matrices, and the causal half of attention; no output layer."""
        pairs = num_new * num_before + num_new * (num_new + 1) / 2
        attention = 4 * pairs * self.num_heads * self.head_dim
        return self.num_layers * (2.0 * num_new * self.layer_weights + attention)

    def row_flops(self) -> float:
        """The matrices for one row of one decoding step."""
        return 2.0 * self.step_weights


def shape_of(config: ModelConfig, llm: Any) -> Shape:
    return Shape(
        vision=config.vision,
        pool_size=config.pool_size,
        hidden=llm.hidden_size,
        intermediate=llm.intermediate_size,
        vocab=llm.vocab_size,
        num_layers=llm.num_hidden_layers,
        num_heads=llm.num_attention_heads,
        num_kv_heads=llm.num_key_value_heads,
        head_dim=head_dim_of(llm),
    )


@dataclass(frozen=True, slots=True)
class Load:
    """One clip's work: its frames, its prefix, and for each question the tokens asked and those answered."""

    num_frames: int
    prefix: int
    suffixes: tuple[int, ...]
    answers: tuple[int, ...]

    @property
    def num_steps(self) -> int:
        """Of decoding; an answer's first token comes from the prompt's own pass."""
        return max(self.answers) - 1

    @property
    def row_steps(self) -> int:
        return sum(answer - 1 for answer in self.answers)

    def suffix_positions(self) -> int:
        """Read over all steps, each row's own: its question and what it has said so far."""
        return sum(
            (answer - 1) * suffix + (answer - 1) * answer // 2
            for suffix, answer in zip(self.suffixes, self.answers, strict=True)
        )


@dataclass(frozen=True, slots=True)
class Floor:
    """Seconds for one clip of many, by stage."""

    vision: float
    prefill: float
    extend: float
    decode_weights: float
    decode_kv: float

    @property
    def seconds(self) -> float:
        return self.vision + self.prefill + self.extend + self.decode_weights + self.decode_kv


def floor(shape: Shape, load: Load, rates: Rates, *, clips_in_flight: int, bytes_per_element: int) -> Floor:
    """Each prefix is read once a step for all its rows; weights once a step for all clips in flight, or, where there
    are many rows, as fast as they can be multiplied."""
    weights = shape.step_weights * bytes_per_element / rates.bytes
    decode_weights = 0.0
    for step in range(load.num_steps):
        live = sum(answer - 1 > step for answer in load.answers)
        decode_weights += max(weights / clips_in_flight, live * shape.row_flops() / rates.flops)
    return Floor(
        vision=load.num_frames * shape.frame_flops() / rates.flops,
        prefill=shape.prefill_flops(load.prefix) / rates.flops,
        extend=sum(shape.prefill_flops(suffix, load.prefix) for suffix in load.suffixes) / rates.flops,
        decode_weights=decode_weights,
        decode_kv=decode_kv_bytes(shape, load, bytes_per_element) / rates.bytes,
    )


def decode_kv_bytes(shape: Shape, load: Load, bytes_per_element: int) -> float:
    """Keys and values that one clip's decoding must read."""
    positions = load.num_steps * load.prefix + load.suffix_positions()
    return float(positions * shape.kv_bytes(bytes_per_element))


def decode_bytes(shape: Shape, load: Load, *, num_clips: int, num_steps: int, bytes_per_element: int) -> float:
    """What a run's steps had to read: the weights each time, and the keys and values of live rows."""
    weights = num_steps * shape.step_weights * bytes_per_element
    return weights + num_clips * decode_kv_bytes(shape, load, bytes_per_element)


def answer_lengths(lengths: str, num_questions: int, new_tokens: int) -> tuple[int, ...]:
    """`equal`: all the same. `mix`: one caption of 200 tokens and answers of 40, whatever `new_tokens` says."""
    if lengths == "mix":
        return (200, *([40] * (num_questions - 1)))
    return (new_tokens,) * num_questions


def occupancy(live: float, steps: Sequence[int] | int, width: int) -> float:
    """Share of slots (or rows) that had work, over the steps."""
    total = steps if isinstance(steps, int) else sum(steps)
    return live / (total * width) if total and width else 0.0
