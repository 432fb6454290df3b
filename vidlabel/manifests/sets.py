"""How each published set writes its rows, and how people's tools name its files: row -> the clips it wants.

File names are without extension; a folder in front of one narrows it. Ids may begin with `-` and hold `_` and `.`, so
names are put together or cut from the right, never split from the left.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

from vidlabel.data import Span
from vidlabel.folders import without_extension
from vidlabel.manifests.literals import PublishedRow

ManifestFormat = Literal[
    "auto",
    "plain",
    "panda70m",
    "hdvila",
    "internvid",
    "webvid",
    "koala36m",
    "openvid",
    "miradata",
    "video2dataset",
]

_YOUTUBE = re.compile(r"(?:[?&]v=|youtu\.be/|/(?:embed|shorts|live|v)/)([A-Za-z0-9_-]{11})(?![A-Za-z0-9_-])")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A clip that a row asks for, and what the file that holds it may be called, best first."""

    cut: tuple[str, ...] = ()  # a file of this clip alone
    source: tuple[str, ...] = ()  # the file of the whole video, of which `span` is this clip
    span: Span | None = None
    clip_id: str | None = None  # the set's own, of the span
    video_id: str | None = None  # of the source
    own: Callable[[], Mapping[str, object]] = (
        dict  # of columns that hold lists, this clip's part; costly, so asked last
    )

    @property
    def is_empty(self) -> bool:
        """Asks for a span that has no length."""
        return self.span is None and bool(self.source)


@dataclass(frozen=True, slots=True)
class PublishedSet:
    """One set: columns (in lower case) that a header of its must have, how its rows read, which columns are numbers."""

    needs: frozenset[str]
    any_of: frozenset[str]
    wanted: Callable[[PublishedRow], Iterator[Wanted]]
    numbers: frozenset[str] = frozenset()  # which are texts in csv
    unpacked: frozenset[str] = frozenset()  # not carried whole: the clips have each its part
    begins: str | None = None  # the column that all names of files begin as, where a row has many


def _panda70m(row: PublishedRow) -> Iterator[Wanted]:
    video = row.need("videoid")
    for at, pair in enumerate(row.list_of("timestamp")):
        segment = f"{video}_segment_{at}"
        yield Wanted(
            cut=(f"{video}_{at}", f"{video}.{at}", f"{video}/{segment}", segment),
            source=(video,),
            span=row.span("timestamp", pair),
            video_id=video,
            own=partial(_panda_columns, row, at),
        )


def _panda_columns(row: PublishedRow, at: int) -> dict[str, object]:
    """Old releases lack some of them."""
    columns = {"timestamp": row.list_of("timestamp")[at], "clip_index": at}
    for name in filter(row.has, _PANDA_LISTS):
        values = row.list_of(name)
        if len(values) != len(row.list_of("timestamp")):
            raise row.wrong(name, f"has {len(values)} entries for {len(row.list_of('timestamp'))} timestamps")
        columns[name] = values[at]
    return columns


def _hdvila(row: PublishedRow) -> Iterator[Wanted]:
    video = row.need("video_id")
    for clip in row.list_of("clip"):
        if not isinstance(clip, Mapping) or not isinstance(clip.get("clip_id"), str) or "span" not in clip:
            raise row.wrong("clip", f"must hold objects with clip_id and span, got {clip!r:.60}")
        name = without_extension(clip["clip_id"])
        yield Wanted(
            cut=(f"{video}/{name}", name),
            source=(video,),
            span=row.span("clip", clip["span"]),
            clip_id=clip["clip_id"],
            video_id=video,
            own=partial(dict, clip),
        )


def _internvid(row: PublishedRow) -> Iterator[Wanted]:
    video, start, end = row.need("youtubeid"), row.need("start_timestamp"), row.need("end_timestamp")
    span = row.between("end_timestamp", row.time("start_timestamp"), row.time("end_timestamp"))
    yield Wanted(cut=(f"{video}_{start}_{end}",), source=(video,), span=span, video_id=video)


def _webvid(row: PublishedRow) -> Iterator[Wanted]:
    video, folder = row.need("videoid"), row.text("page_dir")
    yield Wanted(cut=(video,) if folder is None else (f"{folder}/{video}", video))


def _koala36m(row: PublishedRow) -> Iterator[Wanted]:
    clip, pair = row.need("videoid"), row.list_of("timestamp")
    video, mark, number = clip.rpartition("_")
    if not mark or not number.isdigit():
        video = clip
    span = row.span("timestamp", pair)
    yield Wanted(cut=(clip,), source=(video,), span=span, clip_id=clip, video_id=video)


