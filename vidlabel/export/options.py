"""What an export is asked to do, and what is refused before anything is written."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vidlabel.errors import InputError
from vidlabel.export.cutter import MediaOptions
from vidlabel.export.format import Format
from vidlabel.export.formats import FORMATS
from vidlabel.export.reading import Survey
from vidlabel.progress import LogFormat
from vidlabel.tables.filter_rules import FilterRules
from vidlabel.tables.reading import LabelTable

Several = Literal["first", "each"]
STATE = ".vidlabel"  # hidden, so that no reader takes what is in it for data


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """What is exported, and how."""

    labels: Path
    out: Path
    to: str
    media: MediaOptions
    columns: tuple[tuple[str, str], ...] = ()
    levels: tuple[str, ...] = ()
    several: Several | None = None
    val: float = 0.0
    rules: FilterRules | None = None
    text_column: str | None = None
    log_format: LogFormat = "text"

    def __post_init__(self) -> None:
        if not 0 <= self.val < 1:
            raise InputError(f"--val {self.val:g}: a share of the videos, from 0 to below 1")
        if self.media.symlink and not self.media.with_videos:
            raise InputError("--symlink makes links to videos, which --no-videos leaves out; name one of them")


def find_format(name: str) -> Format:
    if name not in FORMATS:
        raise InputError(f"--to {name}: no such format; there are {', '.join(FORMATS)} (vidlabel export --list)")
    return FORMATS[name]


def check_table(options: ExportOptions, format_: Format, table: LabelTable) -> None:
    if format_.needs_size and options.media.cut == "none":
        for name in ("width", "height", "fps", "video_seconds"):
            table.require(name, f"{format_.name} (or --cut exact, which measures the clips)")


def check_options(options: ExportOptions, format_: Format) -> None:
    """What cannot go together, whatever the labels are."""
    if options.columns and not format_.takes_columns:
        able = ", ".join(made.name for made in FORMATS.values() if made.takes_columns)
        raise InputError(f"--columns: {format_.name} has no place for more columns; {able} have")
    if options.several == "each" and (format_.takes_several or format_.task != "caption"):
        raise InputError(f"--several each: {format_.name} takes all texts of a clip together anyway")
    if options.several == "each" and format_.names_file_once:
        raise InputError(f"--several each: {format_.name} has one caption for each video file")
    if options.levels and format_.task == "qa":
        raise InputError(f"--levels: {format_.name} is for questions and answers, which have no levels")


def checked_folder(options: ExportOptions, format_: Format, table: LabelTable) -> Path:
    """Absolute; refuses a place that holds something else, or was exported with other settings."""
    folder = options.out.absolute()
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--out {options.out}: is a file; a data set is a folder")
    if not folder.parent.is_dir():
        raise InputError(f"--out {options.out}: there is no folder {folder.parent}")
    source = table.path.resolve()
    if folder.resolve() == source or source.is_relative_to(folder.resolve()):
        raise InputError(f"--out {options.out}: must not be the folder that the labels are in")
    parts = [folder / "train", folder / "val"] if options.val else [folder]
    if (why := format_.refuse_folder(parts[0])) is not None:
        raise InputError(f"--out {options.out}: {why}")
    state = folder / STATE / "export.json"
    if state.exists():
        _check_settings(options, state)
    elif strangers := sorted(entry.name for entry in folder.glob("*") if entry.name != STATE):
        raise InputError(f"--out {options.out}: holds {strangers[0]}, which is not vidlabel's; name another")
    return folder


def _check_settings(options: ExportOptions, state: Path) -> None:
    try:
        there = json.loads(state.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{state} is not what vidlabel wrote ({error}); name another --out") from error
    for name, value in json.loads(settings_json(options)).items():
        if there.get(name) != value:
            raise InputError(
                f"--out {options.out} was exported with {name} {there.get(name)}, not {value}; name another"
            )


def settings_json(options: ExportOptions) -> str:
    """What the files there depend on. Which labels are chosen may change: their texts are written anew."""
    media = options.media
    settings = {
        "--to": options.to,
        "--cut": media.cut,
        "--frame-multiple": media.frame_multiple,
        "--symlink": media.symlink,
        "--no-videos": not media.with_videos,
        "--val": options.val,
    }
    return json.dumps(settings, indent=2) + "\n"


def check_clips(options: ExportOptions, format_: Format, survey: Survey) -> None:
    if options.media.cut != "none":
        return
    if survey.part is not None and not format_.takes_spans:
        raise InputError(
            f"{format_.name} reads whole files, and {survey.part} is a part of one: use --cut exact (encodes again) or "
            "--cut copy (begins at a keyframe)"
        )
    for suffix in survey.suffixes if format_.suffixes else ():
        if suffix not in format_.suffixes:
            raise InputError(
                f"{format_.name} opens {' '.join(format_.suffixes)}, and some videos are {suffix or 'without suffix'}: "
                "use --cut copy (the same pictures in an mp4) or --cut exact"
            )
