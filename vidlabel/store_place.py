"""An output on an object store: the run works in a local folder, and what it makes is sent as it is made.

    s3://bucket/labels.parquet                 one upload at the end: whole or absent, the old one until then
    s3://bucket/labels.parquet.work/           while a run lasts: parts, scenes and `run.json`, sent every second
    s3://bucket/labels.parquet.work/lock       who works there (store_lock.py)
    s3://bucket/labels.parquet.work/shard-3-of-16/    the same for each shard
    s3://bucket/labels.failures.jsonl

So a run that dies with its machine goes on elsewhere from what the store has. The local folder goes when the run ends
and all is on the store. Where something could not be sent, both the folder and the lock stay: on this machine the same
command goes on from there at once, on others from what the store has, once the lock is stale.
"""

from __future__ import annotations

import logging
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from vidlabel.atomic import write_whole
from vidlabel.config import Settings
from vidlabel.errors import InputError, LockedError, WriteError
from vidlabel.gather import gather, held
from vidlabel.lock import locked
from vidlabel.outputs import Output, work_place
from vidlabel.shard import Shard
from vidlabel.store import delete
from vidlabel.store_keeper import Keeper, reason_of, write_error
from vidlabel.store_lock import LockLostError, LockTimes, StoreLock
from vidlabel.working_copy import LOCK, Names, WorkingCopy, work_place_held

logger = logging.getLogger(__name__)
Held = TypeVar("Held")

_MOMENT_SECONDS = 60.0  # that a shard may hold the lock of all, to begin or to end
_RETRY_SECONDS = 5.0
_OWNER = "owner"


@contextmanager
def store_place(output: Output, times: LockTimes) -> Iterator[StorePlace]:
    assert output.url is not None
    folder = work_place(output.url, output.shard)
    with work_place_held(folder, output.url):
        place = StorePlace(replace(output, path=folder / output.path.name), times)
        try:
            yield place
        finally:
            if place.is_saved:
                shutil.rmtree(folder)


