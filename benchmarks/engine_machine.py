"""What this machine does at best, measured now: large matrix products and large copies. The floor is made of these."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

import torch
import transformers

from benchmarks.engine_floor import Rates


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    """Of one call, the device idle before and after."""
    wait(device)
    started = time.perf_counter()
    work()
    wait(device)
    return time.perf_counter() - started


def best_seconds(work: Callable[[], object], device: torch.device, *, budget_seconds: float = 1.0) -> float:
    """The shortest of as many calls as the budget allows, after two to warm up."""
    seconds_of(work, device)
    once = seconds_of(work, device)
    count = max(3, min(50, int(budget_seconds / max(once, 1e-6))))
    return min(seconds_of(work, device) for _ in range(count))


def measure_rates(device: torch.device, dtype: torch.dtype, *, tiny: bool = False) -> Rates:
    """The best of each: what the machine can do, not what it does while others use it."""
    on_gpu = device.type == "cuda"
    side = 128 if tiny else 8192 if on_gpu else 1536
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    product = torch.empty_like(left)
    matmul = best_seconds(lambda: torch.matmul(left, right, out=product), device)
    num_bytes = (1 << 20) if tiny else (2 << 30) if on_gpu else (256 << 20)
    source = torch.zeros(num_bytes // 4, device=device)
    target = torch.empty_like(source)
    copy = best_seconds(lambda: target.copy_(source), device)
    return Rates(flops=2 * side**3 / matmul, bytes=2 * num_bytes / copy)


def describe(device: torch.device, dtype: str) -> dict[str, str]:
    """For the table: where and with what these figures were made."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "device": name,
        "dtype": dtype,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
