"""`vidlabel filter`: the right labels stay, in any form of file, with all they had; and what was dropped is told."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.label_files import INFO, read_back, run, write_foreign, write_own
from tests.runs import folder_of_videos, job, label
from vidlabel.errors import InputError
from vidlabel.jsonl import json_line
from vidlabel.outputs import parse_output, read_info
from vidlabel.readers import read_labels
from vidlabel.tables.filter_rules import FilterRules
from vidlabel.tables.filtering import filter_labels, first_of_each

LONG = "A brown dog runs over a green meadow and jumps into the lake."
QA = {"task": "qa", "caption": None, "question": "What runs?"}
CHANGES: list[dict[str, Any]] = [
    {"grounding": 0.9, "agreement": 1.0},
    {"flags": ["truncated", "short"], "mean_logprob": -2.0, "grounding": 0.1, "caption": "A dog"},
    {"flags": ["damaged"], "caption": LONG, "mean_logprob": None, "grounding": None},
    {"language": "zh", "caption": "一只狗在草地上跑。", "grounding": 0.5, "agreement": 0.2},
    {"language": "en-GB", "caption": "a dog RUNS. ", "flags": ["short"], "grounding": 0.5},
    {**QA, "answer": "A dog.", "grounding": 0.5},
    {**QA, "answer": "A dog.", "grounding": 0.5, "question": "Who jumps?"},
]
FORMS = ["labels.parquet", "labels.jsonl", "labels"]


def kept(path: Path) -> list[int]:
    """Which of the rows; the manifest's column `score` is half the number."""
    return [round(float(row["score"]) * 2) for row in read_back(path)]


@pytest.mark.parametrize(
    ("rules", "stay"),
    [
        ("--drop-flags truncated", [0, 2, 3, 4, 5, 6]),
        ("--drop-flags short,damaged", [0, 3, 5, 6]),
        ("--drop-flags all", [0, 3, 5, 6]),
        ("--drop-flags all --keep-flags damaged,short", [0, 2, 3, 4, 5, 6]),
        ("--min-logprob -1", [0, 3, 4, 5, 6]),
        ("--min-grounding 0.5", [0, 3, 4, 5, 6]),
        ("--min-agreement 0.2", [0, 1, 2, 3, 4]),  # captions have none, and answers without any do not meet it
        ("--min-agreement 0.3", [0, 1, 2, 4]),
        ("--max-duplicates 1", [0, 1, 2, 3, 5, 6]),
        ("--min-words 3", [0, 2, 3, 4]),
        ("--min-words 8", [2, 3]),
        ("--max-words 7", [0, 1, 4, 5, 6]),
        ("--language en", [0, 1, 2, 4, 5, 6]),
        ("--language ZH,en-gb", [3, 4]),
        ("--task qa", [5, 6]),
        ("--task caption --min-words 3 --drop-flags damaged", [0, 3, 4]),
    ],
)
def test_each_rule_keeps_what_meets_it(tmp_path: Path, rules: str, stay: list[int]) -> None:
    labels = write_own(tmp_path / "labels.parquet", CHANGES)
    out = tmp_path / "clean.parquet"
    assert run("filter", labels, "--out", out, *rules.split())[0] == 0
    assert kept(out) == stay


@pytest.mark.parametrize("source", FORMS)
@pytest.mark.parametrize("target", ["clean.parquet", "clean.jsonl", "clean", "clean.csv"])
def test_every_form_becomes_every_form_with_all_columns(tmp_path: Path, source: str, target: str) -> None:
    labels = write_own(tmp_path / source, CHANGES)
    out = tmp_path / target
    assert run("filter", labels, "--out", out, "--drop-flags", "truncated", "--max-words", "20")[0] == 0
    whole = tmp_path / "whole.jsonl"
    assert run("filter", out, "--out", whole, "--max-words", "99")[0] == 0  # and what was written can be read
    before = [row for number, row in enumerate(read_back(labels)) if number != 1]
    after = read_back(out)
    assert list(after[0]) == list(before[0])
    if target.endswith(".csv"):
        assert [row["caption"] or row["answer"] for row in after] == [r["caption"] or r["answer"] for r in before]
        assert [row["flags"] for row in after] == [";".join(row["flags"]) for row in before]
    else:
        assert [json_line(row) for row in after] == [json_line(row) for row in before]
        info = read_info(parse_output(out))
        assert info is not None
        assert (info.settings_json, info.incomplete_videos, info.has_spans) == (
            INFO.settings_json,
            INFO.incomplete_videos,
            INFO.has_spans,
        )
        assert sum(len(batch) for batch in read_labels(out)) == 6


