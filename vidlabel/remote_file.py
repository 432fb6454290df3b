"""A remote file that is open for reading, as decoders want it: seekable, and fetched in ranges as it is read."""

from __future__ import annotations

import errno
import io
import os
from typing import TYPE_CHECKING

from vidlabel.remote import RemoteInfo, forget_info, read_range, remote_info

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_BLOCK_BYTES, _NUM_BLOCKS = 2 << 20, 8  # kept of one open file
_BLOCKS_PER_LOOK = 8  # read between two looks at whether it is still the same file


class RemoteFile(io.RawIOBase):
    """A file that is read as it is asked for, in blocks of which the last few are kept. Seekable.

    A connection that breaks is made again; a file that is another one than when it was opened is an OSError.
    """

    def __init__(self, url: str, info: RemoteInfo) -> None:
        if info.num_bytes is None:
            raise ValueError(f"a file of unknown length is not read in ranges, got {url = }")
        self.url, self._num_bytes = url, info.num_bytes
        self._info, self._position, self._num_read = info, 0, 0
        self._blocks: dict[int, bytes] = {}

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._num_bytes}[whence]
        if start + offset < 0:
            raise OSError(errno.EINVAL, "before the beginning of the file")
        self._position = start + offset
        return self._position

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        number, offset = divmod(self._position, _BLOCK_BYTES)
        part = b"" if self._position >= self._num_bytes else self._block(number)[offset : offset + len(view)]
        view[: len(part)] = part
        self._position += len(part)
        return len(part)

    def _block(self, number: int) -> bytes:
        block = self._blocks.pop(number, None)
        if block is None:
            start = number * _BLOCK_BYTES
            stop = min(start + _BLOCK_BYTES, self._num_bytes)
            block = read_range(self.url, start, stop)
            if len(block) != stop - start:
                forget_info()
                raise OSError(errno.EIO, f"{self.url}: {len(block)} bytes came where {stop - start} were to be read")
            self._num_read += 1
            if self._num_read % _BLOCKS_PER_LOOK == 0 and remote_info(self.url).version != self._info.version:
                forget_info()
                raise OSError(errno.ESTALE, f"{self.url}: the file was replaced while it was read")
        self._blocks[number] = block  # the latest last
        while len(self._blocks) > _NUM_BLOCKS:
            del self._blocks[next(iter(self._blocks))]
        return block
