"""What is kept of the inputs after they were gone through once: some 20 bytes a row, in arrays of 64-bit hashes.

Enough to know which rows speak of one video or span, that no id names two of them, and how much is asked. A video's own
id is a 64-bit hash too, so telling videos apart by one adds no new risk.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from vidlabel.manifests.mention import Mention

Numbers = npt.NDArray[np.int64]


class Survey:
    """One pass over all mentions, which are known afterwards by their place in it."""

    def __init__(self, mentions: Iterable[Mention]) -> None:
        self._keys = array("q")
        self._ids = _Claims()
        self._video_ids = _Claims()
        self._asked = array("q"), array("q")  # of rows with a question: its video's key, its text's hash
        self.has_spans = False
        last: tuple[str, str] | None = None
        for at, mention in enumerate(mentions):
            key = key_of(mention)
            self._keys.append(key)
            self.has_spans = self.has_spans or mention.span is not None
            if mention.row_id is not None:
                self._ids.add(hash(mention.row_id), key, at)
            if mention.video_id is not None and (mention.video_id, mention.location) != last:
                last = mention.video_id, mention.location
                self._video_ids.add(hash(mention.video_id), hash(mention.location), at)
            if mention.question is not None:
                self._asked[0].append(key)
                self._asked[1].append(hash(mention.question.text))
        self.num_mentions = len(self._keys)
        self.is_first, self.scattered = self._group()
        self.num_videos = int(np.count_nonzero(self.is_first))

    def _group(self) -> tuple[npt.NDArray[np.bool_], frozenset[int]]:
        """Which mentions are the first of their video, and the keys of videos whose mentions do not stand together."""
        keys = _numbers(self._keys)
        order = np.argsort(keys, kind="stable")
        same = np.zeros(len(keys), np.bool_)  # as the one before it in order
        same[1:] = keys[order][1:] == keys[order][:-1]
        is_first = np.empty(len(keys), np.bool_)
        is_first[order] = ~same
        apart = same.copy()
        apart[1:] &= np.diff(order) > 1
        return is_first, frozenset(keys[order][apart].tolist())

    def id_clash(self) -> tuple[int, int] | None:
        """The first mention whose id is that of another video, and the first mention of that video."""
        return self._clash(self._ids)

    def video_id_clash(self) -> tuple[int, int] | None:
        """The same for a video id of spans of two files."""
        return self._clash(self._video_ids)

    def most_questions(self) -> int:
        """The most that one video is asked, each text once; 0 where nothing is asked."""
        keys, texts = map(_numbers, self._asked)
        if not len(keys):
            return 0
        order = np.lexsort((texts, keys))
        keys, texts = keys[order], texts[order]
        is_new = np.ones(len(keys), np.bool_)
        is_new[1:] = (keys[1:] != keys[:-1]) | (texts[1:] != texts[:-1])
        return int(np.unique(keys[is_new], return_counts=True)[1].max())

    def _clash(self, claims: _Claims) -> tuple[int, int] | None:
        found = claims.clash()
        if found is None:
            return None
        at, other = found
        first = int(np.argmax(_numbers(self._keys) == self._keys[other]))
        return at, first


class _Claims:
    """Ids, and what each was said to be the id of."""

    def __init__(self) -> None:
        self._ids, self._owners, self._places = array("q"), array("q"), array("q")

    def add(self, identity: int, owner: int, at: int) -> None:
        self._ids.append(identity)
        self._owners.append(owner)
        self._places.append(at)

    def clash(self) -> tuple[int, int] | None:
        """The first place where an id is not its first owner's, and that owner's place."""
        ids, owners, places = map(_numbers, (self._ids, self._owners, self._places))
        order = np.argsort(ids, kind="stable")
        begins = np.ones(len(ids), np.bool_)
        begins[1:] = ids[order][1:] != ids[order][:-1]
        first = np.maximum.accumulate(np.where(begins, np.arange(len(ids)), 0))  # where each id begins, in order
        wrong = np.flatnonzero(owners[order] != owners[order][first])
        if not len(wrong):
            return None
        at = wrong[np.argmin(places[order][wrong])]
        return int(places[order][at]), int(places[order][first[at]])


def key_of(mention: Mention) -> int:
    """The same for the same file or span."""
    span = mention.span
    return hash(mention.location if span is None else (mention.location, span.start_seconds, span.end_seconds))


def _numbers(values: array[int]) -> Numbers:
    return np.frombuffer(values, np.int64) if values else np.empty(0, np.int64)
