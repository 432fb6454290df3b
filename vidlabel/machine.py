"""What there is on this machine, read once for `vidlabel doctor`. Reads only: nothing here judges or changes anything
(but for one empty file that is made and removed again to see whether a folder can be written)."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import vidlabel
from vidlabel.cores import available_cores
from vidlabel.engine.choice import VARIABLE, Choice, choose, read_facts, triton_problem
from vidlabel.engine.memory import available_memory
from vidlabel.errors import InputError
from vidlabel.models.presets import PRESETS, is_present, models_home
from vidlabel.remote import is_url
from vidlabel.store import writing_problem_at

if TYPE_CHECKING:
    import torch

PACKAGES = ("torch", "transformers", "peft", "av", "decord")
# as the decoders of FFmpeg are called; for AV1 only those that need no special hardware
CODECS = {"h264": ("h264",), "hevc": ("hevc",), "vp9": ("vp9",), "av1": ("libdav1d", "libaom-av1")}
_HEAD_DIM = 128  # of both released models


@dataclass(frozen=True, slots=True)
class Package:
    """An installed package; without a version it is not here, with a problem it cannot be imported."""

    version: str | None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU as torch sees it."""

    name: str
    free_bytes: int
    total_bytes: int
    capability: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Weights:
    """A preset and whether its weights are here."""

    name: str
    is_present: bool
    gigabytes: float


@dataclass(frozen=True, slots=True)
class Machine:
    """All that the doctor looks at."""

    python: tuple[int, int, int]
    vidlabel: str
    packages: dict[str, Package]
    cuda_build: str | None  # the CUDA that torch was built for
    gpus: tuple[Gpu, ...]
    driver: str | None  # of the GPU, as nvidia-smi says
    choice: Choice | str | None  # a string: why there is none; None: no torch
    ffmpeg: str | None
    codecs: frozenset[str]  # those of CODECS that can be decoded
    weights: tuple[Weights, ...]
    num_cores: int
    memory_bytes: int  # available
    out: Path | str  # a string: on a store
    out_problem: str | None  # why it cannot be written
    out_free_bytes: int | None
    home: Path  # of fetched models
    home_free_bytes: int | None
    shm_bytes: int | None
    year: int


def read_machine(out: str | Path) -> Machine:
    """This machine; labels are to go to the folder `out`."""
    is_on_store = is_url(str(out))
    packages = {name: _package(name) for name in PACKAGES}
    has_torch, has_av = (packages[name].version and not packages[name].problem for name in ("torch", "av"))
    gpus = _gpus() if has_torch else ()
    return Machine(
        python=sys.version_info[:3],
        vidlabel=vidlabel.__version__,
        packages=packages,
        cuda_build=_cuda_build() if has_torch else None,
        gpus=gpus,
        driver=_driver(),
        choice=_choice(has_gpu=bool(gpus)) if has_torch else None,
        ffmpeg=_ffmpeg() if has_av else None,
        codecs=_codecs() if has_av else frozenset(),
        weights=tuple(Weights(p.name, is_present(p), p.gigabytes) for p in PRESETS.values() if p.files),
        num_cores=available_cores(),
        memory_bytes=available_memory(),
        out=str(out) if is_on_store else Path(out).absolute(),
        out_problem=writing_problem_at(str(out)) if is_on_store else writing_problem(Path(out)),
        out_free_bytes=None if is_on_store else _free_bytes(Path(out)),
        home=models_home(),
        home_free_bytes=_free_bytes(models_home()),
        shm_bytes=_free_bytes(Path("/dev/shm")) if Path("/dev/shm").is_dir() else None,
        year=time.gmtime().tm_year,
    )


def writing_problem(folder: Path) -> str | None:
    """Why no file can be written in a folder (or in the nearest one above it that is there), None if one can."""
    try:
        with tempfile.NamedTemporaryFile(dir=_nearest(folder), prefix=".vidlabel-"):
            return None
    except OSError as error:
        return error.strerror or str(error)


def _package(name: str) -> Package:
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return Package(None)
    try:
        importlib.import_module(name)
    except Exception as error:  # noqa: BLE001  a broken install may raise anything, and to say so is the point
        return Package(version, f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
    return Package(version)


def _cuda_build() -> str | None:
    import torch

    return torch.version.cuda


def _gpus() -> tuple[Gpu, ...]:
    import torch

    if not torch.cuda.is_available():
        return ()
    found = []
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        capability = torch.cuda.get_device_capability(index)
        found.append(Gpu(torch.cuda.get_device_name(index), free, total, capability))
    return tuple(found)


def _driver() -> str | None:
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    query = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return next(iter(done.stdout.split()), None)


def _choice(*, has_gpu: bool) -> Choice | str:
    """The path a 7B model gets here, the Triton kernel tried out."""
    import torch

    device = torch.device("cuda" if has_gpu else "cpu")
    dtype = torch.float16 if has_gpu else torch.float32
    try:
        choice = choose(read_facts(device, dtype, _HEAD_DIM), os.environ.get(VARIABLE))
    except InputError as error:
        return str(error)
    return _tried(choice, device)


def _tried(choice: Choice, device: torch.device) -> Choice:
    if choice.kernels != "triton" or (problem := triton_problem(device)) is None:
        return choice
    return Choice("flash", f"flash attention alone: Triton is here but does not work ({problem})", use_graph=True)


def _ffmpeg() -> str:
    import av

    return str(getattr(av, "ffmpeg_version_info", None) or av.library_versions["libavcodec"])


def _codecs() -> frozenset[str]:
    from av.codec import Codec
    from av.codec.codec import UnknownCodecError

    def has(decoder: str) -> bool:
        try:
            Codec(decoder, "r")
        except UnknownCodecError:
            return False
        return True

    return frozenset(name for name, decoders in CODECS.items() if any(has(decoder) for decoder in decoders))


def _free_bytes(folder: Path) -> int | None:
    try:
        return shutil.disk_usage(_nearest(folder)).free
    except OSError:
        return None


def _nearest(folder: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    folder = folder.absolute()
    return next((path for path in (folder, *folder.parents) if path.is_dir()), folder)
