"""What this machine can do and what it lacks: each finding is a judgement of facts, with what to do about it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Literal

from vidlabel.engine.choice import Choice, version_numbers
from vidlabel.machine import CODECS, Machine, Package

Status = Literal["ok", "warn", "fail"]
_MIN_PYTHON = (3, 11)
_MIN_VERSIONS = {"torch": (2, 9), "transformers": (4, 56), "peft": (0, 15), "av": (14, 0), "decord": (0, 6)}
_OPTIONAL = {"decord": "only --decoder decord needs it"}
_GB = 10**9


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. What is not ok says what to do; a fail stops a run, a warning may not."""

    name: str
    value: str
    status: Status = "ok"
    advice: str = ""

    def __post_init__(self) -> None:
        if (self.status == "ok") == bool(self.advice):
            raise ValueError(f"what is not ok needs advice and what is ok needs none, got {self = }")


def examine(machine: Machine) -> list[Finding]:
    """All findings, in the order of the report."""
    return list(_findings(machine))


def is_ready(findings: Iterable[Finding]) -> bool:
    return all(finding.status != "fail" for finding in findings)


def report(findings: list[Finding]) -> Iterator[str]:
    """A line for each finding, then the verdict."""
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        mark = {"ok": "ok  ", "warn": "warn", "fail": "FAIL"}[finding.status]
        advice = f" -> {finding.advice}" if finding.advice else ""
        yield f"{mark}  {finding.name:<{width}}  {finding.value}{advice}"
    failed = [finding for finding in findings if finding.status == "fail"]
    if failed:
        yield "not ready; to do first: " + "; ".join(finding.advice for finding in failed)
    else:
        yield "ready"


def to_json(findings: list[Finding]) -> str:
    rows = [asdict(finding) for finding in findings]
    return json.dumps({"ready": is_ready(findings), "findings": rows}, indent=2, ensure_ascii=False)


def _findings(machine: Machine) -> Iterator[Finding]:
    yield python_finding(machine.python)
    yield Finding("vidlabel", machine.vidlabel)
    yield torch_finding(machine.packages["torch"], machine.cuda_build)
    yield gpu_finding(machine)
    yield engine_finding(machine.choice)
    yield package_finding("transformers", machine.packages["transformers"])
    yield package_finding("peft", machine.packages["peft"])
    yield package_finding("av", machine.packages["av"], more=f"FFmpeg {machine.ffmpeg}")
    yield package_finding("decord", machine.packages["decord"])
    yield codecs_finding(machine.codecs)
    yield from weights_findings(machine)
    yield Finding("cores", str(machine.num_cores))
    yield memory_finding(machine.memory_bytes, has_gpu=bool(machine.gpus))
    yield shm_finding(machine.shm_bytes, has_memfd=hasattr(os, "memfd_create"))
    yield output_finding(machine)
    yield clock_finding(machine.year)


def python_finding(version: tuple[int, int, int]) -> Finding:
    text = ".".join(map(str, version))
    if version < _MIN_PYTHON:
        return Finding("python", text, "fail", "install Python 3.11 or later")
    return Finding("python", text)


def package_finding(name: str, package: Package, *, more: str = "") -> Finding:
    """A package of the right version that can be imported."""
    needed = _MIN_VERSIONS[name]
    wanted = f"pip install '{name}>={needed[0]}.{needed[1]}'"
    optional = _OPTIONAL.get(name)
    status: Status = "warn" if optional else "fail"
    advice = f"{wanted} ({optional})" if optional else wanted
    if package.version is None:
        return Finding(name, "not installed", status, advice)
    if package.problem:
        return Finding(
            name, f"{package.version}, cannot be imported ({package.problem})", status, f"reinstall: {advice}"
        )
    if version_numbers(package.version) < needed:
        return Finding(name, f"{package.version}, too old", status, advice)
    return Finding(name, f"{package.version}, {more}" if more else package.version)


def torch_finding(package: Package, cuda_build: str | None) -> Finding:
    return package_finding("torch", package, more=f"CUDA {cuda_build} build" if cuda_build else "CPU build")


def gpu_finding(machine: Machine) -> Finding:
    """The GPUs torch can use, or why it uses none."""
    driver = f"driver {machine.driver}" if machine.driver else "driver unknown"
    if machine.gpus:
        first = machine.gpus[0]
        memory = f"{_gb(first.free_bytes)} of {_gb(first.total_bytes)} free"
        more = f", and {len(machine.gpus) - 1} more" if len(machine.gpus) > 1 else ""
        value = f"{first.name}, {memory}, {driver}{more}"
        if first.free_bytes < 18 * _GB:
            advice = "a 7B model in float16 needs about 18 GB free: end what else runs there, or see --quantize"
            return Finding("gpu", value, "warn", advice)
        return Finding("gpu", value)
    if machine.driver and machine.cuda_build is None:
        return Finding("gpu", f"there, {driver}, but torch is a CPU build", "warn", "install a CUDA build of torch")
    if machine.driver:
        advice = f"update the driver to one for CUDA {machine.cuda_build}, or give the container its GPU"
        return Finding("gpu", f"there, {driver}, but torch cannot use it", "warn", advice)
    advice = "the 7B models take minutes a clip on a CPU; shapes and echo are fine"
    return Finding("gpu", "none", "warn", advice)


