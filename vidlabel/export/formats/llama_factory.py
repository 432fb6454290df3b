"""LLaMA-Factory: `qa.json` of messages and videos, and the `dataset_info.json` that describes it."""

from __future__ import annotations

import json

from vidlabel.atomic import write_whole
from vidlabel.export.clips import Sample
from vidlabel.export.files import Row, write_array
from vidlabel.export.format import COMMON, Format, Source
from vidlabel.export.texts import CHAT

INFO = {
    "vidlabel": {
        "file_name": "qa.json",
        "formatting": "sharegpt",
        "columns": {"messages": "messages", "videos": "videos"},
        "tags": {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"},
    }
}


def _write(source: Source) -> None:
    write_array(source.folder / "qa.json", (_row(source, sample) for sample in source.samples()))
    write_whole(source.folder / "dataset_info.json", json.dumps(INFO, indent=2) + "\n")


def _row(source: Source, sample: Sample) -> Row:
    messages: list[dict[str, str]] = []
    for question, answer in sample.clip.pairs:
        opening = "" if messages else "<video>"
        messages.append({"role": "user", "content": opening + question})
        messages.append({"role": "assistant", "content": answer})
    return {"messages": messages, "videos": [str(source.folder / sample.media.file)]}


LLAMA_FACTORY = Format(
    name="llama-factory",
    trainer="LLaMA-Factory",
    needs="dataset_dir: DIR, dataset: vidlabel; the paths in it are absolute",
    task="qa",
    write=_write,
    text=CHAT,
    suffixes=COMMON,
)
