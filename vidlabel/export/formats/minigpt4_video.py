"""MiniGPT4-video, third stage: `qa.json` with `video_id`, `q` and `a`; the videos are `videos/ID.mp4`."""

from __future__ import annotations

from vidlabel.export.files import write_array
from vidlabel.export.format import Format, Source


def _write(source: Source) -> None:
    write_array(
        source.folder / "qa.json",
        (
            {"video_id": sample.clip.name, "q": question, "a": answer}
            for sample in source.samples()
            for question, answer in sample.clip.pairs
        ),
    )


MINIGPT4_VIDEO = Format(
    name="minigpt4-video",
    trainer="MiniGPT4-video, third stage; a caption is the answer to its instruction",
    needs="ann_paths: [DIR/qa.json], vis_root: DIR/videos",
    task="qa",
    write=_write,
    video_folder="videos",
)
