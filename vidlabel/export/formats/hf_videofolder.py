"""The hub's videofolder: `metadata.jsonl` with `file_name` and `text`."""

from __future__ import annotations

from vidlabel.export.files import write_jsonl
from vidlabel.export.format import Format, Source


def _write(source: Source) -> None:
    write_jsonl(
        source.folder / "metadata.jsonl",
        (
            {"file_name": sample.media.file, "text": sample.clip.captions[0], **sample.clip.columns}
            for sample in source.samples()
        ),
    )


HF_VIDEOFOLDER = Format(
    name="hf-videofolder",
    trainer="Hugging Face datasets: load_dataset('videofolder', data_dir=DIR)",
    needs="no .webm",
    task="caption",
    write=_write,
    suffixes=(".mp4", ".mkv", ".avi", ".mpeg", ".mov"),
    takes_columns=True,
)
