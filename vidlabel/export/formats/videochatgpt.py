"""Video-ChatGPT: `training.json` of conversations about precomputed features, and `instructions.json`, a row a pair."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TextIO

from vidlabel.export.conversations import turns
from vidlabel.export.files import Row, together, write_items
from vidlabel.export.format import COMMON, Format, Source
from vidlabel.export.texts import CHAT
from vidlabel.jsonl import json_line


def _write(source: Source) -> None:
    with together(source.folder / "training.json", source.folder / "instructions.json") as [training, instructions]:
        write_items(training, _noting(source, instructions))
        instructions.write("\n]\n" if instructions.tell() else "[]\n")


def _noting(source: Source, instructions: TextIO) -> Iterator[Row]:
    mark = "[\n"
    for sample in source.samples():
        name, pairs = sample.clip.name, sample.clip.pairs
        for question, answer in pairs:
            instructions.write(mark + json_line({"q": question, "a": answer, "video_id": name}).rstrip("\n"))
            mark = ",\n"
        yield {"id": name, "video": f"{name}.pkl", "conversations": turns(pairs, opening="<video>\n")}


VIDEOCHATGPT = Format(
    name="videochatgpt",
    trainer="Video-ChatGPT",
    needs="run its feature script on DIR/videos first; --data_path DIR/training.json",
    task="qa",
    write=_write,
    text=CHAT,
    suffixes=COMMON,
    video_folder="videos",
)
