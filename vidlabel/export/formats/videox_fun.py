"""VideoX-Fun: `metadata.json`, a list of `file_path`, `text` and `type`."""

from __future__ import annotations

from vidlabel.export.files import write_array
from vidlabel.export.format import COMMON, Format, Source


def _write(source: Source) -> None:
    write_array(
        source.folder / "metadata.json",
        (
            {"file_path": sample.media.file, "text": sample.clip.captions[0], "type": "video", **sample.clip.columns}
            for sample in source.samples()
        ),
    )


VIDEOX_FUN = Format(
    name="videox-fun",
    trainer="VideoX-Fun, EasyAnimate (Wan-Fun, CogVideoX-Fun)",
    needs="--train_data_dir DIR --train_data_meta DIR/metadata.json",
    task="caption",
    write=_write,
    suffixes=COMMON,
    frame_multiple=4,
    takes_columns=True,
)
