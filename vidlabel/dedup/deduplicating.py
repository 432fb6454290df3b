"""`vidlabel dedup`: of clips that are alike, the labels of the best one stay.

labels -> clips and their rank -> hashes, vectors -> pairs, round by round -> leaders -> labels of those that stay
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vidlabel.dedup.alike import Alike, Pairs
from vidlabel.dedup.clips import Clips, Indexes, Mask, read_clips
from vidlabel.dedup.features import EMBEDDING, Features, find_features, read_hashes, read_vectors
from vidlabel.dedup.groups import Leaders
from vidlabel.dedup.neighbours import check_installed, near
from vidlabel.dedup.report import DedupReport, DedupRules
from vidlabel.dedup.writing import check_groups_out, write_groups, write_kept
from vidlabel.errors import InputError
from vidlabel.tables.reading import open_table
from vidlabel.tables.writing import check_out

_MOST_ROUNDS = 50  # a crowd shrinks at least by half in each


def dedup_labels(
    paths: Sequence[Path],
    out: Path,
    rules: DedupRules,
    *,
    features: Sequence[Path] = (),
    groups: Path | None = None,
    temp: Path | None = None,
    num_threads: int = 1,
) -> DedupReport:
    """Everything that can be wrong with the files is found before anything is written."""
    tables = [open_table(path) for path in paths]
    for table in tables:
        check_out(out, table)
    if groups is not None:
        check_groups_out(groups, out, tables)
    sources = find_features(tables, features)
    if rules.by != "phash" and any(EMBEDDING in table.names for table in sources):
        check_installed()
    clips = read_clips(tables, rules.keep)
    with _folder(temp or out.resolve().parent, out.name) as folder:
        known = Features(
            vectors=None if rules.by == "phash" else read_vectors(clips, sources, folder),
            hashes=None if rules.by == "embedding" else read_hashes(clips, sources, rules.max_bits),
        )
        is_known = known.known(len(clips))
        if len(clips) and not is_known.any():
            raise InputError(
                f"nothing is known of how these clips look: {_MISSING[rules.by]}, and name the file with --features "
                "where it does not lie beside the labels"
            )
        alike = Alike(known, clips.seconds, rules)
        leaders = settle(clips, known, alike, num_threads=num_threads)
        dropped = np.flatnonzero(leaders.leader != np.arange(len(clips)))
        pairs = alike.compare(dropped, leaders.leader[dropped])
    report = _report(clips, leaders.leader, pairs, is_known)
    if groups is not None:
        write_groups(groups, tables, clips, pairs)
    write_kept(out, tables, clips, leaders.leader, rules, report)
    return report


_MISSING = {
    "any": "label with --embeddings, or measure with --signals phash",
    "embedding": "label with --embeddings",
    "phash": "measure with --signals phash",
}


def settle(clips: Clips, known: Features, alike: Alike, *, num_threads: int) -> Leaders:
    """Rounds over the clips that stay, until no two that are found alike are left."""
    leaders = Leaders(clips.rank)
    again: Mask | None = None  # those whose neighbours are still to be looked for; None: all
    for _ in range(_MOST_ROUNDS):
        staying = leaders.staying()
        first, second, crowded = _find(staying, known, alike, again, num_threads=num_threads)
        if not len(first):
            break
        moved, leading = leaders.settle(first, second)
        still = alike.compare(moved, leading).are_alike
        leaders.lead(moved[still], leading[still])
        leaders.lead(moved[~still], moved[~still])  # they stay, unless another round finds another leader
        again = np.zeros(len(clips), np.bool_)
        again[crowded] = again[moved[~still]] = True
    return leaders


def _find(
    staying: Indexes, known: Features, alike: Alike, again: Mask | None, *, num_threads: int
) -> tuple[Indexes, Indexes, Indexes]:
    """Pairs of staying clips that are alike; and those that may be like more than was found."""
    found: list[Pairs] = []
    crowded = [np.empty(0, np.int64)]
    if known.hashes is not None:
        for first, second in known.hashes.candidates(staying):
            same = alike.have_same_frames(first, second)
            found.append(alike.compare(first[same], second[same]).kept())
    if known.vectors is not None and (again is None or again[staying].any()):
        with_vectors = staying[known.vectors.row_of[staying] >= 0]
        for some in near(
            known.vectors.short(),
            known.vectors.row_of[with_vectors],
            known.vectors.radius(alike.rules.min_similarity),
            num_threads=num_threads,
            only=None if again is None else again[with_vectors],
        ):
            first, second = with_vectors[some.first], with_vectors[some.second]
            found.append(alike.compare(np.minimum(first, second), np.maximum(first, second)).kept())
            crowded.append(with_vectors[some.crowded])
    nothing = np.empty(0, np.int64)
    first = np.concatenate([nothing, *(pairs.first for pairs in found)])
    second = np.concatenate([nothing, *(pairs.second for pairs in found)])
    return first, second, np.concatenate(crowded)


def _report(clips: Clips, leader: Indexes, pairs: Pairs, is_known: Mask) -> DedupReport:
    sizes = np.bincount(pairs.second, minlength=len(clips)) if len(clips) else np.zeros(0, np.int64)
    reasons: npt.NDArray[np.str_] = np.where(pairs.by_hash, "phash", "embedding")
    return DedupReport(
        num_clips=len(clips),
        num_labels=int(clips.num_labels.sum()),
        num_unknown=int((~is_known).sum()),
        num_groups=int((sizes > 0).sum()),
        largest_group=int(sizes.max(initial=0)) + 1 if len(pairs.first) else 0,
        dropped_clips={name: int((reasons == name).sum()) for name in ("phash", "embedding")},
        dropped_labels={
            name: int(clips.num_labels[pairs.first[reasons == name]].sum()) for name in ("phash", "embedding")
        },
    )


@contextmanager
def _folder(parent: Path, name: str) -> Iterator[Path]:
    """For the vectors while they are compared; what a killed run left there goes first."""
    if not parent.is_dir():
        raise InputError(f"--temp {parent}: there is no such folder")
    folder = parent / f".{name}.vectors"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