def test_parquet_keeps_types_and_metadata_and_notes_every_step(tmp_path: Path) -> None:
    labels = write_own(tmp_path / "labels.parquet", CHANGES)
    once, twice = tmp_path / "once.parquet", tmp_path / "twice.parquet"
    assert run("filter", labels, "--out", once, "--drop-flags", "truncated")[0] == 0
    assert run("filter", once, "--out", twice, "--min-words", 3)[0] == 0
    before, after = pq.read_schema(labels), pq.read_schema(twice)
    assert after.equals(before)
    assert before.metadata.items() <= after.metadata.items()
    steps = json.loads(after.metadata[b"vidlabel.steps"])
    assert [step["rules"] for step in steps] == [{"drop_flags": ["truncated"]}, {"min_words": 3}]
    assert [(step["rows"], step["kept"]) for step in steps] == [(7, 6), (6, 4)]
    assert steps[0]["dropped"] == {"flag truncated": 1}


@pytest.mark.parametrize("source", ["labels.jsonl", "labels"])
def test_side_files_note_every_step(tmp_path: Path, source: str) -> None:
    labels = write_own(tmp_path / source, CHANGES)
    once, twice = tmp_path / f"once{labels.suffix}", tmp_path / f"twice{labels.suffix}"
    assert run("filter", labels, "--out", once, "--drop-flags", "truncated")[0] == 0
    assert run("filter", once, "--out", twice, "--min-words", 3)[0] == 0
    steps = json.loads(parse_output(twice).side_file.read_text())["steps"]
    assert [step["kept"] for step in steps] == [6, 4]


def test_json_lines_stay_the_bytes_they_are(tmp_path: Path) -> None:
    lines = [
        '{"caption":  "A dog runs.", "flags": [], "own": {"deep": [1, {"b": null}]}, "big": 12345678901234567890}\n',
        '{"flags": ["short"], "caption": "x"}\r\n',
        '{"caption": "\\u4e00只", "flags": null, "late": 1.50}\n',
        '{"flags": ["short"], "caption": "last, without an end"}',
    ]
    (tmp_path / "labels.jsonl").write_bytes("".join(lines).encode())
    assert (
        run("filter", tmp_path / "labels.jsonl", "--out", tmp_path / "clean.jsonl", "--drop-flags", "truncated")[0] == 0
    )
    assert (tmp_path / "clean.jsonl").read_bytes() == "".join(lines).encode() + b"\n"
    assert run("filter", tmp_path / "labels.jsonl", "--out", tmp_path / "clean.jsonl", "--drop-flags", "short")[0] == 0
    assert (tmp_path / "clean.jsonl").read_bytes() == (lines[0] + lines[2]).encode()


def test_json_lines_of_other_tools_become_parquet_without_loss(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"caption": "A dog runs.", "n": 1, "mixed": "text", "deep": {"a": 1}, "tags": ["x"]},
        {"caption": "A cat sleeps.", "n": 2.5, "mixed": 7, "late": True},
    ]
    labels = write_foreign(tmp_path / "labels.jsonl", rows)
    assert run("filter", labels, "--out", tmp_path / "clean.parquet", "--min-words", 1)[0] == 0
    assert read_back(tmp_path / "clean.parquet") == [
        {"caption": "A dog runs.", "n": 1.0, "mixed": "text", "deep": '{"a": 1}', "tags": ["x"], "late": None},
        {"caption": "A cat sleeps.", "n": 2.5, "mixed": "7", "deep": None, "tags": None, "late": True},
    ]


