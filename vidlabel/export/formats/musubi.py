"""musubi-tuner: `videos.jsonl` with absolute paths, and a `dataset.toml` to begin with.

Its caches are named by the base name of a video, so every clip lies here under a name of its own.
"""

from __future__ import annotations

from vidlabel.atomic import write_whole
from vidlabel.export.files import toml_text, write_jsonl
from vidlabel.export.format import COMMON, Format, Source


def _write(source: Source) -> None:
    rows = (
        {"video_path": str(source.folder / sample.media.file), "caption": sample.clip.captions[0]}
        for sample in source.samples()
    )
    write_jsonl(source.folder / "videos.jsonl", rows)
    settings = f"""# target_frames, resolution and batch_size are yours to choose
[general]
resolution = [960, 544]
caption_extension = ".txt"
batch_size = 1
enable_bucket = true

[[datasets]]
video_jsonl_file = {toml_text(str(source.folder / "videos.jsonl"))}
cache_directory = {toml_text(str(source.folder / "cache"))}
target_frames = [1, 25, 45]
frame_extraction = "head"
"""
    write_whole(source.folder / "dataset.toml", settings)


MUSUBI = Format(
    name="musubi-tuner",
    trainer="musubi-tuner (HunyuanVideo 24 fps, Wan2.1 16 fps, FramePack 30 fps)",
    needs="--dataset_config DIR/dataset.toml; the paths in it are absolute",
    task="caption",
    write=_write,
    suffixes=COMMON,
    frame_multiple=4,
)
