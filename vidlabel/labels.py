"""Labels: one row is one answer to one question about one clip. The columns, their types, and how a row is made.

Names (ids and paths) survive any file name: a byte that is not UTF-8 is written `\\xHH`, and `unescape_name` undoes it.
Other text that UTF-8 cannot hold (a lone surrogate) becomes U+FFFD; everything else is kept as it is.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

import vidlabel
from vidlabel.config import Settings
from vidlabel.data import Answer, AskedClip, FinishReason, Frames, Task, stable_id
from vidlabel.quality import Said, flags_of

LABEL_SCHEMA = pa.schema(
    [
        ("label_id", pa.string()),
        ("clip_id", pa.string()),
        ("video_id", pa.string()),
        ("video_path", pa.string()),
        ("start_seconds", pa.float64()),
        ("end_seconds", pa.float64()),
        ("task", pa.string()),
        ("instruction", pa.string()),
        ("pool", pa.string()),
        ("caption", pa.string()),
        ("question", pa.string()),
        ("answer", pa.string()),
        ("language", pa.string()),
        ("flags", pa.list_(pa.string())),
        ("mean_logprob", pa.float32()),
        ("grounding", pa.float32()),
        ("num_tokens", pa.int32()),
        ("finish_reason", pa.string()),
        ("num_frames", pa.int32()),
        ("num_subtitle_words", pa.int32()),
        ("subtitle_source", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("fps", pa.float64()),
        ("video_seconds", pa.float64()),
        ("codec", pa.string()),
        ("model", pa.string()),
        ("model_fingerprint", pa.string()),
        ("seed", pa.int64()),
        ("vidlabel_version", pa.string()),
        ("created_at", pa.timestamp("us", tz="UTC")),
    ]
)
# in parts the manifest's own columns are one JSON text, so that no two parts can disagree about a type
PART_SCHEMA = LABEL_SCHEMA.append(pa.field("extra", pa.string()))

_NAMES = ("clip_id", "video_id", "video_path")
_LOOKS_ESCAPED = re.compile(r"\\x(?=[0-9a-f]{2})")
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Label:
    """One output row; the fields are the columns, in order, and `extra` is the manifest's own columns."""

    label_id: str
    clip_id: str
    video_id: str
    video_path: str
    start_seconds: float
    end_seconds: float
    task: Task
    instruction: str
    pool: str
    caption: str | None
    question: str | None
    answer: str | None
    language: str
    flags: tuple[str, ...]
    mean_logprob: float | None
    grounding: float | None
    num_tokens: int
    finish_reason: FinishReason
    num_frames: int
    num_subtitle_words: int
    subtitle_source: str
    width: int
    height: int
    fps: float
    video_seconds: float
    codec: str
    model: str
    model_fingerprint: str
    seed: int
    vidlabel_version: str
    created_at: datetime
    extra: Mapping[str, object] = field(default_factory=dict, hash=False)
    more: Mapping[str, object] = field(default_factory=dict, hash=False)  # columns that only some runs have

    def __post_init__(self) -> None:
        filled = [name for name in ("caption", "question", "answer") if getattr(self, name) is not None]
        if filled != (["caption"] if self.task == "caption" else ["question", "answer"]):
            raise ValueError(f"a {self.task} label fills caption, or question and answer, got {filled = }")
        if self.created_at.tzinfo is None:
            raise ValueError(f"a time needs its zone, got {self.created_at = }")


def label_id_for(*, clip_id: str, task: Task, instruction: str, settings_fingerprint: str) -> str:
    return stable_id(clip_id, task, instruction, settings_fingerprint)


