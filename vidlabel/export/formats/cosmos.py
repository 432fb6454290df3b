"""Cosmos-Predict2: `videos/NAME.mp4` and `metas/NAME.txt`; its own script adds `t5_xxl/NAME.pickle`."""

from __future__ import annotations

from vidlabel.export.files import remove_others, write_if_new
from vidlabel.export.format import Format, Source
from vidlabel.export.texts import IN_FILE


def _write(source: Source) -> None:
    metas = source.folder / "metas"
    metas.mkdir(exist_ok=True)
    names = set()
    for sample in source.samples():
        names.add(f"{sample.clip.name}.txt")
        write_if_new(metas / f"{sample.clip.name}.txt", sample.clip.captions[0])
    remove_others(metas, names)


COSMOS = Format(
    name="cosmos-predict2",
    trainer="Cosmos-Predict2",
    needs="run its get_t5_embeddings script on DIR first",
    task="caption",
    write=_write,
    text=IN_FILE,
    video_folder="videos",
    frame_multiple=4,
    names_file_once=True,
)
