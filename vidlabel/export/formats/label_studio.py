"""Label Studio: `tasks.json` to import, the labels as predictions to correct, and `config.xml` for the project."""

from __future__ import annotations

from urllib.parse import quote

from vidlabel.atomic import write_whole
from vidlabel.export.clips import Said, Sample
from vidlabel.export.files import Row, write_array
from vidlabel.export.format import Format, Source

CONFIG = """<View>
  <Video name="video" value="$video"/>
  <Text name="about" value="$about"/>
  <TextArea name="text" toName="video" editable="true" maxSubmissions="1" rows="4"/>
  <Choices name="verdict" toName="video" choice="single">
    <Choice value="good"/>
    <Choice value="bad"/>
  </Choices>
</View>
"""


def _write(source: Source) -> None:
    rows = (_task(sample, said) for sample in source.samples() for said in sample.clip.said)
    write_array(source.folder / "tasks.json", rows)
    write_whole(source.folder / "config.xml", CONFIG)


def _task(sample: Sample, said: Said) -> Row:
    task, question, text, level = said
    clip = sample.clip
    result = {"from_name": "text", "to_name": "video", "type": "textarea", "value": {"text": [text]}}
    start, end = sample.media.span or (0.0, sample.media.seconds)
    end = end if end is not None else sample.media.seconds
    data = {
        "video": "/data/local-files/?d=" + quote(sample.media.file),
        "clip_id": clip.clip_id,
        "start_seconds": start,
        "end_seconds": end,
        "about": f"{clip.clip_id}: {start:.3f} to {end:.3f} seconds {question or ''}",
        "task": task,
        "question": question or "",
        "level": level or "",
    }
    # what a column is called must not hide what the config asks for
    return {"data": {**clip.columns, **data}, "predictions": [{"model_version": "vidlabel", "result": [result]}]}


LABEL_STUDIO = Format(
    name="label-studio",
    trainer="Label Studio, to review and correct; a task a label",
    needs="LOCAL_FILES_SERVING_ENABLED, and LOCAL_FILES_DOCUMENT_ROOT is DIR; config.xml is the labelling interface",
    task="both",
    write=_write,
    suffixes=(".mp4", ".webm"),
    takes_spans=True,
    takes_several=True,
    takes_columns=True,
)
