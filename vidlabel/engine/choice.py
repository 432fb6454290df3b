"""Which attention path this machine gets, and why. The choice itself is a function of plain facts.

    maths    plain torch; any device, any number format
    flash    CUDA, torch's flash attention
    triton   CUDA, flash attention for prompts and a Triton kernel for the decode step

`VIDLABEL_KERNELS=maths|flash|triton` takes another path than the best one, to find a fault.
"""

from __future__ import annotations

import importlib.metadata
import logging
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from vidlabel.errors import InputError

if TYPE_CHECKING:
    import torch

    from vidlabel.engine.attention import Kernels
    from vidlabel.models.minigpt4_video.model import MiniGPT4Video

logger = logging.getLogger(__name__)

KernelName = Literal["maths", "flash", "triton"]
VARIABLE = "VIDLABEL_KERNELS"
_MIN_CAPABILITY = (8, 0)
_MIN_TRITON = (3, 2)
_MAX_HEAD_DIM = 256


@dataclass(frozen=True, slots=True)
class MachineFacts:
    """All that the choice depends on."""

    device: str  # cpu, cuda, ...
    dtype: str  # float16, bfloat16, float32
    head_dim: int
    capability: tuple[int, int] | None = None  # of the GPU; None: no NVIDIA GPU
    triton: str | None = None  # version; None: not installed
    has_compiler: bool = False  # a C compiler, which Triton needs to start its kernels


@dataclass(frozen=True, slots=True)
class Choice:
    """A path, the reason for it in words, and whether its decode step is to be captured as a CUDA graph."""

    kernels: KernelName
    why: str
    use_graph: bool


def choose(facts: MachineFacts, wanted: str | None = None) -> Choice:
    """The fastest path that these facts allow, or the wanted one if they allow it."""
    no_flash, no_triton = _against_flash(facts), _against_triton(facts)
    if not wanted:
        if no_flash:
            return Choice("maths", f"plain torch: {no_flash}", use_graph=False)
        if no_triton:
            return Choice("flash", f"flash attention, without the Triton decode kernel: {no_triton}", use_graph=True)
        return Choice("triton", f"flash attention and the Triton decode kernel (Triton {facts.triton})", use_graph=True)
    why = f"asked for by {VARIABLE}"
    if wanted == "maths":
        return Choice("maths", why, use_graph=False)
    if wanted not in ("flash", "triton"):
        raise InputError(f"{VARIABLE}={wanted}: it is maths, flash or triton")
    if reason := no_flash or (no_triton if wanted == "triton" else None):
        raise InputError(f"{VARIABLE}={wanted} cannot be had: {reason}; unset it, or take maths")
    return Choice("flash" if wanted == "flash" else "triton", why, use_graph=True)


def _against_flash(facts: MachineFacts) -> str | None:
    if facts.device != "cuda":
        return f"the model runs on {facts.device}"
    if facts.capability is None:
        return "flash attention is for NVIDIA GPUs"
    if facts.capability < _MIN_CAPABILITY:
        major, minor = facts.capability
        return f"the GPU is of compute capability {major}.{minor}, flash attention needs 8.0 (Ampere) or later"
    if facts.dtype not in ("float16", "bfloat16"):
        return f"flash attention has no {facts.dtype}; --dtype float16 or bfloat16 is many times faster"
    if facts.head_dim > _MAX_HEAD_DIM or facts.head_dim % 8:
        return f"flash attention takes heads of up to {_MAX_HEAD_DIM}, in eights, this model's have {facts.head_dim}"
    return None


def _against_triton(facts: MachineFacts) -> str | None:
    if facts.triton is None:
        return "Triton is not installed (pip install triton)"
    if version_numbers(facts.triton) < _MIN_TRITON:
        return f"Triton {facts.triton} is older than {'.'.join(map(str, _MIN_TRITON))}"
    if not facts.has_compiler:
        return "Triton needs a C compiler and finds none (install gcc, or set CC)"
    return None


def version_numbers(text: str) -> tuple[int, ...]:
    """Major and minor of a package's version, to compare."""
    return tuple(int(part) for part in text.split("+")[0].split(".")[:2] if part.isdigit())


def read_facts(device: torch.device, dtype: torch.dtype, head_dim: int) -> MachineFacts:
    """The facts of this machine for a model on that device."""
    import torch

    is_nvidia = device.type == "cuda" and torch.version.hip is None and torch.cuda.is_available()
    return MachineFacts(
        device=device.type,
        dtype=str(dtype).removeprefix("torch."),
        head_dim=head_dim,
        capability=torch.cuda.get_device_capability(device) if is_nvidia else None,
        triton=_installed("triton") or _installed("triton-windows"),
        has_compiler=any(shutil.which(name) for name in (os.environ.get("CC", ""), "cc", "gcc", "clang") if name)
        or os.name == "nt",  # Triton for Windows brings its own
    )


def _installed(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def choose_for(model: MiniGPT4Video) -> Choice:
    """The choice for a loaded model, on its device and in its number format."""
    from vidlabel.engine.slots import head_dim_of  # not above: the doctor reads this module where torch is broken

    weight = model.llama_model.get_input_embeddings().weight  # never quantised
    facts = read_facts(weight.device, weight.dtype, head_dim_of(model.llama_model.config))
    return choose(facts, os.environ.get(VARIABLE))


def choose_kernels(model: MiniGPT4Video) -> Kernels:
    """The chosen path, ready to use. Where Triton turns out not to work here, flash attention alone."""
    choice = choose_for(model)
    logger.info("attention path: %s, %s", choice.kernels, choice.why)
    return build_kernels(choice, model.device)


def build_kernels(choice: Choice, device: torch.device) -> Kernels:
    if choice.kernels == "maths":
        from vidlabel.engine.maths import MathsKernels

        return MathsKernels()
    from vidlabel.engine.flash import FlashKernels

    if choice.kernels == "flash":
        return FlashKernels()
    problem = triton_problem(device)
    if problem is None:
        from vidlabel.engine.triton_decode import TritonKernels

        return TritonKernels(FlashKernels())
    if os.environ.get(VARIABLE) == "triton":
        raise InputError(f"{VARIABLE}=triton: a trial of the kernel failed ({problem}); unset it")
    logger.warning("Triton does not work here (%s): decoding goes on without it, somewhat slower", problem)
    return FlashKernels()


def triton_problem(device: torch.device) -> str | None:
    """What a trial of the decode kernel on that device fails with, None if it works."""
    try:
        from vidlabel.engine.triton_decode import try_out

        try_out(device)
    except Exception as error:  # noqa: BLE001  whatever keeps a compiler from working: there is another path
        return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return None
