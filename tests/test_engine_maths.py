"""Plain torch attention over slots against a softmax in float64 written out."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vidlabel.engine.attention import ExtendWork, StepWork, starts_of
from vidlabel.engine.maths import MathsKernels
from vidlabel.engine.slots import Slots, SlotShape

CPU = torch.device("cpu")
KERNELS = MathsKernels()
SCALE = 0.3


def exact(q: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """One token (Hq, D) against (n, Hkv, D)."""
    group = q.shape[0] // keys.shape[1]
    keys, values = (states.double().repeat_interleave(group, dim=1) for states in (keys, values))
    weights = (torch.einsum("hd,nhd->hn", q.double(), keys) * SCALE).softmax(-1)
    return torch.einsum("hn,nhd->hd", weights, values)


def filled_slots(seed: int, num_slots: int, rows_per_slot: int, num_kv_heads: int) -> Slots:
    torch.manual_seed(seed)
    slots = Slots(SlotShape(1, num_kv_heads, 8, num_slots, rows_per_slot, 20, 12), dtype=torch.float32, device=CPU)
    for states in (slots.prefix_keys, slots.prefix_values, slots.suffix_keys, slots.suffix_values):
        states[0].normal_(std=3.0)
    slots.prefix_lengths.copy_(torch.randint(1, 21, slots.prefix_lengths.shape))
    return slots


SHAPES = given(
    seed=st.integers(0, 10_000),
    num_slots=st.integers(1, 4),
    rows_per_slot=st.integers(1, 4),
    num_kv_heads=st.integers(1, 2),
    group=st.integers(1, 3),
)
FEW = settings(max_examples=25, derandomize=True, deadline=None, database=None)


@FEW
@SHAPES
def test_a_step_sees_prefix_and_own_suffix(
    seed: int, num_slots: int, rows_per_slot: int, num_kv_heads: int, group: int
) -> None:
    slots = filled_slots(seed, num_slots, rows_per_slot, num_kv_heads)
    num_rows = slots.shape.num_rows
    rows = tuple(row for row in range(num_rows) if torch.rand(()) < 0.6) or (num_rows - 1,)
    slots.suffix_lengths[list(rows)] = torch.randint(1, 13, (len(rows),), dtype=torch.int32)
    q = torch.randn(len(rows), num_kv_heads * group, 8)
    for lengths_known in (True, False):
        work = StepWork(
            slots,
            rows,
            torch.tensor(rows),
            tuple(slots.prefix_lengths.tolist()) if lengths_known else None,
            tuple(slots.suffix_lengths[list(rows)].tolist()) if lengths_known else None,
        )
        out = KERNELS.step(
            q, slots.prefix_keys[0], slots.prefix_values[0], slots.suffix_keys[0], slots.suffix_values[0], work, SCALE
        )
        for found, token, row in zip(out, q, rows, strict=True):
            slot, length = row // rows_per_slot, int(slots.suffix_lengths[row])
            prefix = int(slots.prefix_lengths[slot])
            keys, values = (
                torch.cat([shared[0][slot, :prefix], own[0][row, :length]])
                for shared, own in (
                    (slots.prefix_keys, slots.suffix_keys),
                    (slots.prefix_values, slots.suffix_values),
                )
            )
            torch.testing.assert_close(found.double(), exact(token, keys, values), atol=2e-5, rtol=2e-5)


def test_dead_rows_and_empty_slots_give_finite_numbers() -> None:
    slots = filled_slots(0, 3, 2, 1)
    slots.prefix_lengths[1] = 0
    slots.suffix_lengths[4] = 3
    work = StepWork(slots, None, torch.arange(6))
    out = KERNELS.step(
        torch.randn(6, 2, 8),
        slots.prefix_keys[0],
        slots.prefix_values[0],
        slots.suffix_keys[0],
        slots.suffix_values[0],
        work,
        SCALE,
    )
    assert torch.isfinite(out).all()
    assert not out[2:4].any()  # nothing to see at all


@FEW
@SHAPES
def test_a_suffix_sees_its_prefix_and_what_came_before_in_its_row(
    seed: int, num_slots: int, rows_per_slot: int, num_kv_heads: int, group: int
) -> None:
    slots = filled_slots(seed, num_slots, rows_per_slot, num_kv_heads)
    rows = tuple(row for row in range(slots.shape.num_rows) if torch.rand(()) < 0.7) or (0,)
    lengths = tuple(torch.randint(1, 7, (len(rows),)).tolist())
    slot_ids = tuple(sorted({row // rows_per_slot for row in rows}))
    per_slot = [sum(n for row, n in zip(rows, lengths, strict=True) if row // rows_per_slot == s) for s in slot_ids]
    work = ExtendWork(
        slots,
        rows,
        lengths,
        torch.tensor(rows).repeat_interleave(torch.tensor(lengths)),
        torch.cat([torch.arange(length) for length in lengths]),
        starts_of(lengths, CPU),
        slot_ids,
        tuple(per_slot),
        starts_of(per_slot, CPU),
        tuple(int(slots.prefix_lengths[slot]) for slot in slot_ids),
    )
    q = torch.randn(sum(lengths), num_kv_heads * group, 8)
    k, v = torch.randn(2, sum(lengths), num_kv_heads, 8)
    out = KERNELS.extend(q, k, v, slots.prefix_keys[0], slots.prefix_values[0], work, SCALE)
    starts = work.row_starts.tolist()
    for row, start, end in zip(rows, starts, starts[1:], strict=False):
        slot = row // rows_per_slot
        prefix = int(slots.prefix_lengths[slot])
        for at in range(start, end):
            keys = torch.cat([slots.prefix_keys[0][slot, :prefix], k[start : at + 1]])
            values = torch.cat([slots.prefix_values[0][slot, :prefix], v[start : at + 1]])
            torch.testing.assert_close(out[at].double(), exact(q[at], keys, values), atol=2e-5, rtol=2e-5)


def test_packed_prefixes_do_not_see_one_another() -> None:
    torch.manual_seed(0)
    lengths = (3, 1, 7)
    q, (k, v) = torch.randn(11, 4, 8), torch.randn(2, 11, 2, 8)
    out = KERNELS.prefill(q, k, v, lengths, starts_of(lengths, CPU), SCALE)
    for start, length in zip((0, 3, 4), lengths, strict=True):
        for at in range(start, start + length):
            expected = exact(q[at], k[start : at + 1], v[start : at + 1])
            torch.testing.assert_close(out[at].double(), expected, atol=2e-5, rtol=2e-5)
