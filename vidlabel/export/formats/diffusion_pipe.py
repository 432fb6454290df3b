"""diffusion-pipe: `captions.json` beside the videos, base name -> captions, and a `dataset.toml` to begin with."""

from __future__ import annotations

from pathlib import Path

from vidlabel.atomic import write_whole
from vidlabel.export.files import together, toml_text
from vidlabel.export.format import COMMON, Format, Source
from vidlabel.jsonl import json_line


def _write(source: Source) -> None:
    clips = source.folder / "clips"
    clips.mkdir(exist_ok=True)
    with together(clips / "captions.json") as [file]:
        mark = "{\n"
        for sample in source.samples():
            name, captions = json_line({Path(sample.media.file).name: sample.clip.captions})[1:-2].split(": ", 1)
            file.write(f"{mark}{name}: {captions}")
            mark = ",\n"
        file.write("{}\n" if mark == "{\n" else "\n}\n")
    settings = f"""# resolutions and frame_buckets are yours to choose
resolutions = [512]
enable_ar_bucket = true
min_ar = 0.5
max_ar = 2.0
num_ar_buckets = 7
frame_buckets = [1, 33, 65]

[[directory]]
path = {toml_text(str(clips))}
num_repeats = 1
"""
    write_whole(source.folder / "dataset.toml", settings)


DIFFUSION_PIPE = Format(
    name="diffusion-pipe",
    trainer="diffusion-pipe",
    needs="dataset = DIR/dataset.toml; all captions of a clip in one list",
    task="caption",
    write=_write,
    suffixes=COMMON,
    frame_multiple=8,  # LTX's rule, which meets the others' too
    takes_several=True,
    names_file_once=True,
)
