"""What is kept of the inputs after they were gone through once: a byte a row, and while that lasts 64-bit hashes.

Enough to know which rows speak of one video or span, that no id names two of them, and how much is asked. A video's own
id is a 64-bit hash too, so telling videos apart by one adds no new risk.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vidlabel.manifests.mention import Mention

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Clash:
    """An id that names two videos: the first mention that is wrong, and the first of the video that has it."""

    column: str
    at: int
    other: int


@dataclass(frozen=True, slots=True, eq=False)
class Survey:
    """Mentions go by their place in the inputs."""

    is_first: npt.NDArray[np.bool_]  # of its video
    num_videos: int
    scattered: frozenset[int]  # keys of videos whose mentions do not stand together, where anything is asked
    most_questions: int  # asked of one video, each text once; 0 where nothing is asked
    clash: Clash | None


def survey(mentions: Iterable[Mention]) -> Survey:
    keys, ids, video_ids = array("q"), _Claims(), _Claims()
    asked_keys, asked_texts = array("q"), array("q")
    last: tuple[str, str] | None = None
    for at, mention in enumerate(mentions):
        key = key_of(mention)
        keys.append(key)
        if mention.row_id is not None:
            ids.add(hash(mention.row_id), key, at)
        if mention.video_id is not None and (mention.video_id, mention.location) != last:
            last = mention.video_id, mention.location
            video_ids.add(hash(mention.video_id), hash(mention.location), at)
        if mention.question is not None:
            asked_keys.append(key)
            asked_texts.append(hash(mention.question.text))
    is_first, scattered = _grouped(_numbers(keys), with_scattered=bool(asked_keys))
    return Survey(
        is_first=is_first,
        num_videos=int(np.count_nonzero(is_first)),
        scattered=scattered,
        most_questions=_most_questions(_numbers(asked_keys), _numbers(asked_texts)),
        clash=ids.clash("id", _numbers(keys)) or video_ids.clash("video_id", _numbers(keys)),
    )


def key_of(mention: Mention) -> int:
    """The same for the same file or span."""
    span = mention.span
    return hash(mention.location if span is None else (mention.location, span.start_seconds, span.end_seconds))


class _Claims:
    """Ids, and what each was said to be the id of."""

    def __init__(self) -> None:
        self._ids, self._owners, self._places = array("q"), array("q"), array("q")

    def add(self, identity: int, owner: int, at: int) -> None:
        self._ids.append(identity)
        self._owners.append(owner)
        self._places.append(at)

    def clash(self, column: str, keys: Numbers) -> Clash | None:
        ids, owners, places = map(_numbers, (self._ids, self._owners, self._places))
        order = np.argsort(ids, kind="stable")
        begins = ~_same_as_before(ids[order])
        first = np.maximum.accumulate(np.where(begins, np.arange(len(ids)), 0))  # where each id begins, in order
        wrong = np.flatnonzero(owners[order] != owners[order][first])
        if not len(wrong):
            return None
        at = wrong[np.argmin(places[order][wrong])]
        other = places[order][first[at]]
        return Clash(column, int(places[order][at]), int(np.argmax(keys == keys[other])))


def _grouped(keys: Numbers, *, with_scattered: bool) -> tuple[npt.NDArray[np.bool_], frozenset[int]]:
    """Which are the first of their kind, and the keys that do not stand together."""
    order = np.argsort(keys, kind="stable")
    same = _same_as_before(keys[order])
    is_first = np.empty(len(keys), np.bool_)
    is_first[order] = ~same
    if not with_scattered:
        return is_first, frozenset()
    apart = same[1:] & (np.diff(order) > 1)
    return is_first, frozenset(keys[order[1:][apart]].tolist())


def _most_questions(keys: Numbers, texts: Numbers) -> int:
    order = np.lexsort((texts, keys))
    keys, texts = keys[order], texts[order]
    different = keys[~(_same_as_before(keys) & _same_as_before(texts))]
    return int(np.unique(different, return_counts=True)[1].max(initial=0))


def _same_as_before(values: Numbers) -> npt.NDArray[np.bool_]:
    same = np.zeros(len(values), np.bool_)
    same[1:] = values[1:] == values[:-1]
    return same


def _numbers(values: array[int]) -> Numbers:
    return np.frombuffer(values, np.int64) if values else np.empty(0, np.int64)
