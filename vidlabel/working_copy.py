"""The local folder that stands for the place on a store where a run's output is: the same names below both.

    s3://bucket/a/labels.parquet          <->  ~/.cache/vidlabel/remote/outputs/.../labels.parquet
    s3://bucket/a/labels.parquet.work/    <->  ~/.cache/vidlabel/remote/outputs/.../labels.parquet.work/

A run works in it as in any folder. What the store has is pulled first; what is made is pushed, each file whole, in the
order in which it was to be there. Nothing is deleted on the store before all that was to be sent has arrived.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from vidlabel.atomic import whole_file
from vidlabel.errors import InputError, LockedError
from vidlabel.lock import locked
from vidlabel.outputs import WORK_FILES, Output
from vidlabel.remote import copy_to
from vidlabel.store import Stored, delete, stored, stored_below, upload

LOCK = "lock"
_STATE_FILES = ("run.json", "done.json", "failures.jsonl")  # of a work folder: few bytes

Names = Callable[[str], bool]
Stamp = tuple[int, int]


@contextmanager
def work_place_held(folder: Path, url: str) -> Iterator[None]:
    """One run at a time in this local folder. Messages name what is on the store, not what stands for it here."""
    try:
        with locked(folder):
            yield
    except (InputError, LockedError) as error:
        text = str(error).replace(f"{folder}/", f"{url.rpartition('/')[0]}/").replace(str(folder), url)
        raise type(error)(text) from error


class WorkingCopy:
    """Of one output. Names are paths from the folder that holds the output, with slashes."""

    def __init__(self, output: Output) -> None:
        assert output.url is not None
        self._output = output.whole
        self.folder = output.path.parent
        self._url = output.url.rpartition("/")[0]
        self._known: dict[str, Stamp] = {}  # what both sides have, as the local file was when it was sent or fetched
        self._versions: dict[str, str] = {}  # of what was fetched
        self._stand_ins: set[str] = set()
        made = (self._output.side_file, self._output.embeddings, self._output.skipped)
        self._made_with_labels = {path.name for path in made if path.parent == self.folder}
        self._lock = threading.Lock()

    # ---- names ---------------------------------------------------------------------------------------------------

    @property
    def work_name(self) -> str:
        return self._output.work.name

    def url(self, name: str) -> str:
        return f"{self._url}/{name}"

    def is_labels(self, name: str) -> bool:
        """The labels themselves, and what else is made of all parts at once."""
        return self._is_label_file(name) or name.split("/")[0] in self._made_with_labels

    def is_work(self, name: str) -> bool:
        return name.startswith(f"{self.work_name}/")

    def is_state(self, name: str) -> bool:
        """What runs need to know of each other before they begin, and failures."""
        return not self.is_labels(name) and not _is_part(name)

    def shard_of(self, name: str) -> str | None:
        """The folder of the shard that a file of the work folder belongs to."""
        parts = name.split("/")
        return parts[1] if len(parts) == 3 and parts[0] == self.work_name else None

    # ---- both ways -----------------------------------------------------------------------------------------------

    def pull(self, wanted: Names, *, keep: Names | None = None) -> None:
        """Fetches what is on the store and not here, and removes here what is not there.

        `keep`: a killed run has left this here and may not have sent it: it stays, to be sent.
        """
        with self._lock:
            there = {name: found for name, found in self._stored().items() if wanted(name)}
            for name in sorted(self._local()):
                if wanted(name) and name not in there and not (keep and keep(name)):
                    self.path(name).unlink()
                    self._known.pop(name, None)
            for name, found in sorted(there.items()):
                self._fetch(name, found, keep=keep is not None and keep(name))

    def changes(self, covered: Names) -> tuple[list[str], list[str]]:
        """What is new here, and what has gone, each in the order in which the store is to hear of it."""
        local = self._local()
        changed = [name for name, stamp in local.items() if covered(name) and self._known.get(name) != stamp]
        gone = [name for name in self._known if covered(name) and name not in local]
        return sorted(changed, key=self._order), sorted(gone, key=lambda name: (not name.endswith("/run.json"), name))

    def push(self, covered: Names, *, with_deletions: bool = True) -> None:
        """Sends what is new here; then deletes there what has gone here."""
        with self._lock:
            changed, gone = self.changes(covered)
            for name in changed:
                try:
                    sent = _stamp(self.path(name))
                    upload(self.path(name), self.url(name))
                except FileNotFoundError:
                    if self.path(name).exists():
                        raise  # the bucket is not there
                    continue  # rewritten or removed just now
                self._known[name] = sent
            for name in gone if with_deletions else ():
                delete(self.url(name))
                del self._known[name]

    def has_all(self, covered: Names) -> bool:
        """Whether all that is here is on the store."""
        return all(self._known.get(name) == stamp for name, stamp in self._local().items() if covered(name))

    def shards_with_locks(self) -> list[str]:
        """On the store, by the names of their folders."""
        locks = (name.split("/") for name in stored_below(self.url(self.work_name)))
        return sorted(parts[0] for parts in locks if len(parts) == 2 and parts[1] == LOCK)

    # ---- one file ------------------------------------------------------------------------------------------------

    def _fetch(self, name: str, found: Stored, *, keep: bool) -> None:
        path = self.path(name)
        if path.exists() and name in self._known and found.version and self._versions.get(name) == found.version:
            return
        if path.exists() and keep:
            if _is_part(name) and path.stat().st_size == found.num_bytes:
                self._known[name] = _stamp(path)  # parts are never rewritten
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as beside:
            copy_to(self.url(name), str(beside))
            beside.touch()  # an empty object need not make a file
        self._known[name], self._versions[name] = _stamp(path), found.version

    def _order(self, name: str) -> tuple[int, str]:
        """What speaks of other files comes before them, `done.json` after all."""
        if name.endswith("/run.json") or name == self._name(self._output.side_file):
            return 0, name
        if name.endswith("/done.json"):
            return 3, name
        return (1 if self.is_labels(name) else 2), name

    # ---- what there is -------------------------------------------------------------------------------------------

    def _stored(self) -> dict[str, Stored]:
        found = {f"{self.work_name}/{name}": it for name, it in stored_below(self.url(self.work_name)).items()}
        beside = {self._name(self._output.failures), *self._made_with_labels}
        if self._output.kind == "folder":
            self._folder_listed(found)
            embeddings = self._name(self._output.embeddings)
            found |= {f"{embeddings}/{name}": it for name, it in stored_below(self.url(embeddings)).items()}
        else:
            beside.add(self._name(self._output.path))
        for name in sorted(beside):
            if it := stored(self.url(name)):
                found[name] = it
        return {name: it for name, it in found.items() if self._is_ours(name)}

    def _folder_listed(self, found: dict[str, Stored]) -> None:
        """Files in the output's folder that are not vidlabel's are not fetched: an empty file says that they are there,
        so that the rules for a local folder hold."""
        folder = self._output.path.name
        for name, it in stored_below(self.url(folder)).items():
            top = f"{folder}/{name.split('/')[0]}"
            if self._is_label_file(f"{folder}/{name}"):
                found[f"{folder}/{name}"] = it
            elif top not in self._stand_ins:
                self._stand_ins.add(top)
                self.path(top).parent.mkdir(parents=True, exist_ok=True)
                self.path(top).touch()

    def _local(self) -> dict[str, Stamp]:
        found = {}
        for path in self.folder.rglob("*"):
            name = self._name(path)
            if self._is_ours(name) and name not in self._stand_ins:
                try:
                    if path.is_file():
                        found[name] = _stamp(path)
                except FileNotFoundError:
                    continue  # rewritten or removed just now
        return found

    def _is_ours(self, name: str) -> bool:
        """Of the files that are on both sides: not locks, and nothing half-written."""
        if self.is_work(name):
            return _is_part(name) or PurePosixPath(name).name in _STATE_FILES
        return self.is_labels(name) or name == self._name(self._output.failures)

    def _is_label_file(self, name: str) -> bool:
        path = PurePosixPath(name)
        if self._output.kind == "folder":
            own = path.match("part-*.parquet") or name == self._name(self._output.side_file)
            return str(path.parent) == self._output.path.name and own
        return name == self._output.path.name

    def _name(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()

    def path(self, name: str) -> Path:
        if not set(name.split("/")).isdisjoint(("..", ".", "")):
            raise InputError(f"{self.url(name)}: not a name that vidlabel gives")
        return self.folder / name


def _is_part(name: str) -> bool:
    path = PurePosixPath(name)
    return path.suffix == ".parquet" and any(path.match(pattern) for pattern in WORK_FILES)


def _stamp(path: Path) -> Stamp:
    status = path.stat()
    return status.st_mtime_ns, status.st_size
