"""Plain conversations for scripts of your own: `conversations.jsonl`, one line a clip with all its pairs."""

from __future__ import annotations

from vidlabel.export.clips import Sample
from vidlabel.export.files import Row, write_jsonl
from vidlabel.export.format import Format, Source


def _write(source: Source) -> None:
    write_jsonl(source.folder / "conversations.jsonl", (_row(sample) for sample in source.samples()))


def _row(sample: Sample) -> Row:
    clip = sample.clip
    row = {
        "clip_id": clip.clip_id,
        "video": sample.media.file,
        "conversation": [{"question": question, "answer": answer} for question, answer in clip.pairs],
        **clip.columns,
    }
    if sample.media.span is not None:  # the file shows more than the clip
        row["start_seconds"], row["end_seconds"] = sample.media.span
    return row


CONVERSATIONS = Format(
    name="conversations",
    trainer="no trainer in particular: one line a clip with all its questions and answers",
    needs="nothing; without --cut the labels' own paths, with start_seconds and end_seconds of the clip",
    task="qa",
    write=_write,
    suffixes=(),
    takes_spans=True,
    takes_columns=True,
    needs_files=False,
)