@pytest.mark.parametrize("form", [".csv", ".tsv"])
def test_tables_of_text_are_filtered_too(tmp_path: Path, form: str) -> None:
    rows = [
        {"id": "007", "caption": 'A "dog",\nruns.', "flags": "", "mean_logprob": "-0.5", "note": "é"},
        {"id": "008", "caption": "x", "flags": "short;leak", "mean_logprob": "-0.5", "note": ""},
        {"id": "009", "caption": "y", "flags": '["noise"]', "mean_logprob": "", "note": "a,b"},
        {"id": "010", "caption": "z", "flags": "leak, short", "mean_logprob": "-3", "note": "a,b"},
    ]
    labels = write_foreign(tmp_path / f"labels{form}", rows)
    clean = tmp_path / f"clean{form}"
    assert run("filter", labels, "--out", clean, "--drop-flags", "leak")[0] == 0
    assert read_back(clean) == [rows[0], rows[2]]
    assert run("filter", labels, "--out", clean, "--drop-flags", "noise", "--min-logprob", "-1")[0] == 0
    assert read_back(clean) == [rows[0], rows[1]]


def test_the_table_says_why_and_what_for_that_reason_alone(tmp_path: Path) -> None:
    labels = write_own(tmp_path / "labels.parquet", CHANGES)
    rules = "--drop-flags all --min-logprob -1 --max-duplicates 1"
    code, out, err = run("filter", labels, "--out", tmp_path / "c.parquet", *rules.split())
    assert (code, out) == (0, "")
    counts = {line.rsplit(maxsplit=2)[0]: line.rsplit(maxsplit=2)[1:] for line in err.splitlines()[1:]}
    assert counts == {
        "flag short": ["2", "1"],
        "flag damaged": ["1", "0"],
        "flag truncated": ["1", "0"],
        "mean_logprob below -1": ["1", "0"],
        "no mean_logprob": ["1", "0"],
        "dropped in all": ["3", "42.9%"],
        "kept": ["4", "57.1%"],
    }


def test_duplicates_are_counted_among_the_labels_that_stay(tmp_path: Path) -> None:
    changes: list[dict[str, Any]] = [{"flags": ["short"]}, {}, {}, {"caption": "Other."}, {}]
    labels = write_own(tmp_path / "labels.parquet", changes)
    code, _, err = run(
        "filter", labels, "--out", tmp_path / "c.parquet", "--drop-flags", "short", "--max-duplicates", "2"
    )
    assert code == 0
    assert kept(tmp_path / "c.parquet") == [1, 2, 3]
    assert "more than 2 labels with the same text             1               1" in err


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.lists(st.integers(-3, 3)), st.integers(1, 3))
def test_first_of_each_keeps_the_first_in_order(keys: list[int], num: int) -> None:
    seen: Counter[int] = Counter()
    expected = []
    for key in keys:
        expected.append(seen[key] < num)
        seen[key] += 1
    assert first_of_each(np.array(keys, np.int64), num).tolist() == expected


@pytest.mark.parametrize("source", [*FORMS, "labels.csv"])
def test_openings_come_off_first_and_their_flag_with_them(tmp_path: Path, source: str) -> None:
    changes: list[dict[str, Any]] = [
        {"caption": "The video shows a dog running over a meadow.", "flags": ["prefix", "short"]},
        {"caption": "A dog runs over a meadow."},
        {**QA, "answer": "The video shows a dog.", "flags": ["prefix"]},
    ]
    if source.endswith(".csv"):
        labels = write_foreign(tmp_path / source, [
            {"caption": "The video shows a dog running over a meadow.", "answer": "", "flags": "prefix;short"},
            {"caption": "A dog runs over a meadow.", "answer": "", "flags": ""},
            {"caption": "", "answer": "The video shows a dog.", "flags": "prefix"},
        ])  # fmt: skip
    else:
        labels = write_own(tmp_path / source, changes)
    out = tmp_path / f"clean{labels.suffix}"
    code, _, err = run("filter", labels, "--out", out, "--strip-openings", "--drop-flags", "prefix", "--min-words", 2)
    assert code == 0
    rows = read_back(out)
    assert [row["caption"] or row["answer"] for row in rows] == [
        "A dog running over a meadow.",
        "A dog runs over a meadow.",
        "A dog.",
    ]
    first, none = ("short", "") if source.endswith(".csv") else (["short"], [])
    assert [row["flags"] for row in rows] == [first, none, none]
    assert err.splitlines()[-1].split() == ["kept,", "opening", "off", "2"]
    if source.endswith(".jsonl"):
        assert out.read_bytes().splitlines()[1] == labels.read_bytes().splitlines()[1]


