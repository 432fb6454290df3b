"""CogVideoX in SAT: `videos/NAME.mp4` and `labels/NAME.txt`, of which it reads the first line."""

from __future__ import annotations

from pathlib import Path

from vidlabel.export.files import remove_others, write_if_new
from vidlabel.export.format import Format, Source
from vidlabel.export.texts import ONE_LINE


def _write(source: Source) -> None:
    labels = source.folder / "labels"
    labels.mkdir(exist_ok=True)
    names = set()
    for sample in source.samples():
        names.add(f"{sample.clip.name}.txt")
        write_if_new(labels / f"{sample.clip.name}.txt", f"{sample.clip.captions[0]}\n")
    remove_others(labels, names)


def _refuse(folder: Path) -> str | None:
    for word in ("videos", ".mp4"):
        if word in str(folder):
            return f"the trainer replaces {word!r} anywhere in a path, so none of its folders may have it in its name"
    return None


COGVIDEOX_SAT = Format(
    name="cogvideox-sat",
    trainer="CogVideoX SAT",
    needs="train_data: [DIR]; no 'videos' in the path to DIR; a caption is one line",
    task="caption",
    write=_write,
    text=ONE_LINE,
    video_folder="videos",
    frame_multiple=8,
    names_file_once=True,
    refuse_folder=_refuse,
)
