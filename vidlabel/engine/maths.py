"""Attention over slots in plain torch: the path of a CPU, and what the GPU paths are compared with on any device.

Prefix and suffix are attended apart, each in place, and joined by their log-sum-exps, which is exact. Only live rows
compute, and no further than their slot's real length.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby, islice

import torch
from torch import Tensor

from vidlabel.engine.attention import ExtendWork, PromptsWork, StepWork


class MathsKernels:
    """See `Kernels`."""

    name = "maths"
    fixed_rows = False

    def prefill(self, q: Tensor, k: Tensor, v: Tensor, lengths: Sequence[int], starts: Tensor, scale: float) -> Tensor:
        return torch.cat([out for out, _ in _each_causal(q, k, v, lengths, scale)])

    def extend(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        prefix_keys: Tensor,
        prefix_values: Tensor,
        work: ExtendWork,
        scale: float,
    ) -> Tensor:
        own = _each_causal(q, k, v, work.lengths, scale)
        slots = zip(work.slot_ids, work.slot_prefix_lengths, strict=True)
        prefixes = _prefixes(prefix_keys, prefix_values, slots)
        return _merge(*_shared(q, work.slot_lengths, prefixes, scale), *map(torch.cat, zip(*own, strict=True)))

    def score(self, q: Tensor, k: Tensor, v: Tensor, work: PromptsWork, scale: float) -> Tensor:
        out, lse = map(torch.cat, zip(*_each_causal(q, k, v, work.lengths, scale), strict=True))
        if work.group_lengths:
            prompts = work.lengths[: work.num_prompts]
            begin = sum(prompts)
            before = zip(*(torch.split(states[:begin], list(prompts)) for states in (k, v)), strict=True)
            shared = _shared(q[begin:], work.group_lengths, islice(before, len(work.group_lengths)), scale)
            out[begin:] = _merge(*shared, out[begin:], lse[begin:])
        return out

    def step(
        self,
        q: Tensor,
        prefix_keys: Tensor,
        prefix_values: Tensor,
        suffix_keys: Tensor,
        suffix_values: Tensor,
        work: StepWork,
        scale: float,
    ) -> Tensor:
        rows, prefix_lengths, suffix_lengths = _host_view(work)
        per_slot = work.slots.shape.rows_per_slot
        grouped = [(slot, len(list(group))) for slot, group in groupby(row // per_slot for row in rows)]
        slots = [(slot, prefix_lengths[slot]) for slot, _ in grouped]
        prefixes = _prefixes(prefix_keys, prefix_values, slots)
        shared = _shared(q, [count for _, count in grouped], prefixes, scale)
        own = _suffixes(q, suffix_keys, suffix_values, rows, suffix_lengths, work.row_ids, scale)
        return _merge(*shared, *own)


def _host_view(work: StepWork) -> tuple[tuple[int, ...], Sequence[int], Sequence[int]]:
    """Rows, lengths of all prefixes, lengths of the rows' suffixes; read from the device where the caller has not."""
    rows = work.rows if work.rows is not None else tuple(range(work.slots.shape.num_rows))
    prefix, suffix = work.prefix_lengths, work.suffix_lengths
    if prefix is None:
        prefix = tuple(work.slots.prefix_lengths.tolist())
    if suffix is None:
        suffix = tuple(work.slots.suffix_lengths[work.row_ids].tolist())
    return rows, prefix, suffix


def _prefixes(keys: Tensor, values: Tensor, slots: Iterable[tuple[int, int]]) -> Iterable[tuple[Tensor, Tensor]]:
    """Views of what each slot holds, so many positions of it."""
    return ((keys[slot, :length], values[slot, :length]) for slot, length in slots)


def _shared(
    q: Tensor, counts: Sequence[int], prefixes: Iterable[tuple[Tensor, Tensor]], scale: float
) -> tuple[Tensor, Tensor]:
    """Each prefix's tokens (so many of each in `q`) against one view of it: (N, Hq, D) and (N, Hq)."""
    parts = []
    for part, (keys, values) in zip(torch.split(q, list(counts)), prefixes, strict=True):
        # query heads that share a key head stand beside one another, like further tokens
        heads = part.reshape(len(part), keys.shape[1], -1, part.shape[-1]).transpose(0, 1)  # (Hkv, n, g, D)
        out, lse = _attend(heads.flatten(1, 2)[None], keys[None], values[None], scale)
        parts.append((_tokens_first(out[0], len(part)), _tokens_first(lse[0], len(part))))
    return torch.cat([out for out, _ in parts]), torch.cat([lse for _, lse in parts])


