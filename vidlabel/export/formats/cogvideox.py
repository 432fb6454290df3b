"""CogVideoX in diffusers: `prompts.txt` and `videos.txt`, whose lines belong together."""

from __future__ import annotations

from vidlabel.export.files import together
from vidlabel.export.format import Format, Source
from vidlabel.export.texts import ONE_LINE


def _write(source: Source) -> None:
    with together(source.folder / "prompts.txt", source.folder / "videos.txt") as [prompts, videos]:
        for sample in source.samples():
            prompts.write(f"{sample.clip.captions[0]}\n")
            videos.write(f"{sample.media.file}\n")


COGVIDEOX = Format(
    name="cogvideox",
    trainer="CogVideoX finetune, and diffusers' CogVideoX examples",
    needs="--data_root DIR --caption_column prompts.txt --video_column videos.txt; a caption is one line",
    task="caption",
    write=_write,
    text=ONE_LINE,
    video_folder="videos",
    frame_multiple=8,
)
