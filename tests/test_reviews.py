"""What people decide about labels: nothing decided is ever lost, labels stay as they are, filter does as decided."""

from __future__ import annotations

import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.label_files import own_rows, read_back, run, write_foreign, write_own
from vidlabel.errors import InputError, LockedError
from vidlabel.tables.reviews import (
    REVIEW_SCHEMA,
    Decision,
    Review,
    ReviewLog,
    apply_reviews,
    read_reviews,
    review_file,
)

QA = {"task": "qa", "caption": None, "question": "What runs?", "answer": "A dog."}
CHANGES: list[dict[str, Any]] = [
    {},
    {"flags": ["short", "damaged"], "caption": "A dog"},
    {"caption": "Nonsense."},
    {**QA, "flags": ["short"]},
    {"caption": "The video shows a dog running."},
]
IDS = [row["label_id"] for row in own_rows(CHANGES)]
FORMS = ["labels.parquet", "labels.jsonl", "labels"]


def decide(labels: Path, *decisions: tuple[int, Decision, str | None]) -> None:
    with ReviewLog(review_file(labels)) as log:
        for number, decision, text in decisions:
            log.decide(IDS[number], decision, text)


def decided(labels: Path) -> dict[int, tuple[str, str | None]]:
    reviews = read_reviews(review_file(labels))
    return {IDS.index(label_id): (review.decision, review.text) for label_id, review in reviews.items()}


@pytest.mark.parametrize("form", FORMS)
def test_decisions_are_a_file_beside_labels_that_stay_as_they_are(tmp_path: Path, form: str) -> None:
    labels = write_own(tmp_path / form, CHANGES)
    before = read_back(labels)
    decide(labels, (0, "accept", None), (1, "edit", "A dog sleeps."), (2, "reject", None))
    table = pq.read_table(tmp_path / "labels.review.parquet")
    assert table.schema == REVIEW_SCHEMA
    assert decided(labels) == {0: ("accept", None), 1: ("edit", "A dog sleeps."), 2: ("reject", None)}
    assert read_back(labels) == before
    assert not list(tmp_path.glob("*.journal"))


def test_the_latest_decision_counts_and_can_be_taken_back(tmp_path: Path) -> None:
    labels = write_own(tmp_path / "labels.parquet", CHANGES)
    decide(labels, (0, "accept", None), (0, "reject", None), (1, "reject", None))
    decide(labels, (1, "edit", "Better."), (2, "accept", None))
    with ReviewLog(review_file(labels)) as log:
        log.withdraw(IDS[2])
        log.withdraw(IDS[4])
        assert set(log.reviews) == {IDS[0], IDS[1]}
        assert decided(labels) == {0: ("reject", None), 1: ("edit", "Better.")}
    assert decided(labels) == {0: ("reject", None), 1: ("edit", "Better.")}
    assert pq.read_table(review_file(labels)).num_rows == 2


