"""Qwen-VL's own finetuning: `qa.json` of conversations that open with `<video>`."""

from __future__ import annotations

from vidlabel.export.conversations import turns
from vidlabel.export.files import write_array
from vidlabel.export.format import COMMON, Format, Source
from vidlabel.export.texts import CHAT


def _write(source: Source) -> None:
    write_array(
        source.folder / "qa.json",
        (
            {"video": sample.media.file, "conversations": turns(sample.clip.pairs, opening="<video>\n")}
            for sample in source.samples()
        ),
    )


QWEN_VL = Format(
    name="qwen-vl",
    trainer="Qwen-VL finetune",
    needs="in its data list: annotation_path DIR/qa.json, data_path DIR",
    task="qa",
    write=_write,
    text=CHAT,
    suffixes=COMMON,
)
