"""The CUDA path that needs no Triton: torch's own flash attention over the slots, in its packed form.

Prefix and suffix are attended to apart and merged by their log-sum-exp, which is exact: no keys are copied. Query heads
that share a key head are laid out as further query rows, so each key is read once for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

if TYPE_CHECKING:
    from vidlabel.engine.attention import ExtendWork, PromptsWork, StepWork

MAX_HEAD_DIM = 256
HEAD_DIM_MULTIPLE = 8


class PackedAttention(Protocol):
    """Attention of several pieces laid end to end: the part of torch that this module stands on.

    q (N, Hq, D); k, v (M, Hkv, D); piece i has query rows starts_q[i] to starts_q[i + 1] and keys from starts_k[i] on,
    used_k[i] of them (None: up to starts_k[i + 1]). Gives the output (N, Hq, D) and the natural log-sum-exp (Hq, N) in
    float32; where a piece has no key the output is zero and the log-sum-exp +inf or -inf.
    """

    def __call__(
        self,
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
    ) -> tuple[Tensor, Tensor]: ...


def flash_packed(
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
    """`PackedAttention` by torch's flash kernel: CUDA, float16 or bfloat16."""
    # With one query row at most, torch would lay out grouped heads in its own way and return another log-sum-exp shape
    out, lse, *_ = torch.ops.aten._flash_attention_forward(
        q, k, v, starts_q, starts_k, max(2, max_q), max_k, 0.0, causal, False, scale=scale, seqused_k=used_k
    )
    if lse.shape != (q.shape[1], q.shape[0]):
        raise RuntimeError(f"torch {torch.__version__} gives a log-sum-exp of {tuple(lse.shape)} for {tuple(q.shape)}")
    return out, lse


def merge_parts(out_a: Tensor, lse_a: Tensor, out_b: Tensor, lse_b: Tensor) -> Tensor:
    """Attention over two sets of keys from attention over each: out (..., D) and lse (...), in float32 or better.

    A part without keys (an infinite log-sum-exp) has no weight; without any keys the result is finite.
    """
    exact = torch.promote_types(out_a.dtype, torch.float32)
    # flash says +inf where there are no keys, mathematics says -inf
    lse_a, lse_b = (torch.where(lse == torch.inf, -torch.inf, lse.to(exact)) for lse in (lse_a, lse_b))
    # both -inf gives nan, any share will do; a difference of +-inf gives a share of exactly 1 or 0
    share = torch.sigmoid(torch.nan_to_num(lse_a - lse_b, nan=0.0, posinf=torch.inf, neginf=-torch.inf))
    return torch.lerp(out_b.to(exact), out_a.to(exact), share.unsqueeze(-1)).to(out_a.dtype)


