"""FiftyOne: `labels.csv` for its CSVDataset, a row a label, with the paths of the files in the folder."""

from __future__ import annotations

from vidlabel.export.clips import Said, Sample
from vidlabel.export.files import write_csv
from vidlabel.export.format import COMMON, Format, Source
from vidlabel.export.texts import CSV_CELL

NAMES = ("filepath", "clip_id", "task", "question", "text", "level", "start_seconds", "end_seconds")


def _write(source: Source) -> None:
    own = [name for name in source.columns if name not in NAMES]
    write_csv(
        source.folder / "labels.csv",
        [*NAMES, *own],
        (
            [*_cells(sample, said), *(sample.clip.columns[name] for name in own)]
            for sample in source.samples()
            for said in sample.clip.said
        ),
    )


def _cells(sample: Sample, said: Said) -> list[object]:
    task, question, text, level = said
    media = sample.media
    start, end = media.span or (0.0, media.seconds)
    return [
        media.file,
        sample.clip.clip_id,
        task,
        question or "",
        text,
        level or "",
        start,
        end if end is not None else media.seconds,
    ]


FIFTYONE = Format(
    name="fiftyone",
    trainer="FiftyOne, to review; a sample a label",
    needs="Dataset.from_dir(DIR, fiftyone.types.CSVDataset, data_path=DIR, labels_path=DIR/labels.csv)",
    task="both",
    write=_write,
    text=CSV_CELL,
    suffixes=COMMON,
    takes_spans=True,
    takes_several=True,
    takes_columns=True,
)