@pytest.mark.parametrize("source", ["labels.parquet", "labels.jsonl", "labels.csv"])
@pytest.mark.parametrize(
    ("rule", "column"),
    [
        ("--drop-flags all", "flags"),
        ("--min-grounding 0", "grounding"),
        ("--min-logprob -1", "mean_logprob"),
        ("--min-agreement 0", "agreement"),
        ("--language en", "language"),
        ("--task qa", "task"),
        ("--min-words 1", "caption or answer"),
        ("--max-duplicates 1 --text-column said", "said"),
    ],
)
def test_a_rule_about_a_column_that_is_not_there_is_refused(
    tmp_path: Path, source: str, rule: str, column: str
) -> None:
    labels = write_foreign(tmp_path / source, [{"text": "A dog runs.", "n": 1}])
    code, _, err = run("filter", labels, "--out", tmp_path / "clean.parquet", *rule.split())
    assert code == 2
    assert f"{labels} has no column {column}" in err
    assert rule.split()[0] in err or "--text-column" in err
    assert not (tmp_path / "clean.parquet").exists()


def test_kept_openings_are_counted_after_all_rules(tmp_path: Path) -> None:
    labels = write_own(tmp_path / "l.parquet", [{"caption": "The video shows a brown dog running."}] * 3)
    rules = "--strip-openings --max-duplicates 1"
    err = run("filter", labels, "--out", tmp_path / "c.parquet", *rules.split())[2]
    assert err.splitlines()[-1].split() == ["kept,", "opening", "off", "1"]


def test_text_column_names_the_texts_of_other_tools(tmp_path: Path) -> None:
    labels = write_foreign(tmp_path / "l.csv", [{"text": "A dog runs.", "n": "1"}, {"text": "A dog.", "n": "2"}])
    assert run("filter", labels, "--out", tmp_path / "c.csv", "--min-words", 3, "--text-column", "text")[0] == 0
    assert [row["n"] for row in read_back(tmp_path / "c.csv")] == ["1"]


def test_a_flag_that_does_not_exist_is_refused_unless_the_file_has_it(tmp_path: Path) -> None:
    labels = write_own(tmp_path / "labels.parquet", [{"flags": ["blurry"]}, {}])
    out = tmp_path / "clean.parquet"
    code, _, err = run("filter", labels, "--out", out, "--drop-flags", "repetetive")
    assert code == 2
    assert "--drop-flags repetetive: no such flag" in err
    assert "repetitive" in err
    assert not out.exists()
    assert run("filter", labels, "--out", out, "--drop-flags", "all", "--keep-flags", "nope")[0] == 2
    assert run("filter", labels, "--out", out, "--drop-flags", "blurry,repetitive")[0] == 0
    assert kept(out) == [1]


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ("", "no rule"),
        ("--keep-flags short", "--keep-flags"),
        ("--min-words 9 --max-words 3", "--min-words 9 is above --max-words 3"),
    ],
)
def test_rules_that_make_no_sense_are_refused(tmp_path: Path, rules: str, said: str) -> None:
    labels = write_own(tmp_path / "labels.parquet", CHANGES)
    code, _, err = run("filter", labels, "--out", tmp_path / "c.parquet", *rules.split())
    assert code == 2
    assert said in err


@pytest.mark.parametrize("form", [".parquet", ".jsonl", ".csv"])
def test_the_file_that_is_read_is_never_the_one_that_is_written(tmp_path: Path, form: str) -> None:
    labels = write_foreign(tmp_path / f"labels{form}", [{"caption": "A dog runs."}])
    before = labels.read_bytes()
    (tmp_path / f"link{form}").symlink_to(labels)
    (tmp_path / f"hard{form}").hardlink_to(labels)
    for out in (labels, tmp_path / f"link{form}", tmp_path / f"hard{form}", tmp_path / "x" / ".." / labels.name):
        code, _, err = run("filter", labels, "--out", out, "--min-words", 9)
        assert code == 2
        assert "--out" in err
    assert labels.read_bytes() == before


def test_a_folder_that_is_read_is_not_written_into(tmp_path: Path) -> None:
    labels = write_own(tmp_path / "labels", CHANGES)
    for out in (labels, labels / "clean.parquet", tmp_path):
        code, _, err = run("filter", labels, "--out", out, "--min-words", 1)
        assert code == 2
        assert "--out" in err


