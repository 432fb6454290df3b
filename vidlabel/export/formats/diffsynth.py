"""DiffSynth-Studio: `metadata.csv` with `video` and `prompt`."""

from __future__ import annotations

from vidlabel.export.files import write_csv
from vidlabel.export.format import COMMON, Format, Source
from vidlabel.export.texts import CSV_CELL


def _write(source: Source) -> None:
    own = [name for name in source.columns if name not in ("video", "prompt")]
    write_csv(
        source.folder / "metadata.csv",
        ["video", "prompt", *own],
        (
            [sample.media.file, sample.clip.captions[0], *(sample.clip.columns[name] for name in own)]
            for sample in source.samples()
        ),
    )


DIFFSYNTH = Format(
    name="diffsynth",
    trainer="DiffSynth-Studio (Wan, HunyuanVideo)",
    needs="--dataset_base_path DIR --dataset_metadata_path DIR/metadata.csv",
    task="caption",
    write=_write,
    text=CSV_CELL,
    suffixes=COMMON,
    frame_multiple=4,
    takes_columns=True,
)
