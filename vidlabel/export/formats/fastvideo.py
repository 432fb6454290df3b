"""FastVideo: `videos/`, `videos2caption.json` and `merge.txt` that names both."""

from __future__ import annotations

from pathlib import Path

from vidlabel.atomic import write_whole
from vidlabel.export.clips import Sample
from vidlabel.export.files import Row, write_array
from vidlabel.export.format import Format, Source, no_commas


def _write(source: Source) -> None:
    write_array(source.folder / "videos2caption.json", (_row(sample) for sample in source.samples()))
    write_whole(source.folder / "merge.txt", f"{source.folder / 'videos'},{source.folder / 'videos2caption.json'}\n")


def _row(sample: Sample) -> Row:
    media = sample.media
    file = Path(media.location)
    return {
        "path": Path(media.file).name,
        "cap": sample.clip.captions,
        "resolution": {"width": media.width, "height": media.height},
        "fps": media.fps,
        "duration": media.seconds,
        "num_frames": media.num_frames,
        "size": file.stat().st_size if file.exists() else 0,
    }


FASTVIDEO = Format(
    name="fastvideo",
    trainer="FastVideo (HunyuanVideo, Wan, LTX2)",
    needs="data_merge_path DIR/merge.txt; no comma in the path to DIR",
    task="caption",
    write=_write,
    needs_size=True,
    video_folder="videos",
    frame_multiple=8,  # LTX's rule, which meets the others' too
    takes_several=True,
    refuse_folder=no_commas,
)
