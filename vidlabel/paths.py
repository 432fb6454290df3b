"""Where the files that inputs name are, and that none of them is outside of `--root` where one is given."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

from vidlabel.errors import InputError
from vidlabel.remote import check_url, exists, is_folder, is_url, join_url


def shown(path: str) -> str:
    """The path as a message can hold it: bytes that are no UTF-8 become backslash codes."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return path.encode(errors="surrogateescape").decode(errors="backslashreplace")
    return path


def row_name(file: str, number: int) -> str:
    """How a message names a line of a manifest; 0 is the file itself."""
    if not number:
        return shown(file)
    kinds = {".parquet": "row", ".json": "entry"}
    return f"{shown(file)}, {kinds.get(Path(file).suffix.lower(), 'line')} {number}"


class Places:
    """Turns paths into absolute ones. Links are not followed: a video's id does not change with where a link leads."""

    def __init__(self, root: str | None, *, option: str = "--root") -> None:
        self._option = option  # that gave the root
        self._here = str(Path.cwd())
        self.root: str | None = None
        if root is not None and is_url(root):
            check_url(root)
            self.root = join_url(root, ".")
        elif root is not None:
            if not Path(root).is_dir():
                raise InputError(f"{option} {root}: no such folder")
            self.root = self.absolute(root)
            self._real_root = str(Path(self.root).resolve())
            self._real_folders: dict[str, str] = {}

    def absolute(self, path: str, base: str | None = None) -> str:
        """Without `..` and doubled slashes, from `base` or the current folder. A URL stays what it is."""
        if is_url(path):
            return path
        if base is not None and is_url(base):
            return join_url(base, path)
        return os.path.normpath(path if path.startswith("/") else f"{(base or self._here).rstrip('/')}/{path}")

    def kind_of(self, given: str) -> Literal["folder", "file"]:
        """What stands on the command line is there, or it is a mistake."""
        if is_url(given):
            check_url(given)
            return _remote_kind(given)
        try:
            mode = Path(given).stat().st_mode
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise InputError(f"{shown(given)}: cannot be opened: {reason}") from error
        return "folder" if stat.S_ISDIR(mode) else "file"

    def locate(self, path: str, *, base: str, where: tuple[str, int]) -> str:
        """The absolute path of `path`, which is relative to the absolute `base`. InputError when it leaves the root."""
        wrong = None
        location = self.absolute(path, base)
        if is_url(location):
            wrong = _wrong_url(location)
        elif "\0" in path:
            wrong = f"{path!r}: a path has no zero byte"
        if wrong is None and self.root is not None and not self._is_below_root(location):
            wrong = f"{shown(path)} is outside of {self._option} {self.root}"
        if wrong is not None:
            raise InputError(wrong if where == (path, 0) else f"{row_name(*where)}: {wrong}")
        return location

    def below_root(self, location: str) -> str | None:
        """The path from the root; None without a root."""
        if self.root is None:
            return None
        return location[len(self.root.rstrip("/")) + 1 :]

    def _is_below_root(self, location: str) -> bool:
        assert self.root is not None
        if not _starts_with(location, self.root):
            return False
        if is_url(location):  # a store has no links, and `..` in a web address is for the server to read
            return "/.." not in unquote(location)
        # links are few and folders are shared: follow the folder once, and the file only when it is a link
        folder, _, name = location.rpartition("/")
        real = self._real_folders.get(folder)
        if real is None:
            real = self._real_folders[folder] = os.path.realpath(
                folder or "/"
            )  # not `resolve`: links may go in a circle
        real = os.path.realpath(location) if os.path.islink(location) else f"{real.rstrip('/')}/{name}"  # noqa: PTH114
        return _starts_with(real, self._real_root)


def _remote_kind(url: str) -> Literal["folder", "file"]:
    try:
        if is_folder(url):
            return "folder"
        if not exists(url):
            raise InputError(f"{url}: there is no such file or folder")
    except OSError as error:
        raise InputError(f"{url}: cannot be opened: {error.strerror or error}") from error
    return "file"


def _wrong_url(url: str) -> str | None:
    try:
        check_url(url)
    except InputError as error:
        return str(error)
    return None


def _starts_with(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder.rstrip('/')}/")
