"""Reading tensor files and accounting for every tensor: what is missing, extra or of a wrong shape is named."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vidlabel.errors import InputError

_MAX_NAMED = 5


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file, mapped from disk."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path}: not a whole safetensors file ({error})") from error


def read_torch_file(path: Path) -> Any:
    """What `torch.save` wrote, on the CPU; only tensors and plain values, never code."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        raise InputError(f"{path}: cannot be read as weights: damaged, or it holds more than tensors") from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError) as error:  # torch has no error class of its own
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: not a whole weights file ({reason})") from error


def read_tensors(path: Path) -> dict[str, Tensor]:
    """A flat state dict from a safetensors or torch file."""
    if path.suffix == ".safetensors":
        return read_safetensors(path)
    return require_tensors(read_torch_file(path), source=str(path))


def require_tensors(values: object, *, source: str) -> dict[str, Tensor]:
    """`values` as a state dict, if it is one."""
    if not isinstance(values, Mapping) or not all(isinstance(value, Tensor) for value in values.values()):
        raise InputError(f"{source}: expected tensors by name")
    return {str(name): value for name, value in values.items()}


def weight_files(folder: Path) -> list[Path]:
    """The weight files of a Hugging Face model folder: safetensors before .bin, sharded or not."""
    for stem, suffix in (("model", "safetensors"), ("pytorch_model", "bin")):
        index = folder / f"{stem}.{suffix}.index.json"
        if index.exists():
            try:
                names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
            except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
                raise InputError(f"{index}: not a list of weight files ({error!r})") from error
            if any(Path(name).name != name for name in names):
                raise InputError(f"{index}: names files outside of its folder")
            absent = [name for name in names if not (folder / name).exists()]
            if absent:
                raise InputError(f"{folder}: {_listed(absent)} missing, named by {index.name}")
            return [folder / name for name in names]
        single = folder / f"{stem}.{suffix}"
        if single.exists():
            return [single]
    raise InputError(f"{folder}: has no model.safetensors or pytorch_model.bin, whole or in shards")


def iterate_tensors(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """All tensors of a Hugging Face model folder, one file open at a time."""
    for path in weight_files(folder):
        yield from read_tensors(path).items()


def check_tensors(
    found: Mapping[str, Tensor], expected: Mapping[str, torch.Size], *, source: str, optional: Sequence[str] = ()
) -> None:
    """Every expected tensor is there with its shape, and no other; `optional` ones may be absent."""
    missing = sorted(name for name in expected if name not in found and name not in optional)
    extra = sorted(name for name in found if name not in expected)
    wrong = sorted(
        f"{name} {tuple(found[name].shape)} instead of {tuple(shape)}"
        for name, shape in expected.items()
        if name in found and found[name].shape != shape
    )
    problems = [
        f"{_listed(names)} {what}"
        for names, what in ((missing, "missing"), (extra, "not part of this model"), (wrong, "(wrong shape)"))
        if names
    ]
    if problems:
        raise InputError(f"{source}: " + "; ".join(problems))


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_MAX_NAMED])
    return shown if len(names) <= _MAX_NAMED else f"{shown} and {len(names) - _MAX_NAMED} more"
