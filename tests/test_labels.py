from __future__ import annotations

import dataclasses
import json
import os
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import vidlabel
from tests.make_labels import CREATED_AT, SETTINGS, label, make_answer, make_asked
from vidlabel.columns import arrow_type, convert, kind_of, unify, unify_all
from vidlabel.data import Question
from vidlabel.errors import InputError
from vidlabel.jsonl import json_line, json_lines
from vidlabel.labels import (
    LABEL_SCHEMA,
    Label,
    clean_text,
    escape_name,
    label_id_for,
    labels_table,
    make_label,
    unescape_name,
)
from vidlabel.outputs import parse_output
from vidlabel.readers import parquet_batches, read_labels

COLUMNS = [
    "label_id",
    "clip_id",
    "video_id",
    "video_path",
    "start_seconds",
    "end_seconds",
    "task",
    "instruction",
    "pool",
    "caption",
    "question",
    "answer",
    "language",
    "flags",
    "mean_logprob",
    "grounding",
    "num_tokens",
    "finish_reason",
    "num_frames",
    "num_subtitle_words",
    "subtitle_source",
    "width",
    "height",
    "fps",
    "video_seconds",
    "codec",
    "model",
    "model_fingerprint",
    "seed",
    "vidlabel_version",
    "created_at",
]


def test_columns_are_those_of_the_design_in_its_order() -> None:
    assert LABEL_SCHEMA.names == COLUMNS
    assert [field.name for field in dataclasses.fields(Label)] == [*COLUMNS, "extra", "more"]


def test_caption_row_says_everything_about_its_making() -> None:
    asked = make_asked(3, extra={"licence": "CC-BY"}, question=Question("Beschreibe es.", "pool-de", language="de"))
    row = labels_table(
        [make_label(asked, make_answer(asked, "Ein brauner Hund läuft über die Wiese."), SETTINGS, CREATED_AT)]
    ).to_pylist()[0]
    assert row == {
        "label_id": label_id_for(
            clip_id=asked.clip.clip_id,
            task="caption",
            instruction="Beschreibe es.",
            settings_fingerprint=SETTINGS.fingerprint,
        ),
        "clip_id": "video0003-3000-4000",
        "video_id": "video0003",
        "video_path": "videos/0003.mp4",
        "start_seconds": 3.0,
        "end_seconds": 4.0,
        "task": "caption",
        "instruction": "Beschreibe es.",
        "pool": "pool-de",
        "caption": "Ein brauner Hund läuft über die Wiese.",
        "question": None,
        "answer": None,
        "language": "de",
        "flags": [],
        "mean_logprob": -0.25,
        "grounding": None,
        "num_tokens": 5,
        "finish_reason": "stop",
        "num_frames": 4,
        "num_subtitle_words": 3,
        "subtitle_source": "sidecar",
        "width": 640,
        "height": 360,
        "fps": 25.0,
        "video_seconds": 1000.0,
        "codec": "h264",
        "model": "echo",
        "model_fingerprint": "echo-1",
        "seed": 7,
        "vidlabel_version": vidlabel.__version__,
        "created_at": CREATED_AT,
        "extra": '{"licence": "CC-BY"}',
    }


def test_qa_row_fills_question_and_answer_and_no_caption() -> None:
    asked = make_asked(question=Question("How many dogs?", "manifest", task="qa"))
    made = make_label(asked, make_answer(asked, "Two."), SETTINGS)
    assert (made.caption, made.question, made.answer, made.instruction) == (
        None,
        "How many dogs?",
        "Two.",
        "How many dogs?",
    )
    assert made.created_at.tzinfo is not None


def test_answer_about_another_clip_never_becomes_a_label() -> None:
    with pytest.raises(ValueError, match="no label of"):
        make_label(make_asked(1), make_answer(make_asked(2)), SETTINGS)


def test_error_answer_never_becomes_a_label() -> None:
    asked = make_asked()
    with pytest.raises(ValueError, match="too long"):
        make_label(asked, dataclasses.replace(make_answer(asked), error="too long"), SETTINGS)


def test_flags_say_cut_off_answers_and_damaged_files_once() -> None:
    asked = make_asked(damaged=True)
    answer = dataclasses.replace(make_answer(asked), finish_reason="length", flags=("subtitles_shortened", "truncated"))
    assert make_label(asked, answer, SETTINGS).flags == ("subtitles_shortened", "truncated", "damaged")


def test_flags_say_what_is_wrong_with_the_text() -> None:
    asked = make_asked(question=Question("Describe the clip.", "caption"))
    for text, flag in (
        ("A brown dog runs over a green meadow towards the lake.", None),
        ("A dog runs and runs and runs and runs and runs and runs and runs.", "repetitive"),
        ("[INST] Describe the clip. [/INST] A brown dog runs over the meadow.", "leak"),
        ("一只棕色的狗在草地上奔跑。", "wrong_language"),
    ):
        flags = make_label(asked, make_answer(asked, text), SETTINGS).flags
        assert (flag in flags) if flag else flags == ()


