"""Where a run's stages and its captioner are: this process and its workers, several captioner processes, or Ray."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Literal, Protocol

from vidlabel.captioner import Captioner
from vidlabel.config import Limits
from vidlabel.errors import InputError
from vidlabel.executors.asking import ManyCaptioners
from vidlabel.executors.captioner_processes import CaptionerProcesses, Load
from vidlabel.executors.local import Task
from vidlabel.executors.workers import DecodeWorkers, StageWorkers

ExecutorName = Literal["local", "ray", "auto"]

SLOTS_OF_A_GPU, SLOTS_OF_A_CPU = 64, 8  # the most that the slot engine takes by itself
_AHEAD = 4  # clips that wait in a captioner's process


class Executor(Protocol):
    def workers(self, limits: Limits) -> AbstractContextManager[StageWorkers[Task]]: ...

    def captioner(self, load: Load) -> AbstractContextManager[Captioner]: ...


@dataclass(frozen=True, slots=True)
class Cluster:
    """What a Ray cluster has now; one that grows may have more later."""

    num_cpus: int
    num_gpus: int


@dataclass(frozen=True, slots=True)
class LocalExecutor:
    """This machine. One captioner is in the run's own process; several have a process each."""

    num_captioners: int = 1
    window: int = SLOTS_OF_A_CPU + _AHEAD  # see `asking.ManyCaptioners`
    devices: tuple[str, ...] = ()  # see `CaptionerProcesses`

    def workers(self, limits: Limits) -> AbstractContextManager[StageWorkers[Task]]:
        return DecodeWorkers[Task](num_workers=limits.num_workers, memory_mb=limits.memory_mb)

    @contextmanager
    def captioner(self, load: Load) -> Iterator[Captioner]:
        if self.num_captioners == 1:
            yield load()
            return
        with CaptionerProcesses(load, count=self.num_captioners, devices=self.devices) as processes:
            yield ManyCaptioners(processes, window=self.window)


def executor_for(num_captioners: int | None, limits: Limits, *, device: str, cluster: Cluster | None) -> Executor:
    """One captioner a GPU unless told; one where there is none."""
    if cluster is not None:
        from vidlabel.executors.ray_cluster import ray_executor

        return ray_executor(num_captioners, limits, cluster, device=device)
    devices = visible_gpus() if device == "cuda" else ()
    count = num_captioners or max(1, len(devices))
    return LocalExecutor(count, window_of(limits, device=device), devices)


def window_of(limits: Limits, *, device: str) -> int:
    """Clips for one captioner: all its slots, or a batch, and some that wait."""
    slots = limits.num_slots or (SLOTS_OF_A_GPU if device == "cuda" else SLOTS_OF_A_CPU)
    return max(slots, limits.batch_size) + _AHEAD


def visible_gpus() -> tuple[str, ...]:
    """The GPUs that this process may use, by the names that CUDA_VISIBLE_DEVICES gives them."""
    import torch

    count = torch.cuda.device_count()
    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return tuple(named[:count]) if named else tuple(map(str, range(count)))


def takes_ray(name: ExecutorName) -> bool:
    """What `auto` means on this machine."""
    is_installed = importlib.util.find_spec("ray") is not None
    if name == "ray" and not is_installed:
        raise InputError("--executor ray needs Ray: pip install 'vidlabel[ray]', or take --executor local")
    if name == "auto" and is_installed:
        return bool(os.environ.get("RAY_ADDRESS")) or len(visible_gpus()) > 1
    return name == "ray"
