"""Open-Sora-Plan: `videos.json`, captions as lists, and `data.txt` that names the folder and it.

Its `cut` is not used: the trainer finds no frames in a cut that begins later in its file than it is long.
"""

from __future__ import annotations

from vidlabel.atomic import write_whole
from vidlabel.export.clips import Sample
from vidlabel.export.files import Row, write_array
from vidlabel.export.format import Format, Source, no_commas


def _write(source: Source) -> None:
    write_array(source.folder / "videos.json", (_row(sample) for sample in source.samples()))
    write_whole(source.folder / "data.txt", f"{source.folder},{source.folder / 'videos.json'}\n")


def _row(sample: Sample) -> Row:
    media = sample.media
    return {
        "path": media.file,
        "cap": sample.clip.captions,
        "resolution": {"height": media.height, "width": media.width},
        "num_frames": media.num_frames,
        "fps": media.fps,
        "cut": [0, media.num_frames],
        "crop": [0, media.width, 0, media.height],
        **sample.clip.columns,
    }


OPEN_SORA_PLAN = Format(
    name="open-sora-plan",
    trainer="Open-Sora-Plan",
    needs="--data DIR/data.txt; no comma in the path to DIR; it drops clips under 29 frames; "
    "columns aesthetic, motion, tech go along with --columns",
    task="caption",
    write=_write,
    needs_size=True,
    frame_multiple=4,
    takes_several=True,
    takes_columns=True,
    refuse_folder=no_commas,
)
