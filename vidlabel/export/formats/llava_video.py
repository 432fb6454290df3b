"""LLaVA-Video: `qa.json` of conversations that open with `<image>`, also for video, and a `data.yaml` that names it."""

from __future__ import annotations

import json

from vidlabel.atomic import write_whole
from vidlabel.export.conversations import turns
from vidlabel.export.files import write_array
from vidlabel.export.format import COMMON, Format, Source
from vidlabel.export.texts import CHAT


def _write(source: Source) -> None:
    rows = (
        {
            "id": sample.clip.name,
            "video": sample.media.file,
            "conversations": turns(sample.clip.pairs, opening="<image>\n"),
            "data_source": "vidlabel",
        }
        for sample in source.samples()
    )
    write_array(source.folder / "qa.json", rows)
    path = json.dumps(str(source.folder / "qa.json"))  # yaml takes a JSON text
    write_whole(source.folder / "data.yaml", f"datasets:\n  - json_path: {path}\n    sampling_strategy: all\n")


LLAVA_VIDEO = Format(
    name="llava-video",
    trainer="LLaVA-Video, LLaVA-NeXT",
    needs="--data_path DIR/data.yaml --video_folder DIR; one conversation a clip",
    task="qa",
    write=_write,
    text=CHAT,
    suffixes=COMMON,
)
