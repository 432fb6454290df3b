"""Where labels go: a .parquet file, a .jsonl file, or a folder that is one parquet dataset; and the work folder beside.

What a set of labels was made with travels with it: in the parquet metadata, in `labels.jsonl.run.json`, or in the
folder's `_vidlabel.json`. These side files are written before the labels they speak of. They only ever gain, so a run
killed between the two leaves a side file that is true of the labels and of the parts that are still in the work folder.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

import vidlabel
from vidlabel.atomic import remove_leftovers, write_whole
from vidlabel.columns import kind_of_type
from vidlabel.config import Settings
from vidlabel.data import stable_id
from vidlabel.errors import InputError
from vidlabel.labels import LABEL_SCHEMA
from vidlabel.output_info import OutputInfo
from vidlabel.remote import is_url, name_of
from vidlabel.remote_cache import cache_folder
from vidlabel.shard import Shard, shard_of_folder
from vidlabel.store import check_output_url

# what a run keeps in its work folder to go on from
WORK_FILES = ("part-*", "scenes-*", "speech-*", "embeddings-*", "skipped-*")
Kind = Literal["parquet", "jsonl", "folder"]
_WAY_OUT = "use --overwrite to make it anew, or another --out"
_RESTORE = "restore it, or use --overwrite"


@dataclass(frozen=True, slots=True)
class Output:
    """The place that `--out` names; for one shard of it, with a work folder and a failures file of its own."""

    path: Path
    kind: Kind
    shard: Shard | None = None
    url: str | None = None  # on a store; `path` is then in the local folder that stands for the one there
    columns: tuple[str, ...] = tuple(LABEL_SCHEMA.names)  # of the labels' own that it has: signals have no texts

    @property
    def name(self) -> str:
        return self.url or str(self.path)

    def named(self, path: Path) -> str:
        """A file beside the labels, as messages are to say it."""
        if self.url is None:
            return str(path)
        return f"{self.url.rpartition('/')[0]}/{path.relative_to(self.path.parent).as_posix()}"

    @property
    def whole(self) -> Output:
        """Of all shards."""
        return replace(self, shard=None)

    @property
    def work(self) -> Path:
        work = self.path.with_name(self.path.name + ".work")
        return work if self.shard is None else work / self.shard.folder_name

    @property
    def failures(self) -> Path:
        if self.shard is not None:
            return self.work / "failures.jsonl"
        stem = self.path.name if self.kind == "folder" else self.path.stem
        return self.path.with_name(stem + ".failures.jsonl")

    @property
    def embeddings(self) -> Path:
        """What clips look like, beside the labels of all shards and in their form: a parquet file, or a folder."""
        if self.kind == "folder":
            return self.path.with_name(self.path.name + ".embeddings")
        return self.path.with_name(self.path.stem + ".embeddings.parquet")

    @property
    def skipped(self) -> Path:
        """What `--where` left out, of all shards."""
        stem = self.path.name if self.kind == "folder" else self.path.stem
        return self.path.with_name(stem + ".skipped.parquet")

    @property
    def side_file(self) -> Path:
        """Of a .jsonl or a folder; a parquet file needs none."""
        if self.kind == "folder":
            return self.path / "_vidlabel.json"
        return self.path.with_name(self.path.name + ".run.json")

    @property
    def exists(self) -> bool:
        if self.kind == "folder":
            return self.path.is_dir() and any(_visible(self.path))
        return self.path.exists() and self.path.stat().st_size > 0  # an empty file, say of mktemp, holds no labels


def parse_output(out: str | Path) -> Output:
    if isinstance(out, str) and is_url(out):
        suffix = Path(name_of(out)).suffix
        if suffix not in ("", ".parquet", ".jsonl"):
            raise InputError(_no_output(out))
        return on_store(out, "folder" if not suffix else "parquet" if suffix == ".parquet" else "jsonl")
    path = Path(out)
    if path.is_symlink():
        path = path.resolve()  # what it points to is replaced, not the link
    if path.is_dir():
        return Output(path, "folder")
    if path.suffix == ".parquet":
        return Output(path, "parquet")
    if path.suffix == ".jsonl":
        return Output(path, "jsonl")
    if path.suffix or path.exists() or not path.name:
        raise InputError(_no_output(out))
    return Output(path, "folder")


def on_store(url: str, kind: Kind) -> Output:
    check_output_url(url)
    return Output(work_place(url) / name_of(url), kind, url=url)


def work_place(url: str, shard: Shard | None = None) -> Path:
    """The local folder where a run works whose output is on a store; each shard has its own."""
    name = stable_id(url) if shard is None else f"{stable_id(url)}-{shard.folder_name}"
    return cache_folder() / "outputs" / name


def _no_output(out: object) -> str:
    return f"{out}: labels are in a .parquet file, a .jsonl file or a folder, whose name has no suffix"


def read_info(output: Output) -> OutputInfo | None:
    """What the labels there were made with; None where there are none. Labels of anything else are refused."""
    if not output.exists:
        return None
    if output.kind == "parquet":
        return _parquet_info(output.path)
    try:
        info = OutputInfo.from_json(output.side_file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"{output.path} holds something, but there is no {output.side_file} that says what its labels were made "
            f"with; {_WAY_OUT}"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{output.side_file} is not what vidlabel wrote ({error}); {_WAY_OUT}") from error
    for path in label_files(output) if output.kind == "folder" else ():
        _note_added_columns(info, _read_schema(path))
    return info


def label_files(output: Output) -> list[Path]:
    """The files that hold the rows, in order."""
    if not output.exists:
        return []
    return sorted(output.path.glob("part-*.parquet")) if output.kind == "folder" else [output.path]


def shard_outputs(whole: Output) -> list[Output]:
    """The shards that have a folder there, by number."""
    shards = (shard_of_folder(path.name) for path in whole.work.glob("shard-*"))
    return [replace(whole, shard=shard) for shard in sorted(shard for shard in shards if shard is not None)]


def part_folders(output: Output) -> list[Path]:
    """Where parts are that this output need not make again: a shard's own and those of all, or everybody's."""
    others = shard_outputs(output) if output.shard is None else [output.whole]
    return [output.work, *(other.work for other in others)]


def begin_work(output: Output, settings: Settings, *, replaces: bool = False, where: str | None = None) -> None:
    """Tidies up after a killed run and notes in `run.json` what is being made. For the holder of the lock.

    `replaces`: what is made will take the place of the labels that are there, which stay until then.
    """
    remove_leftovers(output.work)
    output.path.with_name(f".{output.path.name}.tmp").unlink(missing_ok=True)
    if output.kind == "folder" and output.path.is_dir():
        remove_leftovers(output.path)
    run_file = output.work / "run.json"
    if not run_file.exists():
        values = {
            "settings": json.loads(settings.to_json()),
            "vidlabel_version": vidlabel.__version__,
            "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "replaces": replaces,
            "where": where,
        }
        write_whole(run_file, json.dumps(values, indent=2, ensure_ascii=False) + "\n")


def is_replacing(output: Output) -> bool:
    """Whether the unfinished run in the work folder was begun with --overwrite."""
    try:
        return bool(json.loads((output.work / "run.json").read_text(encoding="utf-8"))["replaces"])
    except FileNotFoundError:
        return False
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{output.work / 'run.json'} is not what vidlabel wrote ({error}); {_WAY_OUT}") from error


def remove_work(output: Output) -> None:
    """Removes what a run keeps in the work folder, parts too. The lock file goes with the lock. `run.json` first: after
    a kill in here no run shall believe that what was just made is still to be replaced."""
    remove_leftovers(output.work)
    for pattern in ("run.json", *WORK_FILES):
        for path in output.work.glob(pattern):
            path.unlink()


def discard_work(output: Output) -> None:
    """For --overwrite: forgets the parts and failures of earlier runs. For the holder of the lock."""
    if output.kind == "folder" and output.path.is_dir():
        strangers = [entry.name for entry in _visible(output.path) if not entry.match("part-*.parquet")]
        if strangers:
            raise InputError(f"{output.path} holds {strangers[0]}, which is not vidlabel's; choose another --out")
    remove_work(output)
    output.failures.unlink(missing_ok=True)
    output.skipped.unlink(missing_ok=True)


def _visible(folder: Path) -> Iterable[Path]:
    return (entry for entry in sorted(folder.iterdir()) if not entry.name.startswith((".", "_")))


def _parquet_info(path: Path) -> OutputInfo:
    schema = _read_schema(path)
    metadata = schema.metadata or {}
    if b"vidlabel.settings" not in metadata:
        raise InputError(f"{path} does not say what its labels were made with, so it is not vidlabel's; {_WAY_OUT}")
    try:
        info = OutputInfo.from_metadata(metadata)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is damaged: what it says of itself makes no sense ({error}); {_RESTORE}") from error
    _note_added_columns(info, schema)
    return info


def _read_schema(path: Path) -> pa.Schema:
    try:
        return pq.read_schema(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"{path} is not a readable parquet file ({error}); {_RESTORE}") from error


def _note_added_columns(info: OutputInfo, schema: pa.Schema) -> None:
    """Columns that somebody else added stay."""
    for name in schema.names:
        if name not in LABEL_SCHEMA.names and name not in info.kinds:
            info.kinds[name] = kind_of_type(schema.field(name).type)
