"""A stable id of a model folder's weights, cheap enough for every start and without torch.

Files up to 4 MiB count whole; of larger ones the size, the first MiB (a safetensors header with every name, shape and
offset) and 256 blocks of 4 KiB spread evenly. Any training or merging changes numbers everywhere, so it shows. What a
hand would do to a single weight between two blocks would not: this tells models apart, it does not guard them.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Protocol

from vidlabel.errors import InputError

_WHOLE_BYTES = 4 << 20
_HEAD_BYTES = 1 << 20
_BLOCK_BYTES = 4 << 10
_NUM_BLOCKS = 256
_LEFT_OUT = ("self_test.json",)  # says nothing about the weights
_SUFFIXES = (".json", ".safetensors", ".bin", ".model", ".txt", ".pth")


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...


def fingerprint(folder: Path) -> str:
    """16 hex digits for the weights, configs and tokenizer under `folder`, whatever the folder is called."""
    if not folder.is_dir():
        raise InputError(f"{folder}: not a folder")
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix in _SUFFIXES and path.name not in _LEFT_OUT and not path.name.startswith(".") and path.is_file()
    )
    digest = hashlib.sha256()
    for path in files:
        size = path.stat().st_size
        digest.update(f"{path.relative_to(folder).as_posix()}\x1f{size}\x1f".encode())
        _add_content(digest, path, size)
    return digest.hexdigest()[:16]


def _add_content(digest: _Hash, path: Path, size: int) -> None:
    with path.open("rb") as file:
        if size <= _WHOLE_BYTES:
            digest.update(file.read())
            return
        digest.update(file.read(_HEAD_BYTES))
        for block in range(_NUM_BLOCKS):
            file.seek(block * (size - _BLOCK_BYTES) // (_NUM_BLOCKS - 1))
            digest.update(file.read(_BLOCK_BYTES))
