"""`vidlabel report`: labels -> one page. Labels, videos and reviews are only read."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import vidlabel
from vidlabel.atomic import whole_file
from vidlabel.config import Limits
from vidlabel.errors import InputError, VideoError
from vidlabel.progress import Progress
from vidlabel.report.content import PageClip, PageRows, Source, choose_clips, page_rows
from vidlabel.report.figures import figures
from vidlabel.report.html import packed, page
from vidlabel.report.places import address, location, video_root
from vidlabel.report.sheets import SheetCache, Strip, make_sheets
from vidlabel.tables.reviews import Review, read_reviews, review_file
from vidlabel.tables.stats import Stats, stats
from vidlabel.tables.stats_text import to_text

MAX_LABELS = 100_000
SAMPLE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportOptions:
    """What is shown of labels, and how."""

    compare: Path | None = None
    root: Path | None = None
    sample: int = SAMPLE  # clips with contact sheets
    worst: bool = False  # first, instead of drawn by lot
    max_labels: int = MAX_LABELS  # on the page; numbers and plots are of all
    text_column: str | None = None


@dataclass(frozen=True, slots=True)
class ReportDone:
    """What came of it."""

    num_labels: int
    num_shown: int
    num_clips: int
    num_sheets: int
    num_bytes: int
    reasons: Mapping[str, int]  # why clips have no contact sheet

    def to_text(self, out: Path) -> str:
        shown = "" if self.num_shown == self.num_labels else f" ({self.num_shown:,} of them to look at)"
        sheets = f"{self.num_sheets:,} contact sheets, {self.num_bytes / 1e6:.1f} MB"
        lines = [f"{out}: {self.num_labels:,} labels{shown}, {self.num_clips:,} clips, {sheets}"]
        lines += [f"no contact sheet for {count:,}: {reason}" for reason, count in self.reasons.items()]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True, eq=False)
class Content:
    """All that a page shows, but its pictures."""

    title: str
    summary: dict[str, object]
    rows: PageRows
    root: Path
    num_labels: int
    reviews: Mapping[str, Review]

    def location_of(self, clip: PageClip) -> Path | None:
        return None if clip.video is None else location(self.root, clip.video)

    def strip_of(self, clip: PageClip) -> Strip | None:
        place = self.location_of(clip)
        return None if place is None else Strip(str(place), clip.start_seconds, clip.end_seconds)


def write_report(labels: Path, out: Path, options: ReportOptions, limits: Limits) -> ReportDone:
    _check_out(out)
    content = read_content(labels, options)
    clips = content.rows.clips
    sheets = _sheets(content, clips[: options.sample], out, limits)
    videos = [None if place is None else address(place, out) for place in map(content.location_of, clips)]
    pictures = [base64.b64encode(one).decode() if isinstance(one, bytes) else {"why": one} for one in sheets]
    blocks = {
        "summary": packed(content.summary),
        "gallery": packed(gallery_block(content, videos)),
        "reviews": packed(reviews_block(content.reviews)),
        "sheets": packed(pictures),
    }
    with whole_file(out.absolute()) as beside, beside.open("w", encoding="utf-8") as file:
        file.writelines(page(content.title, blocks))
    reasons = Counter(one for one in sheets if isinstance(one, str))
    return ReportDone(
        num_labels=content.num_labels,
        num_shown=len(content.rows.clip),
        num_clips=len(clips),
        num_sheets=len(sheets) - reasons.total(),
        num_bytes=out.stat().st_size,
        reasons=dict(reasons.most_common(5)),
    )


def read_content(labels: Path, options: ReportOptions) -> Content:
    paths = [labels] if options.compare is None else [labels, options.compare]
    sources = [Source.read(path, options.text_column) for path in paths]
    numbers = [stats(path, text_column=options.text_column) for path in paths]
    keys = choose_clips(sources[0], worst=options.worst, max_labels=options.max_labels)
    rows = page_rows(sources, keys)
    root = video_root(options.root, labels, [clip.video for clip in rows.clips if clip.video])
    title = " and ".join(path.name for path in paths)
    summary: dict[str, object] = {
        "title": title,
        "version": vidlabel.__version__,
        "made_at": datetime.now(UTC).isoformat(timespec="minutes"),
        "files": [_file(source, one) for source, one in zip(sources, numbers, strict=True)],
        "figures": figures([source.gathered for source in sources], numbers),
        "worst": options.worst,
        "num_clips": len(sources[0].gathered.keys),
    }
    reviews = read_reviews(review_file(labels)) if "label_id" in sources[0].table.names else {}
    return Content(title, summary, rows, root, sources[0].gathered.num_rows, reviews)


def gallery_block(content: Content, videos: Sequence[str | None]) -> dict[str, object]:
    """`videos`: the address of each clip's video."""
    places: dict[str | None, int] = {}
    clips, rows = content.rows.clips, content.rows
    return {
        "names": [clip.name for clip in clips],
        "paths": [clip.video for clip in clips],
        "video": [places.setdefault(video, len(places)) for video in videos],
        "videos": list(places),
        "start": [clip.start_seconds for clip in clips],
        "end": [clip.end_seconds for clip in clips],
        "severity": [clip.severity for clip in clips],
        "clip": rows.clip,
        "side": rows.side,
        "columns": rows.to_columns(),
    }


def reviews_block(reviews: Mapping[str, Review]) -> dict[str, list[str | None]]:
    return {label_id: [review.decision, review.text] for label_id, review in reviews.items()}


def _sheets(content: Content, clips: Sequence[PageClip], out: Path, limits: Limits) -> list[bytes | str]:
    strips = [content.strip_of(clip) for clip in clips]
    known = [strip for strip in strips if strip is not None]
    cache = SheetCache(out.with_name(f"{out.stem}.sheets"))
    made: dict[int, bytes | VideoError] = {}
    with Progress(total_videos=len(known)) as progress:
        for number, outcome in make_sheets(known, cache, limits):
            made[number] = outcome
            num_failed = sum(isinstance(one, VideoError) for one in made.values())
            progress.update(num_videos=len(made), num_clips=len(made), num_failures=num_failed)
    outcomes = iter([made[number] for number in range(len(known))])
    found = [VideoError("the labels do not name its video") if strip is None else next(outcomes) for strip in strips]
    return [one if isinstance(one, bytes) else one.reason for one in found]


def _file(source: Source, numbers: Stats) -> dict[str, object]:
    values = asdict(numbers)
    return {"name": str(source.table.path), "text": to_text(numbers), **values}


def _check_out(out: Path) -> None:
    if out.suffix not in (".html", ".htm"):
        raise InputError(f"--out {out}: the report is a web page, whose name ends in .html")
    if not out.absolute().parent.is_dir():
        raise InputError(f"--out {out}: there is no folder {out.absolute().parent}")
    if out.is_dir():
        raise InputError(f"--out {out}: is a folder; name a file in it")