class StorePlace:
    """Meets `Place`."""

    def __init__(self, output: Output, times: LockTimes) -> None:
        assert output.url is not None
        self.output, self._url, self._times = output, output.url, times
        self._copy = WorkingCopy(output)
        self._keeper: Keeper | None = None
        self.is_saved = not (self._copy.folder / _OWNER).exists()  # nothing is here that the store does not have
        self._owner = _owner(self._copy.folder)

    # ---- what a run asks -----------------------------------------------------------------------------------------

    @contextmanager
    def held(self, settings: Settings, *, overwrite: bool, dry_run: bool, where: str | None) -> Iterator[bool]:
        if dry_run:
            self._begin(lambda: self._copy.pull(_everything, keep=self._is_in_progress))
        local = held(self.output, settings, overwrite=overwrite, dry_run=dry_run, where=where)
        take = _as_it_is if dry_run else self._held_shard if self.output.shard else self._held_whole
        with take(local) as replacing:
            yield replacing

    @contextmanager
    def held_alone(self) -> Iterator[None]:
        with self._held_whole(locked(self.output.work)):
            yield

    def save(self) -> None:
        self._patiently(lambda: self._copy.push(self._is_in_progress, with_deletions=False))

    def check(self) -> None:
        if self._keeper is not None:
            self._keeper.check()

    def gather(self, settings: Settings) -> tuple[Shard, ...]:
        lock = self._new_lock(None)
        try:
            self._begin(lambda: lock.acquire(self._times.stale_seconds + _MOMENT_SECONDS))
        except LockedError:
            return ()  # whoever holds it for so long merges this shard's work with its own
        with self._kept(lock):
            self._begin(lambda: self._copy.pull(self._copy.is_state))
            if all((shard.work / "done.json").exists() for shard in self._all_shards()):
                self._begin(lambda: self._copy.pull(_everything))
            missing = gather(self.output, settings)
            self._send_all(lock, _everything)
        return missing

    # ---- holding it ----------------------------------------------------------------------------------------------

    @contextmanager
    def _held_whole(self, local: AbstractContextManager[Held]) -> Iterator[Held]:
        lock = self._new_lock(None)
        was_left = self._begin(lock.acquire)
        with self._kept(lock, send=self._send_parts):
            self._begin(self._check_shards)
            self._begin(lambda: self._copy.pull(_everything, keep=self._is_in_progress if was_left else None))
            with local as inside:
                self._send_all(lock, _everything)  # what shards have left is this run's own now
                yield inside
            self._send_all(lock, _everything)  # after `local`, which removes a work folder that nothing is in

    @contextmanager
    def _held_shard(self, local: AbstractContextManager[Held]) -> Iterator[Held]:
        """The lock of all is held to begin only; the shard's own, all the time."""
        moment, own = self._new_lock(None), self._new_lock(self.output.shard)
        self._begin(lambda: moment.acquire(_MOMENT_SECONDS))
        with ExitStack() as stack:
            with self._kept(moment):
                was_left = self._begin(own.acquire)
                stack.enter_context(self._kept(own, send=self._send_parts))
                self._begin(
                    lambda: self._copy.pull(self._is_known_to_all, keep=self._is_in_progress if was_left else None)
                )
                inside = stack.enter_context(local)
                self._send_all(moment, self._is_known_to_all)
            self._begin(lambda: self._copy.pull(self._copy.is_labels))  # may be large: others need not wait for it
            yield inside
            self._send_all(own, self._is_in_progress)

    @contextmanager
    def _kept(self, lock: StoreLock, send: Callable[[], None] | None = None) -> Iterator[None]:
        """Lets the lock go in the end, unless there is work here that could not be sent, or it is lost."""
        is_there = True
        try:
            with Keeper(lock, send, self._times) as keeper:
                if send is not None:
                    self._keeper = keeper
                yield
        except (LockLostError, WriteError):
            is_there = False
            raise
        except BaseException:  # also a second Ctrl-C: what was made is sent if the store can be reached, and no error
            with suppress(OSError):  # of that takes the place of this one
                self._copy.push(self._is_in_progress, with_deletions=False)
            raise
        finally:
            self.is_saved = is_there and self._copy.has_all(self._is_in_progress)
            if self.is_saved:
                with suppress(OSError):  # it grows stale by itself
                    lock.release()

    def _check_shards(self) -> None:
        for name in self._copy.shards_with_locks():
            lock = StoreLock(self._copy.url(f"{self._copy.work_name}/{name}/{LOCK}"), self._owner, self._times)
            lock.check_free()
            delete(lock.url)

    # ---- asking the store ----------------------------------------------------------------------------------------

    def _begin(self, ask: Callable[[], Held]) -> Held:
        """Before any work is done, a store that cannot be used is a mistake of who named it."""
        try:
            return ask()
        except WriteError:
            raise  # on this machine's disk
        except OSError as error:
            raise InputError(f"{self._url} cannot be written: {reason_of(error)}") from error

    def _send_parts(self) -> None:
        self._copy.push(self._is_in_progress, with_deletions=False)

    def _send_all(self, lock: StoreLock, covered: Names) -> None:
        def send() -> None:
            lock.confirm()
            self._copy.push(covered)

        self._patiently(send)

    def _patiently(self, send: Callable[[], None]) -> None:
        deadline = time.monotonic() + self._times.patience_seconds
        while True:
            try:
                return send()
            except (PermissionError, FileNotFoundError) as error:
                raise self._not_sent(error) from error
            except OSError as error:
                if time.monotonic() >= deadline:
                    raise self._not_sent(error) from error
                logger.warning("%s; tried again", reason_of(error))
            time.sleep(min(_RETRY_SECONDS, self._times.patience_seconds / 4))

    def _not_sent(self, error: OSError) -> WriteError:
        return write_error(error, self._url)

    # ---- names ---------------------------------------------------------------------------------------------------

    def _is_in_progress(self, name: str) -> bool:
        """What this run makes before its labels are merged."""
        if self.output.shard is not None:
            return self._copy.shard_of(name) == self.output.shard.folder_name
        return not self._copy.is_labels(name)

    def _is_known_to_all(self, name: str) -> bool:
        """What a shard needs to begin: its own work, that of nobody else's, and how far others are."""
        return self._copy.is_state(name) or (
            self._copy.is_work(name) and self._copy.shard_of(name) in (None, self.output.work.name)
        )

    def _all_shards(self) -> Iterator[Output]:
        assert self.output.shard is not None
        count = self.output.shard.count
        return (replace(self.output, shard=Shard(number, count)) for number in range(1, count + 1))

    def _new_lock(self, shard: Shard | None) -> StoreLock:
        folder = self._copy.work_name if shard is None else f"{self._copy.work_name}/{shard.folder_name}"
        return StoreLock(self._copy.url(f"{folder}/{LOCK}"), self._owner, self._times)


@contextmanager
def _as_it_is(local: AbstractContextManager[Held]) -> Iterator[Held]:
    with local as inside:
        yield inside


def _everything(name: str) -> bool:
    return True


def _owner(folder: Path) -> str:
    """Names this folder. A run that finds a lock with this name on the store knows that its holder is dead."""
    file = folder / _OWNER
    if not file.exists():
        write_whole(file, uuid.uuid4().hex)
    return file.read_text(encoding="utf-8")
