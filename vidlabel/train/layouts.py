"""Published sets of questions, answers and captions in files of their own form, as their makers publish them.

    MSVD-QA, MSR-VTT-QA      [{"question", "answer", "video_id": 1301, "id"}], beside it MSVD's youtube_mapping.txt
    ActivityNet-QA           test_q.json [{"video_name", "question", "question_id"}], test_a.json [{"answer", "type",
                             "question_id"}]; the zero-shot sets of Video-ChatGPT and Video-LLaVA look the same
    TGIF-QA                  Test_frameqa_question.csv, by tabs: gif_name, question, answer, type; or .json of these
    Video-ChatGPT            generic_qa.json, temporal_qa.json [{"Q", "A", "video_name"}], consistency_qa.json: Q1, Q2
    MiniGPT4-video           [{"video_id", "q", "a"}] (or {"annotations": [...]}), [{"image_id", "caption"}]
    MSR-VTT                  {"videos": [{"video_id", "split"}], "sentences": [{"video_id", "caption"}]}
    MSVD                     AllVideoDescriptions.txt: `name_start_end caption`; or the corpus as csv

Every caption is an example of its own. A row whose video is not there is counted and left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from vidlabel.data import Task
from vidlabel.errors import InputError
from vidlabel.manifest_rows import NumberedRow, read_rows
from vidlabel.manifests.mention import text_of
from vidlabel.paths import shown
from vidlabel.train.examples import NoTextsError

CONSISTENCY, TEMPORAL, GENERIC = "consistency", "temporal", "generic"  # groups of Video-ChatGPT's sets
_VIDEO = ("video_name", "video_id", "gif_name", "image_id", "video")
_QUESTION, _ANSWER, _ID = ("question", "Q", "q"), ("answer", "A", "a"), ("question_id", "id", "qid")
_TGIF_KINDS = ("object", "number", "colour", "location")
_ACTIVITYNET_KINDS = ("motion", "spatial", "temporal", "yes/no", "colour", "object", "location", "number", "other")
_MSVD_LINE = re.compile(r"(\S+_\d+_\d+)\s+(\S.*)")
_LANGUAGES = {"english": "en", "chinese": "zh"}


@dataclass(frozen=True, slots=True)
class LayoutRow:
    """What a row says, before the file of its video is looked for."""

    where: str
    names: tuple[str, ...]  # that the file may have, without extension, best first
    question: str | None
    answer: str | None
    group: str = ""
    pair: str = ""
    subset: str | None = None  # train, test, ..., where the set says
    language: str | None = None


Row = Mapping[str, object]


def is_layout(file: str) -> bool:
    """Whether a file is one of these, and not a manifest of rows."""
    extension = Path(file).suffix.lower()
    if extension in (".json", ".txt"):
        return True
    return extension == ".csv" and _first_line(file).startswith(("gif_name\t", "VideoID,Start,End"))


def layout_rows(file: str, task: Task) -> Iterator[LayoutRow]:
    """The rows of the file. Of a set of questions the answers may be in a second file, which is found by its name."""
    extension = Path(file).suffix.lower()
    if extension == ".txt":
        rows: Iterable[LayoutRow] = _msvd_lines(file)
        held: Task = "caption"
    elif extension == ".csv":
        is_tgif = _first_line(file).startswith("gif_name")
        rows = _tgif_table(file) if is_tgif else _msvd_table(file)
        held = "qa" if is_tgif else "caption"
    else:
        held, rows = _of_json(file)
    if held != task:
        other = "questions with answers, no captions" if held == "qa" else "captions, no questions"
        raise NoTextsError(f"{file}: holds {other}")
    return iter(rows)


def _of_json(file: str) -> tuple[Task, Iterable[LayoutRow]]:
    values = _load(file)
    if isinstance(values, dict) and "sentences" in values:
        return "caption", _msrvtt(file, values)
    entries = values.get("annotations") if isinstance(values, dict) else values
    if not isinstance(entries, list) or not entries or not all(isinstance(one, dict) for one in entries):
        raise InputError(f"{file}: should be a list of objects, one a question or caption; see the README for layouts")
    keys = entries[0].keys()
    if {"Q1", "Q2", "A"} <= keys:
        return "qa", _consistency(file, entries)
    if _first(keys, _QUESTION) and not _first(keys, _ANSWER):
        entries = _with_answers(file, entries)
        keys = entries[0].keys()
    if _first(keys, _QUESTION) and _first(keys, _ANSWER):
        return "qa", _questions(file, entries)
    if "caption" in keys or {"videoid", "name"} <= keys:
        return "caption", _captions(file, entries)
    raise InputError(
        f"{file}, entry 1: has {', '.join(keys)}; it should have question and answer (or Q and A, q and a), or caption"
    )


def _questions(file: str, entries: list[Row]) -> Iterator[LayoutRow]:
    stem = Path(file).stem.lower()
    mapping = _msvd_names(file)
    for number, row in enumerate(entries, start=1):
        where = f"{file}, entry {number}"
        group = _kind(row)
        if "Q" in row:
            group = TEMPORAL if "temporal" in stem else GENERIC
        question, answer = _text(row, _QUESTION, where), _text(row, _ANSWER, where)
        yield LayoutRow(where, _names(row, where, mapping), question, answer, group, subset=_subset(row))


def _consistency(file: str, entries: list[Row]) -> Iterator[LayoutRow]:
    for number, row in enumerate(entries, start=1):
        where = f"{file}, entry {number}"
        names, answer = _names(row, where, {}), _text(row, ("A",), where)
        for key in ("Q1", "Q2"):
            yield LayoutRow(where, names, _text(row, (key,), where), answer, CONSISTENCY, pair=where)


def _captions(file: str, entries: list[Row]) -> Iterator[LayoutRow]:
    mapping = _msvd_names(file)
    for number, row in enumerate(entries, start=1):
        where = f"{file}, entry {number}"
        if "videoid" in row:  # WebVid's, as MiniGPT4-video has it
            video, folder = _text(row, ("videoid",), where), _text(row, ("page_dir",), where)
            names = tuple(name for name in (f"{folder}/{video}" if folder else None, video) if name)
        else:
            names = _names(row, where, mapping)
        found = row.get("caption", row.get("name"))
        for caption in found if isinstance(found, list) else [found]:
            text = text_of(caption, "caption", (where, 0))
            yield LayoutRow(where, names, None, text, subset=_subset(row))


def _msrvtt(file: str, values: Mapping[str, object]) -> Iterator[LayoutRow]:
    videos, sentences = values.get("videos"), values["sentences"]
    if not isinstance(videos, list) or not isinstance(sentences, list):
        raise InputError(f"{file}: should hold the lists videos and sentences, as MSR-VTT does")
    subsets = {video.get("video_id"): _subset(video) for video in videos if isinstance(video, dict)}
    for number, row in enumerate(sentences, start=1):
        where = f"{file}, sentence {number}"
        if not isinstance(row, dict):
            raise InputError(f"{where}: should be an object with video_id and caption")
        caption = _text(row, ("caption",), where)
        yield LayoutRow(where, _names(row, where, {}), None, caption, subset=subsets.get(row.get("video_id")))


def _tgif_table(file: str) -> Iterator[LayoutRow]:
    """By tabs, though it is called csv; nothing in it is quoted."""
    lines = [line.rstrip("\r") for line in _read(file).split("\n")]
    names = lines[0].split("\t")
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        cells = line.split("\t")
        if len(cells) != len(names):
            raise InputError(f"{file}, line {number}: {len(cells)} cells, but the header has {len(names)} columns")
        row = dict(zip(names, cells, strict=True))
        where = f"{file}, line {number}"
        yield LayoutRow(where, _names(row, where, {}), row.get("question"), row.get("answer"), _kind(row))


def _msvd_table(file: str) -> Iterator[LayoutRow]:
    """The whole corpus is in many languages: of those that vidlabel does not speak nothing is told apart."""
    rows: Iterator[NumberedRow] = read_rows(file)
    for number, row in rows:
        where = f"{file}, line {number}"
        name = "_".join(str(row[key]) for key in ("VideoID", "Start", "End"))
        language = str(row.get("Language") or "English")
        caption = text_of(row.get("Description"), "Description", (file, number))
        yield LayoutRow(where, (name,), None, caption, language=_LANGUAGES.get(language.lower(), language))


def _msvd_lines(file: str) -> Iterator[LayoutRow]:
    for number, line in enumerate(_read(file).split("\n"), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        found = _MSVD_LINE.fullmatch(line.strip())
        if found is None:
            raise InputError(f"{file}, line {number}: should be a clip's name and a caption, as MSVD has them")
        yield LayoutRow(f"{file}, line {number}", (found[1],), None, found[2])


def _with_answers(file: str, entries: list[Row]) -> list[Row]:
    """Questions joined with the answers of the second file, by their ids; without ids, by place."""
    path = Path(file)
    named = [path.with_name(re.sub(*pair, path.name)) for pair in ((r"_q(?=[\d._])", "_a"), ("question", "answer"))]
    second = next((one for one in named if one != path and one.is_file()), None)
    if second is None:
        raise InputError(f"{file}: has questions without answers, and no {named[0].name} is beside it")
    answers = _load(str(second))
    if not isinstance(answers, list) or not all(isinstance(one, dict) for one in answers):
        raise InputError(f"{second}: should be a list of objects with answer and question_id")
    by_id = {one["question_id"]: one for one in answers if "question_id" in one}
    if not by_id and len(answers) != len(entries):
        raise InputError(f"{second}: {len(answers)} answers for the {len(entries)} questions of {file}")
    joined: list[Row] = []
    for number, row in enumerate(entries, start=1):
        answer = by_id.get(row.get("question_id")) if by_id else answers[number - 1]
        if answer is None:
            raise InputError(f"{file}, entry {number}: {second.name} has no answer to {row.get('question_id')!r}")
        joined.append({**answer, **row})
    return joined


def _names(row: Row, where: str, mapping: Mapping[str, str]) -> tuple[str, ...]:
    """What the video's file may be called: the sets leave out prefixes, and MSVD numbers its clips."""
    key = _first(row.keys(), _VIDEO)
    name = None if key is None else text_of(row[key], key, (where, 0))
    if name is None:
        raise InputError(f"{where}: names no video; it should have {', '.join(_VIDEO)}")
    if name.isdigit():
        own = mapping.get(f"vid{name}")
        return tuple(one for one in (own, f"video{name}", f"vid{name}", name) if one)
    own = mapping.get(name)
    return tuple(one for one in (own, name, f"v_{name}") if one)