def test_label_id_depends_on_clip_task_instruction_and_settings() -> None:
    ids = {
        label_id_for(clip_id=clip, task=task, instruction=text, settings_fingerprint=settings)
        for clip in ("a", "b")
        for task in ("caption", "qa")
        for text in ("x", "y")
        for settings in ("1", "2")
    }
    assert len(ids) == 16


def test_manifest_column_with_a_name_of_ours_is_carried_under_another() -> None:
    extra = {"model": "camera", "manifest_model": "kept", "caption": "old", "": 1, "ok": 2}
    row = json.loads(labels_table([label(extra=extra)]).to_pylist()[0]["extra"])
    assert row == {
        "manifest_manifest_model": "camera",
        "manifest_model": "kept",
        "manifest_caption": "old",
        "manifest_": 1,
        "ok": 2,
    }


def test_question_row_columns_are_carried_too() -> None:
    asked = make_asked(extra={"a": 1, "b": 1}, question=Question("Why?", "manifest", task="qa", extra={"b": 2}))
    assert dict(make_label(asked, make_answer(asked), SETTINGS).extra) == {"a": 1, "b": 2}


@given(st.binary(min_size=1))
def test_any_file_name_survives(name: bytes) -> None:
    path = os.fsdecode(name)
    text = escape_name(path)
    text.encode("utf-8")
    assert unescape_name(text) == path


@pytest.mark.parametrize("path", ["a/b c.mp4", "日本.mp4", r"C:\videos\a.mp4"])
def test_ordinary_names_are_not_escaped(path: str) -> None:
    assert escape_name(path) == path


def test_a_name_that_looks_escaped_is_told_from_one_that_is() -> None:
    assert escape_name(r"a\xff.mp4") != escape_name("a\udcff.mp4")
    assert escape_name("a\udcff.mp4") == r"a\xff.mp4"


def test_text_that_utf8_cannot_hold_is_replaced_only_where_it_must_be() -> None:
    made = dataclasses.replace(label(), caption="x\ud83d\x00 \u2028 😀\n", pool="p\udcff", flags=("f\udcff",))
    row = labels_table([made]).to_pylist()[0]
    assert row["caption"] == "x\ufffd\x00 \u2028 😀\n"
    assert (row["pool"], row["flags"]) == ("p\ufffd", ["f\ufffd"])


def test_numbers_that_are_none_become_null() -> None:
    made = dataclasses.replace(label(), mean_logprob=float("nan"), fps=float("inf"))
    row = labels_table([made]).to_pylist()[0]
    assert (row["mean_logprob"], row["fps"]) == (None, None)


def test_a_label_without_zone_or_with_the_wrong_texts_is_refused() -> None:
    with pytest.raises(ValueError, match="zone"):
        dataclasses.replace(label(), created_at=datetime(2026, 1, 1))
    with pytest.raises(ValueError, match="fills"):
        dataclasses.replace(label(), task="qa")


# ---- types of the manifest's columns

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([None, 1, 2], "int"),
        ([1, 2.5], "float"),
        ([2**60, 1], "bigint"),
        ([2**60, 1.5], "mixed"),
        ([2**70], "mixed"),
        ([True, None], "bool"),
        ([True, 1], "mixed"),
        (["a", None], "string"),
        (["a", 1], "mixed"),
        ([[1, 2], [0.5], None, []], "list:float"),
        ([["a"], ["b", None]], "list:string"),
        ([["a"], [1]], "mixed"),
        ([[["a"]]], "mixed"),
        ([{"a": 1}], "mixed"),
        ([float("inf")], "mixed"),
        ([None], "null"),
    ],
)
def test_kind_of_a_column(values: list[object], kind: str) -> None:
    assert unify_all(map(kind_of, values)) == kind
    assert unify_all(map(kind_of, reversed(values))) == kind


@given(st.lists(st.sampled_from([None, True, 3, 2**60, 2**70, 0.5, "x", [1], [0.5], ["x"], [], {}]), max_size=6))
def test_kind_does_not_depend_on_the_order(values: list[object]) -> None:
    kinds = [kind_of(value) for value in values]
    assert unify_all(kinds) == unify_all(reversed(kinds))
    for first in kinds:
        for second in kinds:
            assert unify(first, second) == unify(second, first)


@given(st.lists(JSON_VALUES, max_size=4), st.lists(JSON_VALUES, max_size=4))
def test_values_of_any_type_fit_one_column_also_when_more_come_later(first: list[object], later: list[object]) -> None:
    kind = unify_all(map(kind_of, first))
    stored = pa.array([_clean(convert(value, kind)) for value in first], arrow_type(kind)).to_pylist()
    wider = unify_all([kind, *map(kind_of, later)])
    both = pa.array([_clean(convert(value, wider)) for value in [*stored, *later]], arrow_type(wider)).to_pylist()
    for value, kept in zip([*first, *later], both, strict=True):
        if wider != "mixed":
            assert kept == (None if kind_of(value) == "null" else value)
        elif isinstance(value, str):
            assert kept == _clean(value)


