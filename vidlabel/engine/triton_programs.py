"""The Triton programs of the decode step: parts of attention over a slot's prefix and its rows' suffixes, put together.

Each program takes one chunk of one slot's prefix (or one row's suffix) and one key head and leaves a partial result
behind; `combine` puts the parts together. What a row or slot does not need is not read.
"""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl


@triton.jit
def _attend(
    queries: tl.tensor,
    keys: tl.tensor,
    values: tl.tensor,
    key_stride: tl.tensor,
    low: tl.tensor,
    high: tl.tensor,
    scale: tl.tensor,
    is_row: tl.tensor,
    head_dim: tl.constexpr,
    padded_dim: tl.constexpr,
    num_rows: tl.constexpr,
    block: tl.constexpr,
) -> Any:
    """Online softmax of a tile of query rows over keys low to high: undivided sum, maximum (log 2) and denominator."""
    dims = tl.arange(0, padded_dim)
    is_dim = dims < head_dim
    q = tl.load(queries[:, None] + dims[None, :], mask=is_row[:, None] & is_dim[None, :], other=0.0)
    top = tl.full((num_rows,), float("-inf"), tl.float32)
    total = tl.zeros((num_rows,), tl.float32)
    summed = tl.zeros((num_rows, padded_dim), tl.float32)
    for start in range(low, high, block):
        tokens = start + tl.arange(0, block)
        is_key = tokens < high
        places = tokens[:, None] * key_stride + dims[None, :]
        mask = is_key[:, None] & is_dim[None, :]
        k = tl.load(keys + places, mask=mask, other=0.0)
        # ieee: for float32 inputs, which would else be rounded to tf32
        scores = tl.dot(q, tl.trans(k), input_precision="ieee") * scale
        scores = tl.where(is_key[None, :], scores, float("-inf"))
        higher = tl.maximum(top, tl.max(scores, 1))
        weights = tl.exp2(scores - higher[:, None])
        fade = tl.exp2(top - higher)
        v = tl.load(values + places, mask=mask, other=0.0)
        summed = summed * fade[:, None] + tl.dot(weights.to(v.dtype), v, input_precision="ieee")
        total = total * fade + tl.sum(weights, 1)
        top = higher
    return summed, top, total


@triton.jit
def _store(
    sums: tl.tensor,
    tops: tl.tensor,
    totals: tl.tensor,
    at: tl.tensor,
    summed: tl.tensor,
    top: tl.tensor,
    total: tl.tensor,
    is_row: tl.tensor,
    head_dim: tl.constexpr,
    padded_dim: tl.constexpr,
) -> None:
    dims = tl.arange(0, padded_dim)
    mask = is_row[:, None] & (dims < head_dim)[None, :]
    tl.store(sums + at[:, None] * head_dim + dims[None, :], summed, mask=mask)
    tl.store(tops + at, top, mask=is_row)
    tl.store(totals + at, total, mask=is_row)