def _tokens_first(packed: Tensor, num_tokens: int) -> Tensor:
    """(Hkv, n * g, ...) -> (n, Hkv * g, ...)"""
    return packed.reshape(len(packed), num_tokens, -1, *packed.shape[2:]).transpose(0, 1).flatten(1, 2)


def _suffixes(
    q: Tensor,
    keys: Tensor,  # (C * K, S, Hkv, D)
    values: Tensor,
    rows: Sequence[int],
    lengths: Sequence[int],
    row_ids: Tensor,
    scale: float,
) -> tuple[Tensor, Tensor]:
    """Each row's token against its own suffix: (R, Hq, D) and (R, Hq)."""
    longest = max(1, *lengths)
    span = rows[-1] + 1 - rows[0]
    within = row_ids - rows[0]
    if span <= 2 * len(rows):  # a view of neighbouring rows, few of them dead, is cheaper than a copy of the live ones
        queries = q if span == len(rows) else q.new_zeros(span, *q.shape[1:]).index_copy_(0, within, q)
        keys, values = (states[rows[0] : rows[0] + span, :longest] for states in (keys, values))
    else:
        queries, keys, values = q, keys[row_ids, :longest], values[row_ids, :longest]
    seen = torch.full((len(queries),), longest, device=q.device)
    counts = torch.tensor(lengths, device=q.device)
    seen = seen.index_copy_(0, within, counts) if len(queries) != len(rows) else counts
    # a row without keys sees one of no meaning: nothing may become NaN
    hidden = torch.arange(longest, device=q.device) >= seen[:, None].clamp(min=1)
    mask = torch.zeros(hidden.shape, dtype=q.dtype, device=q.device).masked_fill_(hidden, -torch.inf)
    packed = queries.reshape(len(queries), keys.shape[2], -1, queries.shape[-1])  # (R, Hkv, g, D)
    out, lse = _attend(packed, keys, values, scale, mask=mask[:, None, None])
    out, lse = out.flatten(1, 2), lse.flatten(1, 2)
    lse = lse.masked_fill(seen[:, None] == 0, -torch.inf)
    return (out, lse) if len(queries) == len(rows) else (out[within], lse[within])


def _each_causal(q: Tensor, k: Tensor, v: Tensor, lengths: Sequence[int], scale: float) -> list[tuple[Tensor, Tensor]]:
    """`_causal` for each of the sequences packed one after another."""
    queries, keys, values = (torch.split(states, list(lengths)) for states in (q, k, v))
    return [_causal(*sequence, scale=scale) for sequence in zip(queries, keys, values, strict=True)]


def _causal(q: Tensor, k: Tensor, v: Tensor, *, scale: float) -> tuple[Tensor, Tensor]:
    """Tokens (n, Hq, D) among themselves, each seeing those before it: (n, Hq, D) and (n, Hq)."""
    group = q.shape[1] // k.shape[1]
    if group > 1:
        k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
    out, lse = _attend(q.transpose(0, 1)[None], k[None], v[None], scale, causal=True)
    return out[0].transpose(0, 1), lse[0].transpose(0, 1)


def _attend(
    q: Tensor, keys: Tensor, values: Tensor, scale: float, *, mask: Tensor | None = None, causal: bool = False
) -> tuple[Tensor, Tensor]:
    """q (B, H, n, D) against token-major keys and values (B, m, H, D): (B, H, n, D), and log-sum-exps (B, H, n)."""
    keys, values = keys.transpose(1, 2), values.transpose(1, 2)
    if keys.shape[2] == 0:
        return torch.zeros_like(q), q.new_full(q.shape[:3], -torch.inf, dtype=torch.float32)
    if q.device.type == "cpu":  # reads keys in place whatever their strides; a matmul would copy them first
        out, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            q, keys, values, 0.0, causal, attn_mask=mask, scale=scale
        )
        return out, lse
    scores = torch.matmul(q, keys.transpose(2, 3)).float() * scale
    if causal:
        later = torch.ones(scores.shape[2:], dtype=torch.bool, device=q.device).triu(1)
        scores = scores.masked_fill(later, -torch.inf)
    if mask is not None:
        scores = scores + mask
    lse = scores.logsumexp(-1)
    return torch.matmul((scores - lse[..., None]).exp().to(values.dtype), values), lse


def _merge(left: Tensor, left_lse: Tensor, right: Tensor, right_lse: Tensor) -> Tensor:
    """Two parts of one softmax; where neither has a key, zeros."""
    lse = torch.logaddexp(left_lse, right_lse).clamp(min=torch.finfo(torch.float32).min)
    weights = ((part - lse).exp()[..., None] for part in (left_lse, right_lse))
    joined = sum(out.float() * weight for out, weight in zip((left, right), weights, strict=True))
    assert isinstance(joined, Tensor)
    return joined.to(left.dtype)
