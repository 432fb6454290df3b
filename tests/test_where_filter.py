"""`vidlabel filter --where`: on labels and signals in any form of file; the table says which part dropped what."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.label_files import read_back, run, write_foreign, write_own

SIGNALS: list[dict[str, Any]] = [
    {"clip_id": "a", "motion": 0.5, "letterboxed": False, "camera": "pan", "start_seconds": 0.0, "end_seconds": 2.0},
    {"clip_id": "b", "motion": 0.1, "letterboxed": True, "camera": "static", "start_seconds": 2.0, "end_seconds": 9.0},
    {"clip_id": "c", "motion": None, "letterboxed": False, "camera": "zoom", "start_seconds": 9.0, "end_seconds": 9.5},
    {"clip_id": "d", "motion": 0.9, "letterboxed": None, "camera": None, "start_seconds": 9.5, "end_seconds": None},
]
EXPECTED = [
    ("motion > 0.2", "ad"),
    ("not letterboxed", "ac"),
    ("letterboxed", "b"),
    ("camera in ('pan', 'zoom') and motion is not null", "a"),
    ("camera is null or motion < 0.2", "bd"),
    ("seconds > 1", "ab"),
    ("end_seconds - start_seconds > 1 and seconds < 3", "a"),
    ("clip_id != 'a' and not (motion > 0.2)", "b"),
]


def clips(path: Path) -> str:
    return "".join(row["clip_id"] for row in read_back(path))


@pytest.mark.parametrize("form", [".parquet", ".jsonl", ".csv", ".tsv"])
def test_every_form_of_signals_is_filtered_alike(tmp_path: Path, form: str) -> None:
    signals = write_foreign(tmp_path / f"signals{form}", SIGNALS)
    for condition, stay in EXPECTED:
        out = tmp_path / f"some{form}"
        code, _, err = run("filter", signals, "--out", out, "--where", condition)
        assert (code, clips(out)) == (0, stay), (condition, err)


def test_the_table_says_what_each_part_dropped(tmp_path: Path) -> None:
    signals = write_foreign(tmp_path / "signals.parquet", SIGNALS)
    out = tmp_path / "some.parquet"
    code, _, err = run("filter", signals, "--out", out, "--where", "motion>0.2 and not letterboxed and seconds>1")
    assert code == 0
    table = [line.split() for line in err.splitlines()]
    assert ["--where", "motion", ">", "0.2", "2", "0"] in table
    assert ["--where", "not", "letterboxed", "2", "0"] in table
    assert ["--where", "seconds", ">", "1", "2", "0"] in table
    assert ["dropped", "in", "all", "3", "75.0%"] in table
    (step,) = json.loads(pq.read_schema(out).metadata[b"vidlabel.steps"])
    assert step["rules"] == {"where": "motion>0.2 and not letterboxed and seconds>1"}
    assert step["dropped"] == {
        "--where motion > 0.2": 2,
        "--where not letterboxed": 2,
        "--where seconds > 1": 2,
    }


@pytest.mark.parametrize("form", ["labels.parquet", "labels.jsonl", "labels"])
def test_labels_are_filtered_by_their_own_columns_too(tmp_path: Path, form: str) -> None:
    changes: list[dict[str, Any]] = [
        {"flags": ["short"]},
        {"grounding": 0.5, "width": 320},
        {"grounding": -0.5, "width": 320, "flags": ["leak"]},
        {"caption": "Ein Hund läuft."},
    ]
    labels = write_own(tmp_path / form, changes)
    kept = {}
    for condition in [
        "'short' in flags",
        "length(flags) == 0 and score < 1.2",
        "grounding > 0 or grounding < 0",
        "'hund' in lower(caption)",
        "created_at > '1999' and created_at < '2999-12-31T00:00:00'",
        "score >= 0.5 and width == 320 and not 'leak' in flags",
    ]:
        out = tmp_path / "out.jsonl"
        code, _, err = run("filter", labels, "--out", out, "--where", condition)
        assert code == 0, err
        kept[condition] = [round(row["score"] * 2) for row in read_back(out)]
    assert list(kept.values()) == [[0], [1], [1, 2], [3], [0, 1, 2, 3], [1]]


def test_where_goes_with_the_other_rules(tmp_path: Path) -> None:
    labels = write_own(tmp_path / "labels.parquet", [{"caption": "Same."}, {"caption": "Same."}, {"flags": ["leak"]}])
    out = tmp_path / "out.parquet"
    args = ("--where", "score > 0.2", "--drop-flags", "all", "--max-duplicates", 1)
    assert run("filter", labels, "--out", out, *args)[0] == 0
    assert [row["score"] for row in read_back(out)] == [
        0.5
    ]  # the first of the two was dropped before they were counted


def test_lists_of_numbers_and_texts_are_looked_into(tmp_path: Path) -> None:
    rows = pa.table(
        {
            "clip_id": ["a", "b", "c"],
            "tags": pa.array([["x", "y"], [], None], pa.large_list(pa.string())),
            "embedding": pa.array(np.arange(6, dtype=np.float32).reshape(3, 2).tolist(), pa.list_(pa.float32(), 2)),
            "made": pa.array([0, 1, 2], pa.timestamp("s")),
        }
    )
    pq.write_table(rows, tmp_path / "in.parquet")
    for condition, stay in [
        ("'x' in tags", "a"),
        ("'x' not in tags", "b"),
        ("tags is null", "c"),
        ("3 in embedding", "b"),
        ("length(embedding) == 2", "abc"),
        ("made >= '1970-01-01T00:00:01'", "bc"),
    ]:
        code, _, err = run("filter", tmp_path / "in.parquet", "--out", tmp_path / "out.parquet", "--where", condition)
        assert code == 0, err
        assert clips(tmp_path / "out.parquet") == stay, condition


@pytest.mark.parametrize("form", [".parquet", ".jsonl"])
def test_a_column_without_any_value_is_of_every_kind(tmp_path: Path, form: str) -> None:
    labels = write_foreign(tmp_path / f"labels{form}", [{"clip_id": "a", "motion": None}, {"clip_id": "b"}])
    out = tmp_path / "out.jsonl"
    assert run("filter", labels, "--out", out, "--where", "motion > 0.2")[0] == 0
    assert read_back(out) == []
    assert run("filter", labels, "--out", out, "--where", "motion is null or not motion")[0] == 0
    assert len(read_back(out)) == 2


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("motoin > 0.2", r"--where: no column motoin; did you mean motion\?, at 'motoin > 0.2' (character 1)"),
        ("camera > 3", "in{form}: the column camera should hold "),  # a text may be a number: the values say
        ("motion >", "--where: a column, a number or a text should be here, at its end"),
        ("", "--where: nothing is there"),
    ],
)
@pytest.mark.parametrize("form", [".parquet", ".jsonl", ".csv"])
def test_what_is_wrong_is_said_before_anything_is_written(
    tmp_path: Path, condition: str, message: str, form: str
) -> None:
    signals = write_foreign(tmp_path / f"in{form}", SIGNALS)
    code, _, err = run("filter", signals, "--out", tmp_path / "out.parquet", "--where", condition)
    assert code == 2
    assert message.replace("\\", "").format(form=form) in err
    assert not (tmp_path / "out.parquet").exists()


@pytest.mark.parametrize("form", [".parquet", ".jsonl"])  # in a csv file it may as well be a text
def test_numbers_are_no_texts(tmp_path: Path, form: str) -> None:
    signals = write_foreign(tmp_path / f"in{form}", SIGNALS)
    code, _, err = run("filter", signals, "--out", tmp_path / "out.parquet", "--where", "motion > 'fast'")
    assert (code, err) == (2, "--where: this is a text, where a number should be, at \"'fast'\" (character 10)")


def test_texts_of_a_run_are_no_numbers(tmp_path: Path) -> None:
    labels = write_own(tmp_path / "labels.parquet", [{}])
    code, _, err = run("filter", labels, "--out", tmp_path / "out.parquet", "--where", "caption > 3")
    assert (code, err) == (2, "--where: this is a number, where a text should be, at '3' (character 11)")
