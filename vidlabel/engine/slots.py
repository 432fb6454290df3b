"""Where keys and values live on the device: one prefix a slot (clip), and K suffix rows (questions) that share it.

Token-major, so that a slot's keys are one view. Allocated once; what stands beyond a length is finite and never read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True, slots=True)
class SlotShape:
    """The sizes of all keys and values together."""

    num_layers: int
    num_kv_heads: int
    head_dim: int
    num_slots: int  # C: clips in flight
    rows_per_slot: int  # K: questions asked of a clip at once
    prefix_length: int  # P: positions that a clip's prefix may take
    suffix_length: int  # S: positions that a question and its answer may take

    def __post_init__(self) -> None:
        sizes = (self.num_layers, self.num_kv_heads, self.head_dim, self.num_slots, self.rows_per_slot)
        if min(*sizes, self.prefix_length, self.suffix_length) < 1:
            raise ValueError(f"every size of the slots is at least 1, got {self = }")

    @property
    def num_rows(self) -> int:
        return self.num_slots * self.rows_per_slot

    def num_bytes(self, bytes_per_element: int) -> int:
        """All keys and values together."""
        positions = self.num_slots * self.prefix_length + self.num_rows * self.suffix_length
        return 2 * self.num_layers * positions * self.num_kv_heads * self.head_dim * bytes_per_element


class Slots:
    """Keys and values of every layer and how much of them counts. Row r belongs to slot r // K."""

    def __init__(self, shape: SlotShape, *, dtype: torch.dtype, device: torch.device) -> None:
        self.shape = shape
        heads = (shape.num_kv_heads, shape.head_dim)
        prefix, suffix = (shape.num_slots, shape.prefix_length, *heads), (shape.num_rows, shape.suffix_length, *heads)

        def make(size: tuple[int, ...]) -> list[torch.Tensor]:
            # zeros: a masked score times garbage could be NaN
            return [torch.zeros(size, dtype=dtype, device=device) for _ in range(shape.num_layers)]

        self.prefix_keys, self.prefix_values = make(prefix), make(prefix)  # a layer: (C, P, Hkv, D)
        self.suffix_keys, self.suffix_values = make(suffix), make(suffix)  # a layer: (C * K, S, Hkv, D)
        self.prefix_lengths = torch.zeros(shape.num_slots, dtype=torch.int32, device=device)
        self.suffix_lengths = torch.zeros(shape.num_rows, dtype=torch.int32, device=device)  # 0: a dead row

    @property
    def device(self) -> torch.device:
        return self.prefix_lengths.device


def head_dim_of(llm_config: Any) -> int:
    """Not every transformers config says it."""
    return int(getattr(llm_config, "head_dim", None) or llm_config.hidden_size // llm_config.num_attention_heads)


def slot_shape(
    llm_config: Any, *, num_slots: int, rows_per_slot: int, prefix_length: int, suffix_length: int
) -> SlotShape:
    """The shape for a transformers config."""
    return SlotShape(
        num_layers=llm_config.num_hidden_layers,
        num_kv_heads=getattr(llm_config, "num_key_value_heads", None) or llm_config.num_attention_heads,
        head_dim=head_dim_of(llm_config),
        num_slots=num_slots,
        rows_per_slot=rows_per_slot,
        prefix_length=prefix_length,
        suffix_length=suffix_length,
    )
