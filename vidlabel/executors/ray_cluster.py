"""The Ray cluster that a run uses: the one that RAY_ADDRESS names, or one started for it on this machine alone.

Why Ray's actors and not Ray Data, whose blocks would be scenes -> frames -> answers: a block is answered when its
slowest clip is, so slots would run empty at the end of each; it is retried whole, so that one bad video would cost its
neighbours; and the books of a run (what is done, what failed, which answer belongs to which clip) would lie in pieces.
So the run stays in one process with its one ledger, parts and failures file, exactly as without Ray, and only frames
and questions go out and answers come back. Pixels go from the machine that decodes to the one that answers, not
through the run's own. Videos, model folders and vidlabel itself are at the same paths on all machines.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vidlabel.captioner import Captioner
from vidlabel.config import Limits
from vidlabel.errors import InputError
from vidlabel.executors.asking import ManyCaptioners
from vidlabel.executors.choice import Cluster, window_of
from vidlabel.executors.ray_captioning import RayCaptioners
from vidlabel.executors.ray_decoding import RayDecodeWorkers

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from vidlabel.executors.local import Task
    from vidlabel.executors.workers import StageWorkers


@dataclass(frozen=True, slots=True)
class RayExecutor:
    """For a process that is connected. `gpus_each`: of a captioner; 0 is a captioner on a CPU."""

    num_captioners: int
    window: int
    gpus_each: float = 0.0

    def workers(self, limits: Limits) -> AbstractContextManager[StageWorkers[Task]]:
        return RayDecodeWorkers["Task"](num_workers=limits.num_workers, memory_mb=limits.memory_mb)

    @contextmanager
    def captioner(self, load: Callable[[], Captioner]) -> Iterator[Captioner]:
        with RayCaptioners(load, count=self.num_captioners, gpus_each=self.gpus_each) as captioners:
            yield ManyCaptioners(captioners, window=self.window)


@contextmanager
def connected() -> Iterator[Cluster]:
    """Connects this process, unless it is connected already."""
    import ray

    if ray.is_initialized():
        yield _resources()
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # for a cluster started here: it tells nobody
    address = os.environ.get("RAY_ADDRESS") or "local"
    own: dict[str, Any] = {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    try:
        ray.init(
            address=address, logging_level=logging.WARNING, log_to_driver=False, **(own if address == "local" else {})
        )
    except (ConnectionError, TimeoutError, ValueError) as error:
        raise InputError(f"RAY_ADDRESS={address}: no Ray cluster answers there ({_first_line(error)})") from error
    try:
        yield _resources()
    finally:
        ray.shutdown()


def ray_executor(num_captioners: int | None, limits: Limits, cluster: Cluster, *, device: str) -> RayExecutor:
    """One captioner a GPU unless told; several share the GPUs there are."""
    window = window_of(limits, device=device)
    if device != "cuda":
        return RayExecutor(num_captioners or 1, window)
    count = num_captioners or max(1, cluster.num_gpus)
    sharing = -(-count // cluster.num_gpus) if cluster.num_gpus else 1
    return RayExecutor(count, window, 1 / sharing)


def _resources() -> Cluster:
    import ray

    resources = ray.cluster_resources()
    return Cluster(max(1, int(resources.get("CPU", 1))), int(resources.get("GPU", 0)))


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
