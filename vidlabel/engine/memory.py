"""How many clips may be in flight and how much one pass may take, from the memory that is free after the weights.

Keys and values are allocated once, so they must leave the workspace of every stage free: promised here by arithmetic.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vidlabel.errors import InputError

if TYPE_CHECKING:
    import torch

    from vidlabel.engine.slots import SlotShape

logger = logging.getLogger(__name__)

MOST_SLOTS_GPU = 64  # past about 48 clips in flight batching buys under 3%
MOST_SLOTS_CPU = 8  # a CPU reads weights about as fast as it multiplies by them: more rows buy little
PREFILL_TOKENS = 16_384  # enough to fill a large GPU
VISION_FRAMES = 180
_WORKSPACE_SHARE = 4  # a stage may take a quarter of what is free
_KEPT_SHARE = 16  # of it for encoded frames that may be asked again: on a large GPU, more clips than are in flight
_SLACK = 1.25  # allocator fragmentation and what libraries keep for themselves
_UNKNOWN_MEMORY = 8 << 30  # where the system does not say how much it has


@dataclass(frozen=True, slots=True)
class Widths:
    """The widths of a model that its workspaces depend on."""

    hidden: int
    intermediate: int
    vocab: int
    vision: int  # embed_dim
    vision_mlp: int
    vision_tokens: int  # of one frame, with the class token

    def prefill_token_bytes(self, bytes_per_element: int) -> int:
        """The most that lives inside one layer: residual, normed input, and the three products of the MLP; the norm
        computes in float32 before those exist."""
        in_mlp = (2 * self.hidden + 3 * self.intermediate) * bytes_per_element
        in_norm = self.hidden * (bytes_per_element + 3 * 4)
        return round(_SLACK * max(in_mlp, in_norm))

    def frame_bytes(self, bytes_per_element: int) -> int:
        """The same for one frame in the vision tower, whose residual is float32, and its uint8 and float pixels."""
        in_block = 3 * 4 * self.vision + bytes_per_element * (self.vision + 2 * self.vision_mlp)
        return round(_SLACK * self.vision_tokens * in_block)

    def choice_bytes(self) -> int:
        """One row while its next token is chosen: logits in float32 a few times over, sorted ones and their order."""
        return round(_SLACK * self.vocab * (6 * 4 + 8))


@dataclass(frozen=True, slots=True)
class Workspace:
    """What one pass of a stage may take at first, and the bytes to keep free for the largest of them."""

    prefill_tokens: int
    vision_frames: int
    num_bytes: int


def workspace(
    free_bytes: int, widths: Widths, *, bytes_per_element: int, longest_prompt: int, num_rows: int
) -> Workspace:
    """Stages run one after another and share their memory. A prompt is never split, so the longest one must pass."""
    share = free_bytes // _WORKSPACE_SHARE
    token_bytes, frame_bytes = widths.prefill_token_bytes(bytes_per_element), widths.frame_bytes(bytes_per_element)
    tokens = max(longest_prompt, min(PREFILL_TOKENS, share // token_bytes))
    frames = max(1, min(VISION_FRAMES, share // frame_bytes))
    needed = max(tokens * token_bytes, frames * frame_bytes, num_rows * widths.choice_bytes())
    return Workspace(tokens, frames, needed)


def kept_bytes(free_bytes: int) -> int:
    """What encoded frames may take that are kept for further questions."""
    return free_bytes // _KEPT_SHARE


def slot_budget(
    free_bytes: int,
    *,
    shape_of_one: SlotShape,
    bytes_per_element: int,
    workspace_bytes: int,
    requested: int | None,
    most: int = MOST_SLOTS_GPU,
) -> int:
    """The number of slots to allocate: `requested` if given, else `most`, and never more than fit."""
    if requested is not None and requested < 1:
        raise InputError(f"--slots {requested}: at least 1 is needed")
    a_slot = shape_of_one.num_bytes(bytes_per_element)
    fitting = max(0, free_bytes - workspace_bytes) // a_slot
    if fitting < 1:
        raise InputError(
            f"not one clip fits into memory: its keys and values take {_gb(a_slot)}, the work on it "
            f"{_gb(workspace_bytes)}, and {_gb(free_bytes)} are free beside the weights; lower --frames or "
            "--max-new-tokens, or make the weights smaller with --quantize 8bit or 4bit"
        )
    if requested is None:
        return min(fitting, most)
    if requested > fitting:
        logger.warning("--slots %d: only %d fit into the free memory; going on with %d", requested, fitting, fitting)
    return min(requested, fitting)


def most_slots(device: torch.device) -> int:
    """How many slots are worth having where memory sets no limit."""
    return MOST_SLOTS_CPU if device.type == "cpu" else MOST_SLOTS_GPU


def free_bytes(device: torch.device) -> int:
    """Memory that keys, values and workspaces may share: a GPU's free memory, or half of what a CPU's machine has
    available (the decode workers and the rest of the machine live on the other half)."""
    if device.type == "cuda":
        import torch

        torch.cuda.empty_cache()  # what was cached while the weights came in is free too
        return torch.cuda.mem_get_info(device)[0]
    return available_memory() // 2


def available_memory(proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes this process could still take without swapping, a container's limit heeded."""
    available = _mem_available(proc / "meminfo")
    limit, used = _number(cgroup / "memory.max"), _number(cgroup / "memory.current")
    if limit is None or used is None:
        return available
    reclaimable = _stat(cgroup / "memory.stat", "inactive_file")  # page cache counts as used, but gives way
    return max(0, min(available, limit - used + reclaimable))


def _mem_available(meminfo: Path) -> int:
    try:
        lines = meminfo.read_text().splitlines()
    except OSError:  # not Linux
        return _half_of_physical()
    found = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    return found[0] if found else _half_of_physical()


def _half_of_physical() -> int:
    if not hasattr(os, "sysconf"):
        return _UNKNOWN_MEMORY
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _number(path: Path) -> int | None:
    """A cgroup's figure; None where there is none or it is `max`."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _stat(path: Path, name: str) -> int:
    try:
        pairs = (line.split() for line in path.read_text().splitlines())
        return next((int(pair[1]) for pair in pairs if pair[0] == name), 0)
    except OSError:
        return 0


def _gb(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.1f} GB"
