"""One run per output on an object store, which has no locks: an object says who works there.

Two conditions make it one: it is made only where there is none, and taken over only if it is still the one that was
found to be stale. Its holder writes it again every half minute; silent for five minutes it is stale, by the store's own
clock. `owner` is the local folder that the holder works in: a run there knows a lock that its killed forerunner has
left, and that nobody has taken over meanwhile.
"""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime

from vidlabel.errors import LockedError
from vidlabel.store import Stored, delete, read_object, stored, write_if, write_object


@dataclass(frozen=True, slots=True)
class LockTimes:
    """How long things take at a store. `patience` is less than `stale`: a run that cannot reach the store stops before
    others may believe it dead."""

    beat_seconds: float = 30.0
    stale_seconds: float = 300.0
    patience_seconds: float = 240.0
    push_seconds: float = 1.0  # between two looks for parts to be sent


class LockLostError(LockedError):
    """Another run has taken the lock over, believing this one dead."""


class StoreLock:
    """Not to be shared by threads, but for `confirm` and `beat` of one after the other."""

    def __init__(self, url: str, owner: str, times: LockTimes) -> None:
        self.url, self._owner, self._times = url, owner, times
        self._token = uuid.uuid4().hex
        self._version = ""

    def acquire(self, wait_seconds: float = 0.0) -> bool:
        """Raises LockedError; True: it was left there by a run that was killed in this folder."""
        deadline = time.monotonic() + wait_seconds
        while True:
            holder, found = self._holder(), stored(self.url)
            if holder is None or found is None:  # looked for first: a store may know no conditions
                if write_if(self.url, self._body(), None) and self._is_mine():
                    return False
            elif holder.get("token") == self._token:
                self._version = found.version
                return False  # it was made, only the answer got lost
            elif (left_here := holder.get("owner") == self._owner) or self._is_stale(found):
                if write_if(self.url, self._body(), found.version) and self._is_mine():
                    return left_here
            elif time.monotonic() >= deadline:
                raise LockedError(self._held_by(holder))
            time.sleep(min(0.5, max(0.05, deadline - time.monotonic())))

    def check_free(self) -> None:
        """LockedError if somebody holds it who is not known to be gone."""
        holder, found = self._holder(), stored(self.url)
        if holder and found and holder.get("owner") != self._owner and not self._is_stale(found):
            raise LockedError(self._held_by(holder))

    def beat(self) -> None:
        """Says that its holder lives. LockLostError if it is not the holder any more."""
        self.confirm()
        if not write_if(self.url, self._body(), self._version) or not self._is_mine():
            self.confirm()

    def confirm(self) -> None:
        if not self._is_mine():
            raise LockLostError(
                f"another run has taken {self._place} over, as this one was not heard of, and goes on with it"
            )

    def release(self) -> None:
        if self._is_mine():
            delete(self.url)

    @property
    def _place(self) -> str:
        return self.url.rpartition("/")[0]

    def _body(self) -> bytes:
        holder = {
            "owner": self._owner,
            "token": self._token,
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "heard_at": datetime.now(UTC).isoformat(timespec="milliseconds"),  # so that each writing is another version
        }
        return json.dumps(holder).encode()

    def _holder(self) -> dict[str, object] | None:
        data = read_object(self.url)
        try:
            return None if data is None else dict(json.loads(data))
        except ValueError:
            return {}

    def _is_mine(self) -> bool:
        """Read back, for a store may know no conditions."""
        found = stored(self.url)  # before its content: whoever writes between makes the version an old one
        holder = self._holder()
        if found is None or holder is None or holder.get("token") != self._token:
            return False
        self._version = found.version
        return True

    def _is_stale(self, found: Stored) -> bool:
        """By the store's clock, which a second object tells."""
        probe = f"{self.url}.{self._token}"
        write_object(probe, b"")
        now = stored(probe)
        delete(probe)
        if now is None or now.changed_at is None or found.changed_at is None:
            return False
        return (now.changed_at - found.changed_at).total_seconds() > self._times.stale_seconds

    def _held_by(self, holder: dict[str, object]) -> str:
        who = f"process {holder.get('pid')} on {holder.get('host')}, heard of at {holder.get('heard_at')}"
        return (
            f"another run ({who}) holds {self._place}; wait until it ends, or, if it was killed, until nothing was "
            f"heard of it for {self._times.stale_seconds / 60:.0f} minutes"
        )
