"""LTX-Video-Trainer: `dataset.jsonl` with `caption` and `media_path`, relative to it."""

from __future__ import annotations

from vidlabel.export.files import write_jsonl
from vidlabel.export.format import COMMON, Format, Source


def _write(source: Source) -> None:
    write_jsonl(
        source.folder / "dataset.jsonl",
        (
            {"caption": sample.clip.captions[0], "media_path": sample.media.file, **sample.clip.columns}
            for sample in source.samples()
        ),
    )


LTX = Format(
    name="ltx",
    trainer="LTX-Video-Trainer",
    needs="preprocess_dataset DIR/dataset.jsonl",
    task="caption",
    write=_write,
    suffixes=COMMON,
    frame_multiple=8,
    takes_columns=True,
)