@pytest.mark.parametrize("form", FORMS)
def test_labels_of_a_run_are_not_overwritten_but_earlier_filtered_ones_are(tmp_path: Path, form: str) -> None:
    (tmp_path / "other").mkdir()
    labels, precious = write_own(tmp_path / form, CHANGES), write_own(tmp_path / "other" / form, CHANGES)
    code, _, err = run("filter", labels, "--out", precious, "--min-words", 1)
    assert code == 2
    assert "labels that a run made" in err
    assert len(read_back(precious)) == len(CHANGES)
    out = tmp_path / f"clean{labels.suffix}"
    for rule, stay in (("--min-words", [2, 3]), ("--max-words", [0, 1, 4, 5, 6])):
        assert run("filter", labels, "--out", out, rule, 5)[0] == 0
        assert kept(out) == stay


@pytest.mark.parametrize("form", FORMS)
def test_a_run_does_not_go_on_in_what_filter_left(tmp_path: Path, form: str) -> None:
    """It would make the dropped labels again."""
    videos, source = folder_of_videos(tmp_path / "videos", 1), tmp_path / "made.parquet"
    label(videos, job(source))
    filter_labels(source, tmp_path / form, FilterRules(min_words=1))
    with pytest.raises(InputError, match="filter"):
        label(videos, job(tmp_path / form))


def test_a_folder_with_other_things_in_it_is_not_replaced(tmp_path: Path) -> None:
    labels = write_own(tmp_path / "labels.parquet", CHANGES)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_text("a photo")
    code, _, err = run("filter", labels, "--out", tmp_path / "photos", "--min-words", 1)
    assert code == 2
    assert "a.jpg" in err
    assert (tmp_path / "photos" / "a.jpg").exists()


def test_a_damaged_file_leaves_what_was_there_and_no_leftovers(tmp_path: Path) -> None:
    labels = write_own(tmp_path / "labels.parquet", CHANGES)
    out = tmp_path / "clean.parquet"
    assert run("filter", labels, "--out", out, "--min-words", 1)[0] == 0
    before = out.read_bytes()
    whole = bytearray(labels.read_bytes())
    metadata = pq.ParquetFile(labels).metadata.row_group(0).column(LABELLED_BY_COLUMN)
    whole[metadata.data_page_offset + metadata.total_compressed_size // 2] ^= 0xFF
    labels.write_bytes(whole)
    code, _, err = run("filter", labels, "--out", out, "--min-words", 1)
    assert code == 2
    assert "labels.parquet is not a whole parquet file" in err
    assert out.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clean.parquet", "labels.parquet"]


LABELLED_BY_COLUMN = 25  # `model`: no rule reads it, so the damage shows only while rows are written


@pytest.mark.parametrize("form", FORMS)
def test_when_nothing_meets_the_rules_an_empty_file_says_so(tmp_path: Path, form: str) -> None:
    labels = write_own(tmp_path / form, CHANGES)
    out = tmp_path / f"clean{labels.suffix}"
    code, _, err = run("filter", labels, "--out", out, "--min-words", 99)
    assert code == 0
    assert "kept" in err
    assert read_back(out) == []
    if form != "labels.jsonl":
        assert sum(len(batch) for batch in read_labels(out)) == 0


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere.parquet", "there are no labels"),
        ("labels.txt", "labels are in a .parquet"),
        ("empty.jsonl", "caption"),
    ],
)
def test_inputs_that_are_no_labels_are_one_clear_line(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "labels.txt").write_text("x")
    (tmp_path / "empty.jsonl").write_text("")
    code, _, err = run("filter", tmp_path / name, "--out", tmp_path / "c.parquet", "--min-words", 1)
    assert code == 2
    assert said in err


@pytest.mark.parametrize(
    ("line", "said"),
    [("{nonsense", "line 2: not JSON"), ("[1]", "line 2: not a label"), ('{"caption": 5}', "the column caption")],
)
def test_lines_that_are_no_labels_are_named(tmp_path: Path, line: str, said: str) -> None:
    labels = tmp_path / "labels.jsonl"
    labels.write_text('{"caption": "A dog runs."}\n' + line + "\n")
    code, _, err = run("filter", labels, "--out", tmp_path / "c.jsonl", "--min-words", 1)
    assert code == 2
    assert str(labels) in err
    assert said in err
    assert not (tmp_path / "c.jsonl").exists()