def engine_finding(choice: Choice | str | None) -> Finding:
    """Which attention path a 7B model gets here, and why."""
    if choice is None:
        return Finding("engine", "unknown without torch", "warn", "install torch first")
    if isinstance(choice, str):
        return Finding("engine", "none", "fail", choice)
    graph = ", decode step as a CUDA graph" if choice.use_graph else ""
    value = f"{choice.kernels}{graph}: {choice.why}"
    if choice.kernels == "flash":
        return Finding("engine", value, "warn", "it works; with Triton decoding is faster")
    return Finding("engine", value)


def codecs_finding(codecs: frozenset[str]) -> Finding:
    """What most videos are made with."""
    missing = [name for name in CODECS if name not in codecs]
    value = ", ".join(name for name in CODECS if name in codecs) or "none"
    if missing:
        status: Status = "fail" if "h264" in missing else "warn"
        advice = f"{', '.join(missing)} cannot be read: pip install --force-reinstall av, or an FFmpeg build with them"
        return Finding("codecs", value, status, advice)
    return Finding("codecs", value)


def weights_findings(machine: Machine) -> Iterator[Finding]:
    """The released models: here, or room for them."""
    for weights in machine.weights:
        name = f"model {weights.name}"
        free = machine.home_free_bytes
        if weights.is_present:
            yield Finding(name, "here")
        elif free is not None and free < weights.gigabytes * _GB:
            advice = f"free {weights.gigabytes:.0f} GB in {machine.home}, or set VIDLABEL_HOME to a larger disk"
            yield Finding(name, f"not here, and only {_gb(free)} free for it", "warn", advice)
        else:
            advice = f"vidlabel models pull {weights.name} ({weights.gigabytes:.0f} GB) if you want it"
            yield Finding(name, "not here", "warn", advice)
    if machine.home_free_bytes is not None:
        yield Finding("disk for models", f"{_gb(machine.home_free_bytes)} free in {machine.home}")


def memory_finding(available: int, *, has_gpu: bool) -> Finding:
    value = f"{_gb(available)} available"
    if available < 2 * _GB:
        return Finding("memory", value, "fail", "free some memory: decoding alone takes 2 GB")
    if available < 16 * _GB and has_gpu:
        return Finding("memory", value, "warn", "the weights pass through memory: with less than 16 GB loading is slow")
    if available < 32 * _GB and not has_gpu:
        return Finding("memory", value, "warn", "a 7B model on the CPU takes 32 GB; shapes and echo need little")
    return Finding("memory", value)


def shm_finding(free: int | None, *, has_memfd: bool) -> Finding:
    """Frames cross from decode workers in memory files, else in the temporary folder, often /dev/shm."""
    if free is None:
        return Finding("/dev/shm", "none; not needed")
    if not has_memfd and free < _GB:
        return Finding("/dev/shm", f"{_gb(free)} free", "warn", "give the container more: docker run --shm-size 2g")
    return Finding("/dev/shm", f"{_gb(free)} free" + ("; not needed" if has_memfd else ""))


def output_finding(machine: Machine) -> Finding:
    name = "output folder"
    if machine.out_problem:
        advice = f"choose another folder, or make {machine.out} writable"
        return Finding(name, f"{machine.out}: {machine.out_problem}", "fail", advice)
    if isinstance(machine.out, str):
        return Finding(name, f"{machine.out}, can be written")
    free = machine.out_free_bytes
    value = f"{machine.out}, " + ("free space unknown" if free is None else f"{_gb(free)} free")
    if free is not None and free < _GB // 10:
        return Finding(name, value, "fail", f"free some disk at {machine.out}")
    if free is not None and free < 5 * _GB:
        return Finding(name, value, "warn", "little room; labels take about 1 MB for a thousand clips")
    return Finding(name, value)


def clock_finding(year: int) -> Finding:
    if not 2024 <= year < 2100:
        advice = "set the clock: downloads fail and labels get wrong dates"
        return Finding("clock", f"says {year}", "fail", advice)
    return Finding("clock", f"says {year}")


def _gb(num_bytes: int) -> str:
    return f"{num_bytes / _GB:.1f} GB"
