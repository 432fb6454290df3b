"""A decode step as a CUDA graph: recorded once, replayed without the cost of launching its thousand kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch


class GraphError(RuntimeError):
    """The step cannot be captured here; the message says why. The caller goes on without a graph."""


class StepRunner(Protocol):
    """One decode step over state on the device, in place."""

    def __call__(self) -> None: ...


def capture(step: StepRunner, *, warmup: int = 3) -> Callable[[], None]:
    """Records `step` and returns what replays it.

    The warm-up runs `step` for real (libraries set themselves up and workspaces are made), the recording does not run
    it at all: capture while every row is dead. The step reads nothing back, and what it works on stays where it is.
    """
    if warmup < 1:
        raise ValueError(f"a step is run at least once before it is captured, got {warmup = }")
    if not torch.cuda.is_available():
        raise GraphError("torch sees no GPU here")
    graph = torch.cuda.CUDAGraph()
    try:
        _warm_up(step, warmup)
        # thread_local: a thread that feeds frames may allocate pinned memory meanwhile
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            step()
    except RuntimeError as error:  # torch's errors of CUDA, and its refusals, are all of this kind
        raise GraphError(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}") from error

    def replay() -> None:
        graph.replay()

    return replay


def _warm_up(step: StepRunner, times: int) -> None:
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(times):
            step()
    torch.cuda.current_stream().wait_stream(side)
    torch.cuda.synchronize()
