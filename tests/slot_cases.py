"""Random slots to attend to, and what attention over them is in float64, worked out the long way."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vidlabel.engine.attention import ExtendWork, Kernels, PromptsWork, StepWork, starts_of
from vidlabel.engine.slots import Slots, SlotShape


@dataclass(frozen=True, eq=False)
class Case:
    """One layer of slots with random keys and values; a suffix length of 0 is a dead row."""

    slots: Slots
    num_heads: int
    prefix_lengths: tuple[int, ...]
    suffix_lengths: tuple[int, ...]

    @property
    def scale(self) -> float:
        return float(self.slots.shape.head_dim**-0.5)

    @property
    def live(self) -> Tensor:
        return self.slots.suffix_lengths > 0

    @property
    def layer(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        slots = self.slots
        return slots.prefix_keys[0], slots.prefix_values[0], slots.suffix_keys[0], slots.suffix_values[0]

    def queries(self, num_tokens: int) -> Tensor:
        keys = self.layer[0]
        # a transposed view, as the projections of a model give
        full = torch.randn(self.num_heads, num_tokens, keys.shape[3], dtype=torch.float32).transpose(0, 1)
        return full.to(keys.device, keys.dtype)

    def step_work(self) -> StepWork:
        return StepWork(self.slots, None, torch.arange(len(self.suffix_lengths), device=self.slots.device))

    def extend_work(self) -> ExtendWork:
        per_slot = self.slots.shape.rows_per_slot
        rows = tuple(row for row, length in enumerate(self.suffix_lengths) if length)
        lengths = tuple(self.suffix_lengths[row] for row in rows)
        slots = tuple(sorted({row // per_slot for row in rows}))
        tokens = [sum(n for row, n in zip(rows, lengths, strict=True) if row // per_slot == slot) for slot in slots]
        device = self.slots.device
        places = [(row, i) for row, length in zip(rows, lengths, strict=True) for i in range(length)]
        token_rows, token_positions = torch.tensor(places, device=device).T.contiguous()
        return ExtendWork(
            slots=self.slots,
            rows=rows,
            lengths=lengths,
            token_rows=token_rows,
            token_positions=token_positions,
            row_starts=starts_of(lengths, device),
            slot_ids=slots,
            slot_lengths=tuple(tokens),
            slot_starts=starts_of(tokens, device),
            slot_prefix_lengths=tuple(self.prefix_lengths[slot] for slot in slots),
        )


def make_case(
    prefix_lengths: tuple[int, ...],
    suffix_lengths: tuple[int, ...],
    *,
    heads: tuple[int, int] = (4, 4),
    head_dim: int = 16,
    spare: int = 3,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
) -> Case:
    """Heads are query heads and key heads; `spare` places lie beyond the longest prefix and suffix."""
    torch.manual_seed(len(prefix_lengths) + sum(suffix_lengths))
    shape = SlotShape(
        num_layers=1,
        num_kv_heads=heads[1],
        head_dim=head_dim,
        num_slots=len(prefix_lengths),
        rows_per_slot=len(suffix_lengths) // len(prefix_lengths),
        prefix_length=max(*prefix_lengths, 1) + spare,
        suffix_length=max(*suffix_lengths, 1) + spare,
    )
    slots = Slots(shape, dtype=dtype, device=torch.device(device))
    for tensor in (slots.prefix_keys[0], slots.prefix_values[0], slots.suffix_keys[0], slots.suffix_values[0]):
        tensor.copy_(torch.randn(tensor.shape, dtype=torch.float32))
    slots.prefix_lengths.copy_(torch.tensor(prefix_lengths))
    slots.suffix_lengths.copy_(torch.tensor(suffix_lengths))
    return Case(slots, heads[0], prefix_lengths, suffix_lengths)


def exact_row(q: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
    """One query (Hq, D) over keys and values (M, Hkv, D), in float64: (Hq, D)."""
    group = len(q) // keys.shape[1]
    keys, values = (states.double().repeat_interleave(group, 1) for states in (keys, values))
    weights = torch.softmax(torch.einsum("hd,mhd->hm", q.double(), keys) * scale, -1)
    return torch.einsum("hm,mhd->hd", weights, values)


def exact_step(case: Case, q: Tensor) -> Tensor:
    """What a step gives, zeros for dead rows: (R, Hq, D) in float64."""
    prefix_keys, prefix_values, suffix_keys, suffix_values = case.layer
    out = torch.zeros(q.shape, dtype=torch.float64, device=q.device)
    for row, length in enumerate(case.suffix_lengths):
        slot = row // case.slots.shape.rows_per_slot
        if length:
            keys = torch.cat([prefix_keys[slot, : case.prefix_lengths[slot]], suffix_keys[row, :length]])
            values = torch.cat([prefix_values[slot, : case.prefix_lengths[slot]], suffix_values[row, :length]])
            out[row] = exact_row(q[row], keys, values, case.scale)
    return out


def exact_extend(case: Case, work: ExtendWork, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """What extending gives: every token sees its slot's prefix and its own row up to itself. (N, Hq, D) in float64."""
    out = torch.zeros(q.shape, dtype=torch.float64, device=q.device)
    for i, (row, position) in enumerate(zip(work.token_rows.tolist(), work.token_positions.tolist(), strict=True)):
        slot = row // case.slots.shape.rows_per_slot
        own = slice(i - position, i + 1)
        keys = torch.cat([case.layer[0][slot, : case.prefix_lengths[slot]], k[own]])
        values = torch.cat([case.layer[1][slot, : case.prefix_lengths[slot]], v[own]])
        out[i] = exact_row(q[i], keys, values, case.scale)
    return out