class FlashKernels:
    """The three kinds of attention of the engine by packed attention. No host value depends on the device: a step can
    be captured."""

    name = "flash"
    fixed_rows = True

    def __init__(self, attention: PackedAttention = flash_packed) -> None:
        self._attention = attention
        self._ladders: dict[tuple[int, int, torch.device], Tensor] = {}

    def prefill(self, q: Tensor, k: Tensor, v: Tensor, lengths: Sequence[int], starts: Tensor, scale: float) -> Tensor:
        longest = max(lengths)
        out, _ = self._attention(q, k, v, starts, starts, None, max_q=longest, max_k=longest, causal=True, scale=scale)
        return out

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
        room, group = prefix_keys.shape[1], q.shape[1] // prefix_keys.shape[2]
        rows_per_slot = _rows_per_slot(work.slots.prefix_lengths, work.slots.suffix_lengths)
        slots = work.token_rows[work.slot_starts[:-1].long()] // rows_per_slot  # on the device, without a copy to it
        starts = (slots * room).int()
        prefix = self._attend_prefix(
            q,
            prefix_keys.flatten(0, 1),
            prefix_values.flatten(0, 1),
            starts_q=(work.slot_starts * group).int(),
            starts_k=torch.cat([starts, starts[-1:] + room]),
            used_k=work.slots.prefix_lengths[slots],
            max_q=max(work.slot_lengths) * group,
            max_k=room,
            scale=scale,
        )
        longest = max(work.lengths)
        suffix, lse = self._attention(
            q, k, v, work.row_starts, work.row_starts, None, max_q=longest, max_k=longest, causal=True, scale=scale
        )
        return merge_parts(*prefix, suffix, lse.T)

    def score(self, q: Tensor, k: Tensor, v: Tensor, work: PromptsWork, scale: float) -> Tensor:
        longest, group = max(work.lengths), q.shape[1] // k.shape[1]
        own, lse = self._attention(
            q, k, v, work.starts, work.starts, None, max_q=longest, max_k=longest, causal=True, scale=scale
        )
        if not work.group_lengths:
            return own
        begin = sum(work.lengths[: work.num_prompts])
        before = self._attend_prefix(
            q[begin:],
            k,
            v,
            starts_q=(work.group_starts * group).int(),
            starts_k=work.starts[: len(work.group_lengths) + 1],
            used_k=None,
            max_q=max(work.group_lengths) * group,
            max_k=max(work.lengths[: work.num_prompts]),
            scale=scale,
        )
        return torch.cat([own[:begin], merge_parts(*before, own[begin:], lse[:, begin:].T)])

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
        require_all_rows(work, self.name)
        prefix_lengths, suffix_lengths = work.slots.prefix_lengths, work.slots.suffix_lengths
        (num_slots, room, num_kv_heads, _), suffix_room = prefix_keys.shape, suffix_keys.shape[1]
        group, rows_per_slot = q.shape[1] // num_kv_heads, _rows_per_slot(prefix_lengths, suffix_lengths)
        is_live = (suffix_lengths.view(num_slots, rows_per_slot) > 0).any(1)  # else the prefix need not be read
        prefix = self._attend_prefix(
            q,
            prefix_keys.flatten(0, 1),
            prefix_values.flatten(0, 1),
            starts_q=self._ladder(num_slots, rows_per_slot * group, q.device),
            starts_k=self._ladder(num_slots, room, q.device),
            used_k=prefix_lengths * is_live,
            max_q=rows_per_slot * group,
            max_k=room,
            scale=scale,
        )
        suffix, lse = self._attention(
            _grouped(q, num_kv_heads),
            suffix_keys.flatten(0, 1),
            suffix_values.flatten(0, 1),
            self._ladder(len(suffix_lengths), group, q.device),
            self._ladder(len(suffix_lengths), suffix_room, q.device),
            suffix_lengths,
            max_q=group,
            max_k=suffix_room,
            causal=False,
            scale=scale,
        )
        return merge_parts(*prefix, *_ungrouped(suffix, lse, len(q)))

    def _attend_prefix(
        self,
        q: Tensor,
        keys: Tensor,  # (M, Hkv, D)
        values: Tensor,
        *,
        starts_q: Tensor,
        starts_k: Tensor,
        used_k: Tensor | None,
        max_q: int,
        max_k: int,
        scale: float,
    ) -> tuple[Tensor, Tensor]:
        """All query rows of a slot or prompt over what they share, where it lies: out (N, Hq, D) and lse (N, Hq)."""
        out, lse = self._attention(
            _grouped(q, keys.shape[1]),
            keys,
            values,
            starts_q,
            starts_k,
            used_k,
            max_q=max_q,
            max_k=max_k,
            causal=False,
            scale=scale,
        )
        return _ungrouped(out, lse, len(q))

    def _ladder(self, count: int, rung: int, device: torch.device) -> Tensor:
        """0, rung, 2 rung, ...: made once, so that a captured step does not make it again."""
        key = (count, rung, device)
        if key not in self._ladders:
            self._ladders[key] = torch.arange(count + 1, dtype=torch.int32, device=device) * rung
        return self._ladders[key]


def require_all_rows(work: StepWork, name: str) -> None:
    """A path with `fixed_rows` is given every row, live or not."""
    if work.rows is not None:
        raise ValueError(f"{name} steps over all rows at once, got {work.rows = }")


def _rows_per_slot(prefix_lengths: Tensor, suffix_lengths: Tensor) -> int:
    return len(suffix_lengths) // len(prefix_lengths)


def _grouped(q: Tensor, num_kv_heads: int) -> Tensor:
    """(N, Hq, D) to (N * G, Hkv, D): the heads that share a key head become rows one after another."""
    num_rows, num_heads, head_dim = q.shape
    if num_heads == num_kv_heads:
        return q
    return q.view(num_rows, num_kv_heads, -1, head_dim).transpose(1, 2).reshape(-1, num_kv_heads, head_dim)


def _ungrouped(out: Tensor, lse: Tensor, num_rows: int) -> tuple[Tensor, Tensor]:
    """(N * G, Hkv, D) and (Hkv, N * G) back to (N, Hq, D) and (N, Hq)."""
    num_kv_heads, head_dim = out.shape[1:]
    out = out.view(num_rows, -1, num_kv_heads, head_dim).transpose(1, 2).reshape(num_rows, -1, head_dim)
    return out, lse.view(num_kv_heads, num_rows, -1).transpose(0, 1).reshape(num_rows, -1)