def _openvid(row: PublishedRow) -> Iterator[Wanted]:
    yield Wanted(cut=(without_extension(row.need("video")),))


def _miradata(row: PublishedRow) -> Iterator[Wanted]:
    clip, video = row.need("index"), row.text("video_id")
    fps, first, last = row.number("fps"), row.number("start_frame"), row.number("end_frame")
    if fps and first is not None and last is not None:
        span = row.between("end_frame", first / fps, last / fps)  # the time steps are rounded to seconds
    else:
        span = row.between("end_timestep", row.time("start_timestep"), row.time("end_timestep"))
    # the set's own downloader names the source by what stands before the first dash, an id with a dash or not
    names = [clip.rpartition("-")[0], clip.partition("-")[0], video]
    source = tuple(dict.fromkeys(name for name in names if name))
    yield Wanted(cut=(clip,), source=source, span=span, clip_id=clip, video_id=video)


def _video2dataset(row: PublishedRow) -> Iterator[Wanted]:
    """Its own shards' parquet files, with keys; or the list of addresses that it was given."""
    key, video = row.text("key"), _youtube_id(row.text("url"))
    name = next((name for name in ("clips", "clip") if row.has(name)), None)
    pairs = [] if name is None else row.list_of(name)
    if name is not None and pairs and not isinstance(pairs[0], list | tuple):
        pairs = [pairs]  # [start, end] alone
    whole = tuple(it for it in (key, video) if it)
    base, mark, number = (key or "").rpartition("_")
    if not pairs or name is None:
        yield Wanted(cut=whole)
    elif key and mark and number.isdigit():  # cut already; its span is where it was
        span = row.span(name, pairs[0])
        yield Wanted(cut=(key,), source=tuple(it for it in (base, video) if it), span=span, video_id=video)
    else:
        for at, pair in enumerate(pairs):
            cut = (f"{key}_{at:05d}", f"{key}_{at}") if key else ()
            yield Wanted(
                cut=cut, source=whole, span=row.span(name, pair), video_id=video, own=partial(dict, {name: [pair]})
            )


def _youtube_id(url: str | None) -> str | None:
    if url is None:
        return None
    found = _YOUTUBE.search(url)
    if found:
        return found[1]
    return url if re.fullmatch(r"[A-Za-z0-9_-]{11}", url) else None


_PANDA_LISTS = ("caption", "matching_score", "desirable_filtering", "shot_boundary_detection")
_KOALA_SCORES = frozenset({"clarity_score", "aesthetic_score", "motion_score", "video_training_suitability_score"})
_OPENVID_SCORES = frozenset({"aesthetic score", "motion score", "temporal consistency score"})

# in the order of recognition: names that a later one has too come with others that it has not
SETS: Mapping[str, PublishedSet] = {
    "koala36m": PublishedSet(frozenset({"videoid", "timestamp"}), _KOALA_SCORES, _koala36m, _KOALA_SCORES),
    "panda70m": PublishedSet(
        frozenset({"videoid", "timestamp"}), frozenset(_PANDA_LISTS[1:]), _panda70m, begins="videoid"
    ),
    "hdvila": PublishedSet(
        frozenset({"video_id", "clip"}), frozenset(), _hdvila, unpacked=frozenset({"clip"}), begins="video_id"
    ),
    "internvid": PublishedSet(
        frozenset({"youtubeid", "start_timestamp", "end_timestamp"}),
        frozenset(),
        _internvid,
        frozenset({"aesthetic_score", "umt_score"}),
    ),
    "webvid": PublishedSet(frozenset({"videoid"}), frozenset({"page_dir", "contenturl"}), _webvid),
    "openvid": PublishedSet(
        frozenset({"video", "caption"}),
        _OPENVID_SCORES | {"camera motion"},
        _openvid,
        _OPENVID_SCORES | {"frame", "fps", "seconds"},
    ),
    "miradata": PublishedSet(
        frozenset({"index", "video_id"}),
        frozenset({"start_frame", "start_timestep"}),
        _miradata,
        frozenset({"start_frame", "end_frame", "fps"}),
    ),
    "video2dataset": PublishedSet(frozenset({"url"}), frozenset({"key", "clips", "clip"}), _video2dataset),
}


def recognise(names: Iterable[str], plain_names: Iterable[str]) -> str | None:
    """The set whose header this is. A column that names files makes a manifest plain, but OpenVid's is called that."""
    there = {name.strip().lower() for name in names}
    is_plain = not there.isdisjoint(plain_names)
    for name, published in SETS.items():
        if is_plain and name != "openvid":
            continue
        if published.needs <= there and (not published.any_of or published.any_of & there):
            return name
    return None
