"""finetrainers: `metadata.jsonl` with `file_name` and `caption`; it reads it through the hub's videofolder."""

from __future__ import annotations

from vidlabel.export.files import write_jsonl
from vidlabel.export.format import MP4_MOV, Format, Source


def _write(source: Source) -> None:
    write_jsonl(
        source.folder / "metadata.jsonl",
        (
            {"file_name": sample.media.file, "caption": sample.clip.captions[0], **sample.clip.columns}
            for sample in source.samples()
        ),
    )


FINETRAINERS = Format(
    name="finetrainers",
    trainer="finetrainers (LTX, Wan, HunyuanVideo, CogVideoX)",
    needs="data_root is the folder; dataset_type video",
    task="caption",
    write=_write,
    suffixes=MP4_MOV,
    frame_multiple=8,  # LTX's rule, which meets the others' too
    takes_columns=True,
)
