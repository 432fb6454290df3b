"""The CUDA path with Triton: in a decode step the prefix of a slot is read once for all its rows and grouped heads.

The grid depends on shapes alone and the workspace lasts, so a CUDA graph can hold the step.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import triton
from torch import Tensor

from vidlabel.engine.flash import require_all_rows
from vidlabel.engine.triton_programs import combine, decode_parts

if TYPE_CHECKING:
    from vidlabel.engine.attention import ExtendWork, Kernels, PromptsWork, StepWork

LOG2_E = 1.4426950408889634
MAX_HEAD_DIM = 256
_MIN_TILE = 16  # of a matrix product in Triton
_MAX_SPLITS = 32
_PROGRAMS_PER_MULTIPROCESSOR = 16  # four at a time, four waves: then the last wave's idle end is small


@dataclass(frozen=True, slots=True)
class Tile:
    """How a program works: keys at a time, loads in flight, warps. Small enough for three or more programs at once."""

    block: int = 64
    num_stages: int = 2
    num_warps: int = 4

    def __post_init__(self) -> None:
        if self.block < _MIN_TILE or self.block & (self.block - 1) or self.num_stages < 1 or self.num_warps < 1:
            raise ValueError(f"block is a power of two from {_MIN_TILE} on, stages and warps 1 or more, got {self = }")


def tile_for(dtype: torch.dtype, head_dim: int) -> Tile:
    """Two stages of keys and values in at most 64 KiB, which every card since Ampere has for a program."""
    return Tile() if dtype.itemsize * triton.next_power_of_2(head_dim) <= 256 else Tile(block=32)


def num_splits_for(num_programs: int, num_multiprocessors: int, num_prefix_tokens: int, block: int) -> int:
    """Chunks of a prefix: enough programs for the device, but chunks of two blocks or more."""
    wanted = -(-_PROGRAMS_PER_MULTIPROCESSOR * num_multiprocessors // num_programs)
    return max(1, min(wanted, _MAX_SPLITS, -(-num_prefix_tokens // (2 * block))))


@dataclass(frozen=True, slots=True, eq=False)
class Workspace:
    """Where the parts of all rows wait to be put together."""

    sums: Tensor  # (R, Hq, parts, D) float32
    tops: Tensor  # (R, Hq, parts) float32, log 2
    totals: Tensor  # (R, Hq, parts) float32

    @classmethod
    def empty(cls, num_rows: int, num_heads: int, num_splits: int, head_dim: int, device: torch.device) -> Workspace:
        shape = (num_rows, num_heads, num_splits + 1)
        tops, totals = (torch.empty(shape, dtype=torch.float32, device=device) for _ in range(2))
        return cls(torch.empty(*shape, head_dim, dtype=torch.float32, device=device), tops, totals)


def decode(
    q: Tensor,
    prefix: tuple[Tensor, Tensor],
    suffix: tuple[Tensor, Tensor],
    prefix_lengths: Tensor,
    suffix_lengths: Tensor,
    scale: float,
    *,
    num_splits: int,
    tile: Tile,
    workspace: Workspace,
) -> Tensor:
    """q (R, Hq, D) over prefix keys and values (C, P, Hkv, D) and suffix (R, S, Hkv, D): (R, Hq, D)."""
    num_rows, num_heads, head_dim = q.shape
    num_slots, _, num_kv_heads, _ = prefix[0].shape
    group, rows_per_slot = num_heads // num_kv_heads, num_rows // num_slots
    for keys, values in (prefix, suffix):
        if keys.stride() != values.stride() or keys.stride(-1) != 1:
            raise ValueError(f"keys and values lie alike, heads whole, got {keys.stride() = }, {values.stride() = }")
    q = q if q.stride(-1) == 1 else q.contiguous()
    padded_dim = max(_MIN_TILE, triton.next_power_of_2(head_dim))
    # 64 rows of 128 are what the registers of four warps hold beside the scores
    prefix_tile = min(max(_MIN_TILE, triton.next_power_of_2(rows_per_slot * group)), 64 if padded_dim <= 128 else 32)
    num_tiles = -(-rows_per_slot * group // prefix_tile)
    out = torch.empty((num_rows, num_heads, head_dim), dtype=q.dtype, device=q.device)
    with _current(q.device):
        decode_parts[(num_slots * num_kv_heads * num_tiles, num_splits + rows_per_slot)](
            q, *prefix, *suffix, prefix_lengths, suffix_lengths, workspace.sums, workspace.tops, workspace.totals,
            scale * LOG2_E, *q.stride()[:2], *prefix[0].stride()[:3], *suffix[0].stride()[:3], num_splits,
            rows_per_slot=rows_per_slot, group=group, num_kv_heads=num_kv_heads, head_dim=head_dim,
            padded_dim=padded_dim, prefix_tile=prefix_tile, num_tiles=num_tiles,
            suffix_tile=max(_MIN_TILE, triton.next_power_of_2(group)),
            padded_rows=triton.next_power_of_2(rows_per_slot), block=tile.block,
            num_warps=tile.num_warps, num_stages=tile.num_stages, enable_fp_fusion=True,
        )  # fmt: skip
        combine[(num_rows, num_heads)](
            workspace.sums, workspace.tops, workspace.totals, suffix_lengths, out, num_splits + 1,
            num_heads=num_heads, head_dim=head_dim, padded_dim=padded_dim,
            padded_parts=triton.next_power_of_2(num_splits + 1), num_warps=2, enable_fp_fusion=True,
        )  # fmt: skip
    return out


class TritonKernels:
    """The decode step by the kernel here; prefill and suffixes, where matrix products rule, by another path."""

    name = "triton"
    fixed_rows = True

    def __init__(self, others: Kernels, *, num_splits: int | None = None, tile: Tile | None = None) -> None:
        self._others, self._num_splits, self._tile = others, num_splits, tile
        self._workspaces: dict[tuple[int, int, int, int, torch.device], Workspace] = {}

    def prefill(self, q: Tensor, k: Tensor, v: Tensor, lengths: Sequence[int], starts: Tensor, scale: float) -> Tensor:
        return self._others.prefill(q, k, v, lengths, starts, scale)

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
        return self._others.extend(q, k, v, prefix_keys, prefix_values, work, scale)

    def score(self, q: Tensor, k: Tensor, v: Tensor, work: PromptsWork, scale: float) -> Tensor:
        return self._others.score(q, k, v, work, scale)

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
        num_slots, room, num_kv_heads, head_dim = prefix_keys.shape
        tile = self._tile or tile_for(q.dtype, head_dim)
        num_splits = self._num_splits or num_splits_for(
            num_slots * num_kv_heads, _num_multiprocessors(q.device), room, tile.block
        )
        key = (len(q), q.shape[1], num_splits, head_dim, q.device)
        if key not in self._workspaces:  # once: a captured step must find it there
            self._workspaces[key] = Workspace.empty(*key)
        return decode(
            q,
            (prefix_keys, prefix_values),
            (suffix_keys, suffix_values),
            work.slots.prefix_lengths,
            work.slots.suffix_lengths,
            scale,
            num_splits=num_splits,
            tile=tile,
            workspace=self._workspaces[key],
        )


def _current(device: torch.device) -> AbstractContextManager[object]:
    """Triton launches on the current device, whatever its arguments are on."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def _num_multiprocessors(device: torch.device) -> int:
    # a CPU runs this in Triton's interpreter, one program after another
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1


def try_out(device: torch.device) -> None:
    """One small step, to see that the kernels compile and run on that device; raises if not."""
    keys = torch.zeros(1, _MIN_TILE, 1, 64, dtype=torch.float16, device=device)
    lengths = torch.ones(1, dtype=torch.int32, device=device)
    tile, workspace = tile_for(keys.dtype, 64), Workspace.empty(1, 1, 1, 64, device)
    out = decode(
        keys[:, 0], (keys, keys), (keys, keys), lengths, lengths, 1.0, num_splits=1, tile=tile, workspace=workspace
    )
    if not bool(torch.isfinite(out).all()):
        raise RuntimeError("the decode kernel gives numbers that are not finite")
