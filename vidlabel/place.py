"""Where a run writes: folders of this machine, an object store, or the hub. A run asks the same of each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from vidlabel.config import Settings
from vidlabel.gather import gather, held
from vidlabel.lock import locked
from vidlabel.outputs import Output
from vidlabel.remote import is_hub
from vidlabel.shard import Shard
from vidlabel.store_lock import LockTimes


class Place(Protocol):
    """Of one output. `output` is the folder to work in; what `held` gives is saved when it is left."""

    output: Output

    def held(
        self, settings: Settings, *, overwrite: bool, dry_run: bool, where: str | None
    ) -> AbstractContextManager[bool]:
        """Nobody else writes there meanwhile; gives whether the labels that are there are to be replaced."""

    def held_alone(self) -> AbstractContextManager[None]:
        """As `held`, where there are neither shards nor settings."""

    def save(self) -> None:
        """All that was made so far is safe when this returns. Before labels are merged, and when work begins."""

    def check(self) -> None:
        """Raises where the run is to stop: the place is lost. Asked often."""

    def gather(self, settings: Settings) -> tuple[Shard, ...]:
        """After a shard's end: merges if it was the last one, else gives those that are not done."""


class LocalPlace:
    """A folder. Whatever is written is where it belongs."""

    def __init__(self, output: Output) -> None:
        self.output = output

    def held(
        self, settings: Settings, *, overwrite: bool, dry_run: bool, where: str | None
    ) -> AbstractContextManager[bool]:
        return held(self.output, settings, overwrite=overwrite, dry_run=dry_run, where=where)

    def held_alone(self) -> AbstractContextManager[None]:
        return locked(self.output.work)

    def save(self) -> None:
        pass

    def check(self) -> None:
        pass

    def gather(self, settings: Settings) -> tuple[Shard, ...]:
        return gather(self.output, settings)


@contextmanager
def place_of(output: Output, times: LockTimes) -> Iterator[Place]:
    if output.url is None:
        yield LocalPlace(output)
        return
    if is_hub(output.url):
        from vidlabel.hub_place import hub_place

        with hub_place(output) as hub:
            yield hub
        return
    from vidlabel.store_place import store_place

    with store_place(output, times) as store:
        yield store