def make_label(
    asked: AskedClip,
    answer: Answer,
    settings: Settings,
    created_at: datetime | None = None,
    *,
    flags: tuple[str, ...] | None = None,
    more: Mapping[str, object] | None = None,
) -> Label:
    """The row for an answer to one of the clip's questions; refuses an answer about another clip.

    `flags` None: read from the answer. `more`: columns that only some runs have; the same ones in every row of a run.
    """
    clip, frames, question = asked.clip, asked.frames, answer.question
    if answer.clip_id != clip.clip_id or answer.error is not None:
        raise ValueError(f"no label of {clip.clip_id = } can be made from {answer.clip_id = }, {answer.error = }")
    is_caption = question.task == "caption"
    return Label(
        label_id=label_id_for(
            clip_id=clip.clip_id,
            task=question.task,
            instruction=question.key or question.text,
            settings_fingerprint=settings.fingerprint,
        ),
        clip_id=clip.clip_id,
        video_id=clip.video.video_id,
        video_path=clip.video.path,
        start_seconds=clip.start_seconds,
        end_seconds=clip.end_seconds,
        task=question.task,
        instruction=question.text,
        pool=question.pool,
        caption=answer.text if is_caption else None,
        question=None if is_caption else question.original or question.text,
        answer=None if is_caption else answer.text,
        language=question.language,
        flags=flags_for(asked, answer) if flags is None else flags,
        mean_logprob=answer.mean_logprob,
        grounding=answer.grounding,
        num_tokens=answer.num_tokens,
        finish_reason=answer.finish_reason,
        num_frames=answer.num_frames,
        num_subtitle_words=answer.num_subtitle_words,
        subtitle_source=frames.subtitle_source,
        width=clip.info.width,
        height=clip.info.height,
        fps=clip.info.fps,
        video_seconds=clip.info.video_seconds,
        codec=clip.info.codec,
        model=settings.answers.model,
        model_fingerprint=settings.answers.model_fingerprint,
        seed=settings.answers.seed,
        vidlabel_version=vidlabel.__version__,
        created_at=created_at or datetime.now(UTC),
        extra={**_subtitle_language(frames), **clip.video.extra, **question.extra},
        more=more or {},
    )


def _subtitle_language(frames: Frames) -> dict[str, str]:
    """A column only where subtitles came from speech: of cue files nobody knows it."""
    return {} if frames.subtitle_language is None else {"subtitle_language": frames.subtitle_language}


def labels_table(labels: Iterable[Label]) -> pa.Table:
    """Labels as a table of `PART_SCHEMA`."""
    return pa.Table.from_pylist([_part_row(label) for label in labels], schema=PART_SCHEMA)


def escape_name(name: str) -> str:
    """A name or id as valid text: bytes that were not UTF-8 as `\\xHH`, and what looks so already as `\\x5cxHH`."""
    if not _SURROGATE.search(name) and "\\x" not in name:
        return name
    escaped = _LOOKS_ESCAPED.sub(lambda _: r"\x5cx", name)
    return clean_text(re.sub("[\udc80-\udcff]", lambda byte: f"\\x{ord(byte[0]) - 0xDC00:02x}", escaped))


def unescape_name(text: str) -> str:
    """The name as Python knows it: open it, or compare it with `Video.video_id`."""

    def byte(found: re.Match[str]) -> str:
        value = int(found[1], 16)
        return chr(value) if value < 0x80 else chr(0xDC00 + value)

    return re.sub(r"\\x([0-9a-f]{2})", byte, text) if "\\x" in text else text


def clean_text(text: str) -> str:
    return _SURROGATE.sub("\ufffd", text)


def flags_for(asked: AskedClip, answer: Answer) -> tuple[str, ...]:
    """What the captioner knows, what the file was like, and what reading the text says. Not `duplicate`: that takes
    all labels of the output, so it is set where parts are merged into it."""
    said = Said(
        text=answer.text,
        task=answer.question.task,
        question=answer.question.original or answer.question.text,
        language=answer.question.language,
        finish_reason=answer.finish_reason,
        subtitles=" ".join(cue.text for cue in asked.frames.cues),
    )
    flags = [*answer.flags, *["damaged"] * asked.frames.damaged, *flags_of(said)]
    return tuple(dict.fromkeys(flags))


def _part_row(label: Label) -> dict[str, Any]:
    row: dict[str, Any] = {name: _storable(getattr(label, name)) for name in LABEL_SCHEMA.names}
    row |= {name: escape_name(getattr(label, name)) for name in _NAMES}
    extra = {**label.more, **_extra_columns(label.extra, label.more)}
    row["extra"] = clean_text(json.dumps(extra, ensure_ascii=False, default=str)) if extra else None
    return row


def _extra_columns(extra: Mapping[str, object], more: Mapping[str, object]) -> dict[str, object]:
    """The manifest's columns under names that the labels do not use."""
    own = {*LABEL_SCHEMA.names, *more}
    taken = {*own, *extra}
    columns = {}
    for name, value in extra.items():
        column = clean_text(name)
        if not column or column in own:
            column = f"manifest_{column}"
            while column in taken:
                column = f"manifest_{column}"
            taken.add(column)
        columns[column] = value
    return columns


def _storable(value: object) -> object:
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, tuple):
        return [_storable(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