@triton.jit
def decode_parts(
    q: tl.tensor,
    prefix_keys: tl.tensor,
    prefix_values: tl.tensor,
    suffix_keys: tl.tensor,
    suffix_values: tl.tensor,
    prefix_lengths: tl.tensor,
    suffix_lengths: tl.tensor,
    sums: tl.tensor,
    tops: tl.tensor,
    totals: tl.tensor,
    scale: tl.tensor,
    q_row: tl.tensor,  # from here to num_splits: strides
    q_head: tl.tensor,
    prefix_slot: tl.tensor,
    prefix_token: tl.tensor,
    prefix_head: tl.tensor,
    suffix_row: tl.tensor,
    suffix_token: tl.tensor,
    suffix_head: tl.tensor,
    num_splits: tl.tensor,
    rows_per_slot: tl.constexpr,
    group: tl.constexpr,
    num_kv_heads: tl.constexpr,
    head_dim: tl.constexpr,
    padded_dim: tl.constexpr,
    prefix_tile: tl.constexpr,
    num_tiles: tl.constexpr,
    suffix_tile: tl.constexpr,
    padded_rows: tl.constexpr,
    block: tl.constexpr,
) -> None:
    """Program (slot, key head, tile of rows; part): parts below num_splits are of the prefix, then one for each row."""
    program, part = tl.program_id(0), tl.program_id(1)
    tile = program % num_tiles
    head = (program // num_tiles) % num_kv_heads
    slot = program // (num_tiles * num_kv_heads)
    num_heads: tl.constexpr = num_kv_heads * group
    if part < num_splits:
        r = tile * prefix_tile + tl.arange(0, prefix_tile)
        is_row = r < rows_per_slot * group
        row, q_heads = slot * rows_per_slot + r // group, head * group + r % group
        near = tl.arange(0, padded_rows)
        lives = tl.load(suffix_lengths + slot * rows_per_slot + near, mask=near < rows_per_slot, other=0)
        length = tl.where(tl.max(lives, 0) > 0, tl.load(prefix_lengths + slot), 0)
        chunk = tl.cdiv(tl.cdiv(length, num_splits), block) * block
        low = part * chunk
        high = tl.minimum(low + chunk, length)
        base = slot.to(tl.int64) * prefix_slot + head * prefix_head
        summed, top, total = _attend(
            q + row.to(tl.int64) * q_row + q_heads * q_head, prefix_keys + base, prefix_values + base, prefix_token,
            low, high, scale, is_row, head_dim, padded_dim, prefix_tile, block,
        )  # fmt: skip
        at = (row.to(tl.int64) * num_heads + q_heads) * (num_splits + 1) + part
        _store(sums, tops, totals, at, summed, top, total, is_row, head_dim, padded_dim)
    elif tile == 0:
        own_row = slot * rows_per_slot + part - num_splits
        g = tl.arange(0, suffix_tile)
        is_head = g < group
        own_length = tl.load(suffix_lengths + own_row)
        own_base = own_row.to(tl.int64) * suffix_row + head * suffix_head
        own_q = q + own_row.to(tl.int64) * q_row + (head * group + g) * q_head
        own_sum, own_top, own_total = _attend(
            own_q, suffix_keys + own_base, suffix_values + own_base, suffix_token,
            0, own_length, scale, is_head, head_dim, padded_dim, suffix_tile, block,
        )  # fmt: skip
        own_at = (own_row.to(tl.int64) * num_heads + head * group + g) * (num_splits + 1) + num_splits
        _store(sums, tops, totals, own_at, own_sum, own_top, own_total, is_head, head_dim, padded_dim)


@triton.jit
def combine(
    sums: tl.tensor,
    tops: tl.tensor,
    totals: tl.tensor,
    suffix_lengths: tl.tensor,
    out: tl.tensor,
    num_parts: tl.tensor,
    num_heads: tl.constexpr,
    head_dim: tl.constexpr,
    padded_dim: tl.constexpr,
    padded_parts: tl.constexpr,
) -> None:
    """Program (row, head): the parts of one query row put together; a dead row gets zeros."""
    row = tl.program_id(0)
    at = row.to(tl.int64) * num_heads + tl.program_id(1)
    parts, dims = tl.arange(0, padded_parts), tl.arange(0, padded_dim)
    is_part = parts < tl.where(tl.load(suffix_lengths + row) > 0, num_parts, 0)
    total = tl.load(totals + at * num_parts + parts, mask=is_part, other=0.0)
    is_part = is_part & (total > 0)  # a part without keys has no weight
    top = tl.load(tops + at * num_parts + parts, mask=is_part, other=float("-inf"))
    highest = tl.max(top, 0)
    weight = tl.exp2(top - tl.where(highest == float("-inf"), 0.0, highest))
    mask = is_part[:, None] & (dims < head_dim)[None, :]
    summed = tl.load(sums + (at * num_parts + parts)[:, None] * head_dim + dims[None, :], mask=mask, other=0.0)
    divisor = tl.sum(weight * total, 0)
    result = tl.sum(summed * weight[:, None], 0) / tl.where(divisor > 0, divisor, 1.0)
    tl.store(out + at * head_dim + dims, result, mask=dims < head_dim)