def test_decisions_survive_a_kill(tmp_path: Path) -> None:
    labels = write_own(tmp_path / "labels.parquet", CHANGES)
    decide(labels, (0, "accept", None))
    code = (
        "import os, sys, signal; from pathlib import Path; from vidlabel.tables.reviews import ReviewLog\n"
        "log = ReviewLog(Path(sys.argv[1])); log.__enter__()\n"
        "log.decide(sys.argv[2], 'edit', 'line one\\n\\u2028two'); log.withdraw(sys.argv[3])\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(review_file(labels)), IDS[1], IDS[0]], check=False)
    assert done.returncode == -signal.SIGKILL
    expected = {1: ("edit", "line one\n\u2028two")}
    assert decided(labels) == expected
    journal = tmp_path / "labels.review.journal"
    with journal.open("ab") as file:
        file.write(b'{"label_id": "half a li')  # the machine stopped here
    assert decided(labels) == expected
    decide(labels, (2, "reject", None))
    assert decided(labels) == {**expected, 2: ("reject", None)}
    assert not journal.exists()


def test_two_reviews_of_the_same_labels_do_not_run_together(tmp_path: Path) -> None:
    file = tmp_path / "labels.review.parquet"
    with ReviewLog(file) as log:
        log.decide("a", "accept")
        with pytest.raises(LockedError, match=r"labels\.review\.journal"), ReviewLog(file):
            pass
    with ReviewLog(file) as log:
        assert set(log.reviews) == {"a"}


@pytest.mark.parametrize("line", [b"nonsense", b"[]", b'{"label_id": "a", "decision": "maybe", "text": null}'])
def test_a_journal_that_is_none_is_named_and_kept(tmp_path: Path, line: bytes) -> None:
    journal = tmp_path / "labels.review.journal"
    journal.write_bytes(line + b"\n")
    with (
        pytest.raises(InputError, match=r"labels\.review\.journal, line 1"),
        ReviewLog(tmp_path / "labels.review.parquet"),
    ):
        pass
    assert journal.read_bytes() == line + b"\n"


def test_a_file_of_reviews_that_is_none_is_named(tmp_path: Path) -> None:
    labels = write_own(tmp_path / "labels.parquet", CHANGES)
    pq.write_table(pa.table({"a": [1]}), tmp_path / "labels.review.parquet")
    code, _, err = run("filter", labels, "--out", tmp_path / "c.parquet", "--reviewed")
    assert code == 2
    assert "labels.review.parquet is not a file of reviews" in err


def test_a_full_disk_loses_no_earlier_decision_and_spoils_no_later_one(tmp_path: Path) -> None:
    file = tmp_path / "labels.review.parquet"
    code = (
        "import resource, signal, sys; from pathlib import Path; from vidlabel.tables.reviews import ReviewLog\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]\n"
        "with ReviewLog(Path(sys.argv[1])) as log:\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (150, hard)); log.decide('a', 'accept')\n"
        "    try: log.decide('b', 'accept')\n"
        "    except OSError as error: print('failed')\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard)); log.decide('c', 'reject')\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(file)], check=True, capture_output=True, text=True)
    assert done.stdout == "failed\n"
    assert set(read_reviews(file)) == {"a", "c"}


@pytest.mark.parametrize(
    ("decision", "text"), [("edit", None), ("edit", " \n"), ("accept", "text"), ("maybe", None), ("reject", "no")]
)
def test_a_decision_that_makes_no_sense_is_refused(decision: Any, text: str | None) -> None:
    with pytest.raises(ValueError, match="got"):
        Review("a", decision, text, datetime.now(UTC))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("rules", "texts"),
    [
        ("--reviewed", ["A dog sleeps.", "A cat.", "The video shows a cat."]),
        ("--not-rejected", ["A dog runs.", "A dog sleeps.", "A cat.", "The video shows a cat."]),
        ("--reviewed --drop-flags short", ["A dog sleeps.", "A cat.", "The video shows a cat."]),
        ("--reviewed --drop-flags all", ["A cat.", "The video shows a cat."]),  # damaged is of the file
        ("--reviewed --strip-openings --min-words 2", ["A dog sleeps.", "A cat.", "A cat."]),
    ],
)
def test_filter_does_as_decided(tmp_path: Path, form: str, rules: str, texts: list[str]) -> None:
    labels = write_own(tmp_path / form, CHANGES)
    edits = ((1, "A dog sleeps."), (3, "A cat."), (4, "The video shows a cat."))
    decide(labels, *((number, "edit", text) for number, text in edits), (2, "reject", None))
    out = tmp_path / f"clean{labels.suffix}"
    code, _, err = run("filter", labels, "--out", out, *rules.split())
    assert code == 0
    rows = read_back(out)
    assert [row["caption"] or row["answer"] for row in rows] == texts
    assert {tuple(row["flags"]) for row in rows} <= {(), ("damaged",)}
    assert [row["question"] for row in rows if row["task"] == "qa"] == ["What runs?"]
    report = {line.rsplit(maxsplit=2)[0]: line.split()[-2:] for line in err.splitlines()}
    assert report["rejected by a reviewer"][0] == "1"
    assert err.splitlines()[-1].split() == ["kept,", "edited", str(sum(text != "A dog runs." for text in texts))]
    if form == "labels.jsonl" and "--not-rejected" in rules:
        assert out.read_bytes().splitlines()[0] == labels.read_bytes().splitlines()[0]


def test_accepted_labels_stay_as_they_are(tmp_path: Path) -> None:
    labels = write_own(tmp_path / "labels.parquet", CHANGES)
    decide(labels, (1, "accept", None))
    assert run("filter", labels, "--out", tmp_path / "clean.parquet", "--reviewed")[0] == 0
    assert read_back(tmp_path / "clean.parquet") == read_back(labels)[1:2]


def test_applied_to_a_stream_of_batches(tmp_path: Path) -> None:
    labels = write_own(tmp_path / "labels.parquet", CHANGES)
    decide(labels, (0, "accept", None), (2, "reject", None), (3, "edit", "A cat."))
    reviews = read_reviews(review_file(labels))
    batches = pq.read_table(labels).to_batches(max_chunksize=2)
    only = pa.Table.from_batches(apply_reviews(batches, reviews, only_reviewed=True)).to_pylist()
    assert [(row["label_id"], row["caption"], row["answer"], row["flags"]) for row in only] == [
        (IDS[0], "A dog runs.", None, []),
        (IDS[3], None, "A cat.", []),
    ]
    rest = pa.Table.from_batches(apply_reviews(batches, reviews, only_reviewed=False)).to_pylist()
    assert [row["label_id"] for row in rest] == [IDS[0], IDS[1], IDS[3], IDS[4]]
    assert rest[1] == pq.read_table(labels).to_pylist()[1]


def test_decisions_are_not_taken_for_labels_where_a_folder_is_read(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    labels = write_foreign(tmp_path / "folder" / "labels.parquet", [{"label_id": "a", "caption": "A dog."}])
    with ReviewLog(review_file(labels)) as log:
        log.decide("a", "accept")
    code, out, _ = run("stats", tmp_path / "folder", "--json")
    assert code == 0
    assert '"labels": 1,' in out


def test_filter_without_any_decision_says_where_they_are_made(tmp_path: Path) -> None:
    labels = write_own(tmp_path / "labels.parquet", CHANGES)
    code, _, err = run("filter", labels, "--out", tmp_path / "c.parquet", "--reviewed")
    assert code == 2
    assert "labels.review.parquet holds no decisions; vidlabel review" in err
    foreign = write_foreign(tmp_path / "foreign.csv", [{"caption": "A dog.", "n": "1"}])
    code, _, err = run("filter", foreign, "--out", tmp_path / "c.csv", "--not-rejected")
    assert code == 2
    assert "has no column label_id, which --not-rejected needs" in err
    assert run("filter", labels, "--out", tmp_path / "c.parquet", "--reviewed", "--not-rejected")[0] == 2
