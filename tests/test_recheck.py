"""`vidlabel check`: flags made anew from the texts, for any tool's labels; nothing else changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.label_files import read_back, run, write_foreign, write_own
from vidlabel.quality import Said, flags_of
from vidlabel.tables.rechecking import POOL_ROWS, check_labels

GOOD = "A brown dog runs over a green meadow and jumps into a lake."
LOOP = "A dog runs. " * 12
QA = {"task": "qa", "caption": None, "question": "What colour is the dog?"}
CHANGES: list[dict[str, Any]] = [
    {"caption": GOOD, "flags": ["repetitive", "damaged", "my_own"]},
    {"caption": LOOP},
    {"caption": "", "flags": ["subtitles_shortened"]},
    {"caption": GOOD, "finish_reason": "length"},
    {**QA, "answer": "Brown."},
    {"caption": "一只棕色的狗在绿色的草地上奔跑，然后跳进湖里。", "language": "zh"},
    {"caption": "The video shows a brown dog that runs over a meadow.", "flags": ["subtitle_copy"]},
]
FORMS = ["labels.parquet", "labels.jsonl", "labels"]


@pytest.mark.parametrize("form", FORMS)
def test_flags_are_what_the_checks_say_and_all_else_stays(tmp_path: Path, form: str) -> None:
    labels = write_own(tmp_path / form, CHANGES)
    out = tmp_path / f"checked{labels.suffix}"
    assert run("check", labels, "--out", out)[0] == 0
    before, after = read_back(labels), read_back(out)
    assert [row["flags"] for row in after][:5] == [
        ["damaged", "my_own"],
        ["repetitive"],
        ["empty", "subtitles_shortened"],
        ["truncated"],
        [],
    ]
    assert after[5]["flags"] == []
    assert after[6]["flags"] == ["prefix", "subtitle_copy"]  # the file does not hold the subtitles
    assert [list(row) for row in after] == [list(row) for row in before]
    assert [{**row, "flags": None} for row in after] == [{**row, "flags": None} for row in before]


def test_checked_parquet_keeps_schema_and_metadata(tmp_path: Path) -> None:
    labels = write_own(tmp_path / "labels.parquet", CHANGES)
    assert run("check", labels, "--out", tmp_path / "checked.parquet")[0] == 0
    before, after = pq.read_schema(labels), pq.read_schema(tmp_path / "checked.parquet")
    assert after.equals(before)
    assert before.metadata.items() <= after.metadata.items()
    assert [step["command"] for step in json.loads(after.metadata[b"vidlabel.steps"])] == ["check"]


@pytest.mark.parametrize("form", [".parquet", ".jsonl", ".csv", ".tsv"])
@pytest.mark.parametrize(
    "columns",
    [("caption", None, ()), ("answer", "question", ()), ("text", None, ("--text-column", "text"))],
)
def test_labels_of_other_tools_get_a_column_of_flags(
    tmp_path: Path, form: str, columns: tuple[str, str | None, tuple[str, ...]]
) -> None:
    name, asked, options = columns
    rows: list[dict[str, str]] = [{"id": f"0{number}", name: text} for number, text in enumerate([GOOD, LOOP, "x"])]
    if asked:
        rows = [row | {asked: "What happens?"} for row in rows]
    labels = write_foreign(tmp_path / f"labels{form}", rows)
    out = tmp_path / f"checked{form}"
    code, _, err = run("check", labels, "--out", out, *options)
    assert code == 0, err
    expected = [
        flags_of(Said(text=row[name], task="qa" if asked else "caption", question=row.get(asked or "", "")))
        for row in rows
    ]
    assert expected[0] == ()
    assert "repetitive" in expected[1]
    is_text = form in (".csv", ".tsv")
    flags_stored = [";".join(flags) if is_text else list(flags) for flags in expected]
    assert read_back(out) == [{**row, "flags": flags} for row, flags in zip(rows, flags_stored, strict=True)]


def test_a_language_that_the_file_does_not_say_is_told_by_the_script(tmp_path: Path) -> None:
    labels = write_foreign(tmp_path / "l.csv", [{"caption": "一只棕色的狗在绿色的草地上奔跑。"}, {"caption": GOOD}])
    assert run("check", labels, "--out", tmp_path / "c.csv")[0] == 0
    assert [row["flags"] for row in read_back(tmp_path / "c.csv")] == ["", ""]


def test_nested_values_of_other_tools_stay_as_they_are(tmp_path: Path) -> None:
    row = {"caption": GOOD, "own": {"deep": [1, {"b": None}]}, "flags": "short"}
    labels = write_foreign(tmp_path / "labels.jsonl", [row])
    assert run("check", labels, "--out", tmp_path / "checked.jsonl")[0] == 0
    assert read_back(tmp_path / "checked.jsonl") == [row | {"flags": []}]


def test_what_the_file_cannot_tell_stays_flagged(tmp_path: Path) -> None:
    rows = [{"caption": GOOD, "flags": ["truncated", "subtitle_copy", "short"]}]
    labels = write_foreign(tmp_path / "labels.jsonl", rows)
    assert run("check", labels, "--out", tmp_path / "c.jsonl")[0] == 0
    assert read_back(tmp_path / "c.jsonl")[0]["flags"] == ["truncated", "subtitle_copy"]
    labels = write_foreign(
        tmp_path / "labels.jsonl", [rows[0] | {"finish_reason": "stop", "subtitles": "Good morning."}]
    )
    assert run("check", labels, "--out", tmp_path / "c.jsonl")[0] == 0
    assert read_back(tmp_path / "c.jsonl")[0]["flags"] == []


def test_subtitles_beside_the_text_are_compared_with_it(tmp_path: Path) -> None:
    spoken = "Welcome back to the kitchen, today we are going to bake a chocolate cake with cherries and cream."
    labels = write_foreign(tmp_path / "l.csv", [{"caption": spoken, "subtitles": spoken}])
    assert run("check", labels, "--out", tmp_path / "c.csv")[0] == 0
    assert "subtitle_copy" in read_back(tmp_path / "c.csv")[0]["flags"]


@pytest.mark.parametrize("has_ids", [True, False])
def test_a_text_said_of_many_clips_is_a_duplicate_and_of_one_clip_is_not(tmp_path: Path, has_ids: bool) -> None:
    other = "A woman in a red coat walks a small white dog along the beach at sunset."
    rows = [{"caption": GOOD, "clip_id": f"clip{number}"} for number in range(30)]
    rows += [{"caption": other, "clip_id": "the same"} for _ in range(30 if has_ids else 1)]
    if not has_ids:
        rows = [{"caption": row["caption"]} for row in rows]
    labels = write_foreign(tmp_path / "labels.parquet", rows)
    assert run("check", labels, "--out", tmp_path / "c.parquet")[0] == 0
    flags = [row["flags"] for row in read_back(tmp_path / "c.parquet")]
    assert flags[:30] == [["duplicate"]] * 30
    assert not any(flags[30:])


def test_short_answers_may_be_given_of_many_clips(tmp_path: Path) -> None:
    long = "The man takes the bread out of the oven, cuts it into slices and puts butter on each of them."
    rows = [
        {"question": "What does the man do?", "answer": text} for text in ("He runs away.", long) for _ in range(30)
    ]
    labels = write_foreign(tmp_path / "labels.parquet", rows)
    assert run("check", labels, "--out", tmp_path / "c.parquet")[0] == 0
    flags = [row["flags"] for row in read_back(tmp_path / "c.parquet")]
    assert flags == [[]] * 30 + [["duplicate"]] * 30


def test_the_table_says_how_many_have_each_flag_now_and_before(tmp_path: Path) -> None:
    labels = write_own(tmp_path / "labels.parquet", CHANGES)
    code, out, err = run("check", labels, "--out", tmp_path / "c.parquet")
    assert (code, out) == (0, "")
    table = {line.split()[0]: line.split()[1:] for line in err.splitlines()[1:]}
    assert table["repetitive"] == ["1", "14.29%", "1"]
    assert table["truncated"] == ["1", "14.29%", "0"]
    assert table["my_own"] == ["1", "14.29%", "1"]
    assert table["clean"] == ["2", "28.57%"]
    assert "noise" not in table


def test_worker_processes_give_the_same_flags_in_the_same_order(tmp_path: Path) -> None:
    texts = [GOOD, LOOP, "", "The video shows a dog.", "A dog, number"]
    rows = [{"caption": f"{texts[number % 5]}{number // 7}", "n": number} for number in range(POOL_ROWS)]
    labels = write_foreign(tmp_path / "labels.parquet", rows)
    alone = check_labels(labels, tmp_path / "alone.parquet", num_workers=1)
    together = check_labels(labels, tmp_path / "together.parquet", num_workers=2)
    assert alone == together
    assert pq.read_table(tmp_path / "alone.parquet").equals(pq.read_table(tmp_path / "together.parquet"))


def test_a_file_without_texts_is_refused_and_its_columns_are_named(tmp_path: Path) -> None:
    labels = write_foreign(tmp_path / "labels.csv", [{"said": "A dog runs.", "n": "1"}])
    code, _, err = run("check", labels, "--out", tmp_path / "c.csv")
    assert code == 2
    assert "--text-column" in err
    assert "said, n" in err
    assert run("check", labels, "--out", labels, "--text-column", "said")[0] == 2


def test_an_empty_file_of_labels_stays_empty(tmp_path: Path) -> None:
    labels = write_own(tmp_path / "labels.parquet", CHANGES)
    assert run("filter", labels, "--out", tmp_path / "none.parquet", "--min-words", 999)[0] == 0
    code, _, err = run("check", tmp_path / "none.parquet", "--out", tmp_path / "c.parquet")
    assert code == 0
    assert "clean" in err
    assert read_back(tmp_path / "c.parquet") == []
