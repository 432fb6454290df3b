"""Open-Sora: `videos.csv` with absolute paths and the size of every video."""

from __future__ import annotations

from vidlabel.export.clips import Sample
from vidlabel.export.files import write_csv
from vidlabel.export.format import COMMON, Format, Source
from vidlabel.export.texts import CSV_CELL

NAMES = ("path", "text", "num_frames", "height", "width", "aspect_ratio", "resolution", "fps")


def _write(source: Source) -> None:
    own = [name for name in source.columns if name not in NAMES]
    write_csv(
        source.folder / "videos.csv",
        [*NAMES, *own],
        ([*_cells(source, sample), *(sample.clip.columns[name] for name in own)] for sample in source.samples()),
    )


def _cells(source: Source, sample: Sample) -> list[object]:
    media = sample.media
    return [
        str(source.folder / media.file),
        sample.clip.captions[0],
        media.num_frames,
        media.height,
        media.width,
        media.height / media.width if media.width else "",
        media.height * media.width,
        media.fps,
    ]


OPEN_SORA = Format(
    name="open-sora",
    trainer="Open-Sora",
    needs="data-path DIR/videos.csv; the paths in it are absolute; columns aes, flow, match go along with --columns",
    task="caption",
    write=_write,
    needs_size=True,
    text=CSV_CELL,
    suffixes=COMMON,
    frame_multiple=4,
    takes_columns=True,
)
