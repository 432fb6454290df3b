"""Our attention function on stock transformers modules: it stores a layer's keys and values in slots and lets a
path's kernels attend. transformers builds no mask for it and hands it every extra keyword of the model's call.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from vidlabel.engine.slots import Slots

NAME = "vidlabel_slots"


@dataclass(frozen=True, slots=True, eq=False)
class PrefillWork:
    """Whole prefixes of several slots, packed one after another without padding."""

    slots: Slots
    slot_ids: tuple[int, ...]  # host
    lengths: tuple[int, ...]  # tokens of each prefix; host
    starts: Tensor  # (B + 1,) int32: packed starts
    token_slots: Tensor  # (N,) long: slot of each token
    token_positions: Tensor  # (N,) long: position inside the prefix


@dataclass(frozen=True, slots=True, eq=False)
class ExtendWork:
    """Whole suffixes of several rows, packed. Rows are sorted, so the tokens of one slot stand together."""

    slots: Slots
    rows: tuple[int, ...]  # sorted; host
    lengths: tuple[int, ...]  # suffix tokens of each row; host
    token_rows: Tensor  # (N,) long: row of each token
    token_positions: Tensor  # (N,) long: position inside the row's suffix
    row_starts: Tensor  # (R + 1,) int32: packed starts of rows
    slot_ids: tuple[int, ...]  # the slots that occur, sorted; host
    slot_lengths: tuple[int, ...]  # tokens of each of slot_ids; host
    slot_starts: Tensor  # (len(slot_ids) + 1,) int32: packed starts of each slot's tokens
    slot_prefix_lengths: tuple[int, ...]  # of each of slot_ids; host


@dataclass(frozen=True, slots=True, eq=False)
class StepWork:
    """One new token for each row. `slots.suffix_lengths` count it already when attention runs."""

    slots: Slots
    rows: tuple[int, ...] | None  # live rows, sorted (host), or None: all C * K rows in order
    row_ids: Tensor  # (R,) long: the same on the device
    prefix_lengths: tuple[int, ...] | None = None  # of every slot; host, only with `rows`
    suffix_lengths: tuple[int, ...] | None = None  # of each of `rows`; host, only with `rows`
    targets: Tensor | None = None  # (R,) long: where the new token goes in (C * K * S,); None: worked out here


@dataclass(frozen=True, slots=True, eq=False)
class PromptsWork:
    """Prompts and their answers in one pack: first all prompts, then the answers, those of one prompt together and in
    the order of the prompts. An answer sees its prompt and itself. Prompts of which nothing follows stand last."""

    lengths: tuple[int, ...]  # of all sequences; host
    starts: Tensor  # (B + 1,) int32: packed starts
    num_prompts: int
    group_lengths: tuple[int, ...]  # tokens of all answers to each of the first prompts, at least 1; host
    group_starts: Tensor  # (len(group_lengths) + 1,) int32: packed starts of these, counted after the last prompt


@dataclass(frozen=True, slots=True, eq=False)
class ScoreWork:
    """Whole sequences, packed, that are read and not stored: each under a slot's prefix, or prompts and answers."""

    slots: Slots
    under: ExtendWork | PromptsWork


class Kernels(Protocol):
    """One path of attention over slots. Packed tensors: q (N, Hq, D), k and v (N, Hkv, D); results (N, Hq, D)."""

    name: str  # "maths", "flash", "triton"
    fixed_rows: bool  # `step` wants all C * K rows every time (for a captured graph); else only live ones are passed

    def prefill(
        self, q: Tensor, k: Tensor, v: Tensor, lengths: Sequence[int], starts: Tensor, scale: float
    ) -> Tensor: ...

    def extend(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        prefix_keys: Tensor,
        prefix_values: Tensor,
        work: ExtendWork,
        scale: float,
    ) -> Tensor: ...

    def score(self, q: Tensor, k: Tensor, v: Tensor, work: PromptsWork, scale: float) -> Tensor: ...

    def step(
        self,
        q: Tensor,
        prefix_keys: Tensor,
        prefix_values: Tensor,
        suffix_keys: Tensor,
        suffix_values: Tensor,
        work: StepWork,
        scale: float,
    ) -> Tensor: ...


def attend(
    module: nn.Module,
    query: Tensor,  # (1, Hq, N, D)
    key: Tensor,  # (1, Hkv, N, D)
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float,
    work: PrefillWork | ExtendWork | StepWork | ScoreWork,
    kernels: Kernels,
    **_: Any,
) -> tuple[Tensor, None]:
    """One layer's attention: (1, N, Hq, D). There is no mask: lengths say what each token sees."""
    assert attention_mask is None, "transformers built a mask for the engine"
    layer = module.layer_idx
    assert isinstance(layer, int)
    q, k, v = (states[0].transpose(0, 1) for states in (query, key, value))
    slots = work.slots
    prefix_keys, prefix_values = slots.prefix_keys[layer], slots.prefix_values[layer]
    suffix_keys, suffix_values = slots.suffix_keys[layer], slots.suffix_values[layer]
    match work:
        case PrefillWork():
            targets = work.token_slots * slots.shape.prefix_length + work.token_positions
            _store(prefix_keys, prefix_values, targets, k, v)
            out = kernels.prefill(q, k, v, work.lengths, work.starts, scaling)
        case ExtendWork():
            targets = work.token_rows * slots.shape.suffix_length + work.token_positions
            _store(suffix_keys, suffix_values, targets, k, v)
            out = kernels.extend(q, k, v, prefix_keys, prefix_values, work, scaling)
        case StepWork():
            _store(suffix_keys, suffix_values, step_targets(work), k, v)
            out = kernels.step(q, prefix_keys, prefix_values, suffix_keys, suffix_values, work, scaling)
        case ScoreWork(under=PromptsWork() as prompts):
            out = kernels.score(q, k, v, prompts, scaling)
        case ScoreWork(under=ExtendWork() as under):
            out = kernels.extend(q, k, v, prefix_keys, prefix_values, under, scaling)
    return out[None], None


def step_targets(work: StepWork) -> Tensor:
    """Where each row's new token is kept; a dead row writes to its own first place, where nothing is read."""
    if work.targets is not None:
        return work.targets
    lengths = work.slots.suffix_lengths[work.row_ids].long()
    return work.row_ids * work.slots.shape.suffix_length + (lengths - 1).clamp(min=0)


def _store(keys: Tensor, values: Tensor, targets: Tensor, k: Tensor, v: Tensor) -> None:
    """The tokens' keys and values to their places among all places of this layer."""
    keys.flatten(0, 1).index_copy_(0, targets, k)
    values.flatten(0, 1).index_copy_(0, targets, v)


@contextmanager
def attending_to_slots(llm_config: Any) -> Iterator[None]:
    """Inside, a language model with this config attends to slots; after it, as it did before."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, attend)
    before = llm_config._attn_implementation
    llm_config._attn_implementation = NAME
    try:
        yield
    finally:
        llm_config._attn_implementation = before


def starts_of(lengths: Sequence[int], device: torch.device) -> Tensor:
    """Packed starts (B + 1,) int32: 0, and each length added to what stands before."""
    total, starts = 0, [0]
    for length in lengths:
        total += length
        starts.append(total)
    return torch.tensor(starts, dtype=torch.int32, device=device)