def prompts_work(answers: Sequence[Sequence[int]], prompts: Sequence[int], device: str = "cpu") -> PromptsWork:
    """Of prompts of these lengths and the lengths of the answers to each; those without any stand last."""
    place = torch.device(device)
    lengths = (*prompts, *(length for group in answers for length in group))
    groups = tuple(sum(group) for group in answers if group)
    return PromptsWork(lengths, starts_of(lengths, place), len(prompts), groups, starts_of(groups, place))


def exact_score(
    q: Tensor, k: Tensor, v: Tensor, prompts: Sequence[int], answers: Sequence[Sequence[int]], scale: float
) -> Tensor:
    """Packed prompts, then the answers to each: a token sees its prompt (if it is of an answer), what stands before it
    in its own sequence, and itself. (N, Hq, D) in float64."""
    starts = [sum(prompts[:i]) for i in range(len(prompts))]
    spans = [(slice(0, 0), start, length) for start, length in zip(starts, prompts, strict=True)]
    end = sum(prompts)
    for start, length, group in zip(starts, prompts, answers, strict=True):
        for answer in group:
            spans.append((slice(start, start + length), end, answer))
            end += answer
    out = torch.zeros(q.shape, dtype=torch.float64, device=q.device)
    for before, start, length in spans:
        for i in range(start, start + length):
            keys, values = (torch.cat([states[before], states[start : i + 1]]) for states in (k, v))
            out[i] = exact_row(q[i], keys, values, scale)
    return out


def check_score(
    kernels: Kernels,
    prompts: tuple[int, ...],
    answers: tuple[tuple[int, ...], ...],
    *,
    heads: tuple[int, int],
    head_dim: int = 16,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    tolerance: float = 1e-5,
) -> None:
    """What a path gives for prompts and the answers to each, of these lengths, against float64."""
    work = prompts_work(answers, prompts, device)
    options = {"dtype": dtype, "device": device}
    # transposed views, as the projections of a model give
    q, k, v = (
        torch.randn(n, sum(work.lengths), head_dim).to(**options).transpose(0, 1) for n in (heads[0], *heads[1:] * 2)
    )  # type: ignore[arg-type]
    out = kernels.score(q, k, v, work, 0.25)
    assert out.shape == q.shape
    want = exact_score(q, k, v, prompts, answers, 0.25)
    torch.testing.assert_close(out.double(), want, atol=tolerance, rtol=tolerance)


def packed_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    starts_q: Tensor,
    starts_k: Tensor,
    used_k: Tensor | None,
    *,
    max_q: int,
    max_k: int,
    causal: bool,
    scale: float,
) -> tuple[Tensor, Tensor]:
    """`PackedAttention` on a CPU in float64; where there are no keys, zeros and +inf, as flash has it."""
    out, lse = torch.zeros_like(q), torch.full((q.shape[1], q.shape[0]), math.inf)
    ends_k = starts_k[1:] if used_k is None else starts_k[:-1] + used_k
    assert starts_q[-1] == len(q)
    for q0, q1, k0, k1 in zip(*(t.tolist() for t in (starts_q[:-1], starts_q[1:], starts_k[:-1], ends_k)), strict=True):
        assert 0 <= q1 - q0 <= max_q
        assert 0 <= k1 - k0 <= max_k
        if k1 > k0:
            keys, values = (states[k0:k1].double().repeat_interleave(q.shape[1] // k.shape[1], 1) for states in (k, v))
            scores = torch.einsum("nhd,mhd->hnm", q[q0:q1].double(), keys) * scale
            if causal:
                hidden = torch.ones(q1 - q0, k1 - k0, dtype=torch.bool).triu(1 + (k1 - k0) - (q1 - q0))
                scores = scores.masked_fill(hidden, -math.inf)
            out[q0:q1] = torch.einsum("hnm,mhd->nhd", scores.softmax(-1), values).to(q.dtype)
            lse[:, q0:q1] = scores.logsumexp(-1)
    return out, lse
