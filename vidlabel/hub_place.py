"""An output in a repository of the hub: one commit at the end, with all that is new.

A hub is no place for a commit a minute, so a run's parts stay on this machine until then, in a local folder; another
machine knows nothing of them. What was committed there meanwhile is not overwritten: the same command goes on from it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

from vidlabel.config import Settings
from vidlabel.errors import InputError, WriteError
from vidlabel.gather import held
from vidlabel.lock import locked
from vidlabel.outputs import WORK_FILES, Output
from vidlabel.remote import filesystem, store_path, tried
from vidlabel.shard import Shard
from vidlabel.store import check_hub_right
from vidlabel.store_keeper import reason_of, write_error
from vidlabel.working_copy import WorkingCopy, work_place_held

_CONFLICT = (409, 412)


@contextmanager
def hub_place(output: Output) -> Iterator[HubPlace]:
    assert output.url is not None
    if output.shard is not None:
        raise InputError(f"--shard {output.shard}: shards cannot meet on {output.url}; take a folder, s3:// or gs://")
    folder = output.path.parent
    with work_place_held(folder, output.url):
        place = HubPlace(output, output.url)
        yield place
        if place.is_done:
            shutil.rmtree(folder)


class HubPlace:
    """Meets `Place`."""

    def __init__(self, output: Output, url: str) -> None:
        self.output, self._url = output, url
        self._copy = WorkingCopy(output)
        self._kept = output.path.parent / "kept"  # parts that were merged into labels which are not committed yet
        self.is_done = False

    @contextmanager
    def held(self, settings: Settings, *, overwrite: bool, dry_run: bool, where: str | None) -> Iterator[bool]:
        with self._held(
            held(self.output, settings, overwrite=overwrite, dry_run=dry_run, where=where), is_dry=dry_run
        ) as replacing:
            yield replacing

    @contextmanager
    def held_alone(self) -> Iterator[None]:
        with self._held(locked(self.output.work), is_dry=False):
            yield

    def save(self) -> None:
        """Merging removes parts: they are kept until the labels are committed."""
        self._kept.mkdir(exist_ok=True)
        for pattern in WORK_FILES:
            for path in self.output.work.glob(pattern):
                with suppress(FileExistsError):
                    os.link(path, self._kept / path.name)

    def check(self) -> None:
        pass

    def gather(self, settings: Settings) -> tuple[Shard, ...]:
        raise AssertionError("there are no shards on the hub")

    @contextmanager
    def _held(self, local: AbstractContextManager[Any], *, is_dry: bool) -> Iterator[Any]:
        try:
            self._repository = filesystem(self._url).resolve_path(store_path(self._url))
            if not hasattr(self._repository, "repo_id"):
                raise InputError(f"{self._url}: labels go to a repository of the hub, not to a bucket")
            if not is_dry:
                tried(self._url, lambda: check_hub_right(self._url))
            self._head = self._asked_head()
            self._copy.pull(lambda name: True, keep=lambda name: not self._copy.is_labels(name))
        except WriteError:
            raise  # on this machine's disk
        except OSError as error:
            raise InputError(f"{self._url} cannot be written: {reason_of(error)}") from error
        self._bring_back()
        with local as inside:
            yield inside
            if not is_dry:
                self._commit()
        self.is_done = not any(self.output.work.glob("*.parquet"))

    def _bring_back(self) -> None:
        for path in self._kept.glob("*") if self._kept.exists() else ():
            self.output.work.mkdir(exist_ok=True)
            path.replace(self.output.work / path.name)

    def _commit(self) -> None:
        changed, gone = self._copy.changes(lambda name: not self._copy.is_work(name))
        if changed or gone:
            try:
                is_made = tried(self._url, lambda: self._make_commit(changed, gone))
            except OSError as error:
                raise write_error(error, self._url) from error
            if not is_made:
                raise InputError(
                    f"{self._url}: the repository was changed while this run lasted; what was made is kept here, the "
                    "same command goes on from what is there now"
                )
        if self._kept.exists():
            shutil.rmtree(self._kept)

    def _make_commit(self, changed: list[str], gone: list[str]) -> bool:
        """False if somebody else has committed since the labels were fetched."""
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
        from huggingface_hub.errors import HfHubHTTPError
        from huggingface_hub.utils.tqdm import disable_progress_bars

        disable_progress_bars()
        folder = self._repository.path_in_repo.rpartition("/")[0]
        prefix = f"{folder}/" if folder else ""
        operations: list[Any] = [CommitOperationAdd(prefix + name, str(self._copy.path(name))) for name in changed]
        operations += [CommitOperationDelete(prefix + name) for name in gone]
        try:
            HfApi().create_commit(
                self._repository.repo_id,
                operations,
                commit_message=f"Labels by vidlabel: {self.output.path.name}",
                repo_type=self._repository.repo_type,
                revision=self._repository.revision,
                parent_commit=self._head,
            )
        except HfHubHTTPError as error:
            if error.response.status_code in _CONFLICT:
                return False
            raise
        return True

    def _asked_head(self) -> str:
        from huggingface_hub import HfApi

        where = self._repository
        info = HfApi().repo_info(where.repo_id, repo_type=where.repo_type, revision=where.revision)
        return str(info.sha)