def _clean(value: object) -> object:
    return clean_text(value) if isinstance(value, str) else value


# ---- json lines


def test_a_json_line_is_one_line_for_every_reader() -> None:
    text = "a\nb\u2028c\u2029d\x85e\x0bf\x1c😀\x00"
    line = json_line({"caption": text, "x": float("nan")})
    assert line.splitlines() == [line[:-1]]
    assert json.loads(line) == {"caption": text, "x": None}


def test_json_lines_have_every_column_and_times_with_their_zone() -> None:
    row = json.loads(json_lines(labels_table([label()])))
    assert list(row) == [*COLUMNS, "extra"]
    assert row["created_at"] == "2026-01-02T03:04:05.678901Z"


# ---- outputs


@pytest.mark.parametrize(
    ("out", "kind", "failures"),
    [
        ("labels.parquet", "parquet", "labels.failures.jsonl"),
        ("labels.jsonl", "jsonl", "labels.failures.jsonl"),
        ("labels", "folder", "labels.failures.jsonl"),
    ],
)
def test_out_names_one_of_three_kinds(tmp_path: Path, out: str, kind: str, failures: str) -> None:
    output = parse_output(tmp_path / out)
    assert (output.kind, output.failures.name, output.work.name) == (kind, failures, out + ".work")


@pytest.mark.parametrize("out", ["labels.csv", "labels.parquet.gz", "labels.json", "."])
def test_out_of_another_kind_is_refused_and_told_what_is_right(out: str, tmp_path: Path) -> None:
    if out == ".":
        assert parse_output(tmp_path).kind == "folder"
        return
    with pytest.raises(InputError, match=r"\.parquet file, a \.jsonl file or a folder"):
        parse_output(out)


def test_a_folder_named_like_a_file_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "labels.parquet").mkdir()
    assert parse_output(tmp_path / "labels.parquet").kind == "folder"


def test_labels_written_through_a_link_go_where_it_points(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "labels.parquet").symlink_to(tmp_path / "disk" / "real.parquet")
    assert parse_output(tmp_path / "labels.parquet").path == tmp_path / "disk" / "real.parquet"


# ---- reading


def test_labels_that_other_tools_filtered_are_still_read(tmp_path: Path) -> None:
    table = labels_table([label(0), label(1)]).to_pandas()
    table[table.start_seconds > 0].drop(columns="extra").to_parquet(tmp_path / "some.parquet")
    batches = list(read_labels(tmp_path / "some.parquet", ["clip_id"]))
    assert pa.Table.from_batches(batches).to_pylist() == [{"clip_id": "video0001-1000-2000"}]


def test_jsonl_that_other_tools_extended_keeps_types_and_columns(tmp_path: Path) -> None:
    rows = [json.loads(line) for line in json_lines(labels_table([label(0), label(1)])).splitlines()]
    lines = [json.dumps(row | {"score": score}) for row, score in zip(rows, [1, 0.5], strict=True)]
    (tmp_path / "l.jsonl").write_text("\n".join(lines))
    table = pa.Table.from_batches(list(read_labels(tmp_path / "l.jsonl")))
    assert table["score"].to_pylist() == [1.0, 0.5]
    assert table["created_at"].to_pylist() == [CREATED_AT] * 2
    assert table.schema.field("flags").type == pa.list_(pa.string())


@pytest.mark.parametrize("columns", [None, ["nope"]])
def test_reading_what_is_not_there_is_one_clear_line(tmp_path: Path, columns: list[str] | None) -> None:
    pq.write_table(labels_table([label()]), tmp_path / "l.parquet")
    name = "l.parquet" if columns else "absent.parquet"
    with pytest.raises(InputError, match="no column nope" if columns else "no labels there"):
        list(read_labels(tmp_path / name, columns))


def test_a_file_that_is_read_batch_by_batch_is_never_held_as_a_whole(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).standard_normal(2_000_000)
    pq.write_table(pa.table({"score": numbers}), tmp_path / "large.parquet", row_group_size=100_000)
    before = pa.total_allocated_bytes()
    most = 0
    for batch in parquet_batches(tmp_path / "large.parquet", batch_rows=100_000):
        assert len(batch)
        most = max(most, pa.total_allocated_bytes() - before)
    assert most < numbers.nbytes / 2


def test_a_bad_json_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "l.jsonl").write_text(json_lines(labels_table([label()])) + "{broken\n")
    with pytest.raises(InputError, match="line 2: not JSON"):
        list(read_labels(tmp_path / "l.jsonl"))


def test_pandas_reads_what_we_write(tmp_path: Path) -> None:
    pq.write_table(labels_table([label(text="日本 \u2028 x")]), tmp_path / "l.parquet")
    frame = pd.read_parquet(tmp_path / "l.parquet")
    assert frame.caption[0] == "日本 \u2028 x"
    assert str(frame.created_at.dt.tz) == "UTC"
