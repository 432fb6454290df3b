"""What is already done, from the labels and the parts of a killed run; and whether this run may add to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vidlabel.config import Settings, differences
from vidlabel.errors import InputError
from vidlabel.labels import unescape_name
from vidlabel.outputs import Output, part_folders, read_info
from vidlabel.parts import whole_parts
from vidlabel.readers import stored_batches
from vidlabel.skips import Skipped, read_skipped

Numbers = npt.NDArray[np.uint64]


class LabelIds:
    """A set of label ids at 8 bytes each: ten million are 80 MB, not the gigabyte of a set of strings."""

    def __init__(self, numbers: Numbers) -> None:
        self._numbers = np.unique(numbers)

    def __contains__(self, label_id: str) -> bool:
        number = np.uint64(int(label_id, 16))
        at = int(np.searchsorted(self._numbers, number))
        return at < len(self._numbers) and bool(self._numbers[at] == number)

    def __iter__(self) -> Iterator[str]:
        return (f"{number:016x}" for number in self._numbers.tolist())

    def __len__(self) -> int:
        return len(self._numbers)


def id_numbers(where: object, column: pa.ChunkedArray | pa.Array) -> Numbers:
    """Label ids (16 hexadecimal digits) as numbers."""
    ids = column.to_pylist()
    try:
        if any(len(label_id) != 16 for label_id in ids):
            raise ValueError("a label_id has 16 digits")
        return np.frombuffer(bytes.fromhex("".join(ids)), dtype=">u8").astype(np.uint64)
    except (ValueError, TypeError) as error:
        raise InputError(f"{where}: a label_id is not one that vidlabel made ({error})") from error


@dataclass(frozen=True, slots=True)
class Existing:
    """What the output and the parts hold."""

    done_label_ids: LabelIds
    videos_with_labels: frozenset[str]  # in the output
    videos_in_parts: frozenset[str]  # of a run that did not end well: they may lack some of their labels
    incomplete_videos: frozenset[str]  # in the output, with labels still to be made
    has_spans: bool  # the output has labels of spans that a manifest named
    settings_texts: tuple[str, ...]  # Settings.to_json() of the labels; two only where files were put together by hand
    skipped: Skipped

    def is_complete(self, video_id: str, key: str) -> bool:
        """Whether an earlier finished run made all labels of a video, so that not even its scenes are needed; or left
        out, for the same key, those that it did not make."""
        if self.skipped.is_whole(video_id, key):
            return True
        if self.has_spans or video_id in self.incomplete_videos or self.skipped.is_stale(video_id, key):
            return False
        return video_id in self.videos_with_labels or self.skipped.is_decided(video_id, key)

    def unfinished_videos(self) -> frozenset[str]:
        """Videos with labels that are not known to have all of theirs."""
        return self.incomplete_videos | (self.videos_in_parts - self.videos_with_labels)


def read_existing(output: Output, *, replacing: bool = False) -> Existing:
    """Reads two columns of the output and of the parts. Parts that are damaged are set aside.

    `replacing`: the parts only, because the output's labels are to be replaced.
    """
    info = None if replacing else read_info(output)
    if info is not None and info.is_reworked:
        raise InputError(
            f"{output.path} is what `vidlabel filter` or `check` made of labels: a run would make again what they left "
            "out; name the file that the run made, or another --out"
        )
    numbers: list[Numbers] = [np.empty(0, np.uint64)]
    videos: set[str] = set()
    for batch in stored_batches(output, ["label_id", "video_id"]) if info else ():
        numbers.append(id_numbers(output.path, batch["label_id"]))
        videos.update(batch["video_id"].unique().to_pylist())
    texts = [info.settings_json] if info else []
    in_parts: set[str] = set()
    columns = ["label_id", "video_id"]
    for path, table in (part for folder in part_folders(output) for part in whole_parts(folder, columns)):
        numbers.append(id_numbers(path, table["label_id"]))
        in_parts.update(table["video_id"].unique().to_pylist())
        texts.append(table.schema.metadata[b"vidlabel.settings"].decode())
    skipped = read_skipped(output, replacing=replacing)
    return Existing(
        done_label_ids=LabelIds(np.concatenate(numbers)),
        videos_with_labels=frozenset(map(unescape_name, videos)),
        videos_in_parts=frozenset(map(unescape_name, in_parts)) | skipped.videos_in_parts,
        incomplete_videos=(info.incomplete_videos if info else frozenset()) | skipped.incomplete_videos,
        has_spans=(info.has_spans if info else False) or skipped.has_spans,
        settings_texts=tuple(dict.fromkeys(texts)),
        skipped=skipped,
    )


def check_settings(output: Output, existing: Existing, settings: Settings) -> None:
    """Labels made with other settings are never mixed in."""
    for text in existing.settings_texts:
        if found := differences(settings.to_json(), text):
            raise InputError(
                f"{output.path} was made with other settings ({'; '.join(found)}); use --overwrite to make it anew, "
                "or another --out"
            )