def _msvd_names(file: str) -> Mapping[str, str]:
    """vid1301 -> the name of the clip, from the list that MSVD comes with."""
    path = Path(file).with_name("youtube_mapping.txt")
    if not path.is_file():
        return {}
    pairs = (line.split() for line in _read(str(path)).split("\n"))
    return {pair[1]: pair[0] for pair in pairs if len(pair) == 2}


def _kind(row: Row) -> str:
    """Of the question, where the set says."""
    value = row.get("type")
    if value is None or value == "":
        return ""
    if not str(value).isdigit():
        return str(value)
    name = str(row.get("gif_name") or row.get("video_name") or "")
    of_activitynet = str(row.get("question_id", "")).startswith("v_")
    kinds = _TGIF_KINDS if "gif_name" in row or name.startswith("tumblr_") else _ACTIVITYNET_KINDS
    if kinds is _ACTIVITYNET_KINDS and not of_activitynet:
        return f"type {value}"
    return kinds[int(str(value))] if int(str(value)) < len(kinds) else f"type {value}"


def _subset(row: Row) -> str | None:
    value = row.get("split")
    return None if value is None else str(value)


def _first(keys: Iterable[str], names: tuple[str, ...]) -> str | None:
    there = set(keys)
    return next((name for name in names if name in there), None)


def _text(row: Row, names: tuple[str, ...], where: str) -> str | None:
    key = _first(row.keys(), names)
    return None if key is None else text_of(row[key], key, (where, 0))


def _load(file: str) -> object:
    try:
        return json.loads(_read(file))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file}: not JSON: {error}") from error


def _first_line(file: str) -> str:
    try:
        with Path(file).open(encoding="utf-8-sig", errors="replace") as stream:
            return stream.readline()
    except OSError as error:
        raise InputError(f"{shown(file)}: cannot be read: {error.strerror}") from error


def _read(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{shown(file)}: not UTF-8; save the file as UTF-8") from error
    except OSError as error:
        raise InputError(f"{shown(file)}: cannot be read: {error.strerror}") from error
