"""Where labels go: a .parquet file, a .jsonl file, or a folder that is one parquet dataset; and the work folder beside.

What a set of labels was made with travels with it: in the parquet metadata, in `labels.jsonl.run.json`, or in the
folder's `_vidlabel.json`. These side files are written before the labels they speak of. They only ever gain, so a run
killed between the two leaves a side file that is true of the labels and of the parts that are still in the work folder.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

import vidlabel
from vidlabel.atomic import remove_leftovers, write_whole
from vidlabel.columns import Kinds, kind_of_type
from vidlabel.config import Settings
from vidlabel.errors import InputError
from vidlabel.labels import LABEL_SCHEMA, escape_name, unescape_name
from vidlabel.shard import Shard, shard_of_folder

STEPS = "vidlabel.steps"  # what filter and check did to a file, in order, as JSON
# what a run keeps in its work folder to go on from
WORK_FILES = ("part-*", "scenes-*", "speech-*", "embeddings-*", "skipped-*")
_WAY_OUT = "use --overwrite to make it anew, or another --out"
_RESTORE = "restore it, or use --overwrite"


@dataclass(frozen=True, slots=True)
class Output:
    """The place that `--out` names; for one shard of it, with a work folder and a failures file of its own."""

    path: Path
    kind: Literal["parquet", "jsonl", "folder"]
    shard: Shard | None = None

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
        raise InputError(f"{out}: labels are in a .parquet file, a .jsonl file or a folder, whose name has no suffix")
    return Output(path, "folder")


@dataclass(frozen=True, slots=True)
class OutputInfo:
    """What is known of a set of labels as a whole."""

    settings_json: str
    incomplete_videos: frozenset[str] = frozenset()  # with rows, but a run ended before all of theirs were made
    kinds: Kinds = field(default_factory=dict, hash=False)  # of the manifest's own columns
    has_spans: bool = (
        False  # some rows are of spans that a manifest named: rows do not tell that a video is wholly done
    )
    version: str = field(default=vidlabel.__version__, compare=False)  # of the last vidlabel that wrote it
    is_reworked: bool = False  # by `filter` or `check`: rows that a run made may be missing

    def to_metadata(self) -> dict[str, str]:
        """As parquet metadata."""
        return {
            "vidlabel.settings": self.settings_json,
            "vidlabel.version": self.version,
            "vidlabel.incomplete_videos": json.dumps(self._escaped_videos()),
            "vidlabel.extra_kinds": json.dumps(self.kinds),
            "vidlabel.has_spans": json.dumps(self.has_spans),
        }

    @classmethod
    def from_metadata(cls, metadata: Mapping[bytes, bytes]) -> OutputInfo:
        settings_json = metadata[b"vidlabel.settings"].decode()
        json.loads(settings_json)
        return cls(
            settings_json=settings_json,
            incomplete_videos=_unescaped(json.loads(metadata.get(b"vidlabel.incomplete_videos", b"[]"))),
            kinds=json.loads(metadata.get(b"vidlabel.extra_kinds", b"{}")),
            has_spans=json.loads(metadata.get(b"vidlabel.has_spans", b"false")),
            version=metadata[b"vidlabel.version"].decode(),
            is_reworked=bool(json.loads(metadata.get(STEPS.encode(), b"[]"))),
        )

    def to_json(self) -> str:
        """As a side file."""
        values = {
            "settings": json.loads(self.settings_json),
            "version": self.version,
            "incomplete_videos": self._escaped_videos(),
            "extra_kinds": self.kinds,
            "has_spans": self.has_spans,
        }
        return json.dumps(values, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> OutputInfo:
        values = json.loads(text)
        return cls(
            settings_json=json.dumps(values["settings"], sort_keys=True, ensure_ascii=False),
            incomplete_videos=_unescaped(values["incomplete_videos"]),
            kinds=dict(values["extra_kinds"]),
            has_spans=values["has_spans"],
            version=values["version"],
            is_reworked=bool(values.get(STEPS.removeprefix("vidlabel."))),
        )

    def _escaped_videos(self) -> list[str]:
        return sorted(escape_name(video_id) for video_id in self.incomplete_videos)


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
    """Removes what a run keeps in the work folder, parts too. The lock file goes with the lock."""
    remove_leftovers(output.work)
    for pattern in (*WORK_FILES, "run.json"):
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


def _unescaped(video_ids: Iterable[str]) -> frozenset[str]:
    return frozenset(unescape_name(video_id) for video_id in video_ids)
