"""`vidlabel stats`: the numbers are right, whatever form the labels have, on paper and for machines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.label_files import run, write_foreign, write_own
from vidlabel.data import Failure
from vidlabel.failures import FailureLog
from vidlabel.tables.stats import stats
from vidlabel.tables.vocabulary import vocabulary, word_counts

CHANGES: list[dict[str, Any]] = [
    {"caption": "A dog runs, and runs.", "flags": ["damaged"], "start_seconds": 0.0, "end_seconds": 3600.0},
    {"caption": "a DOG runs, and runs. ", "clip_id": "c", "video_id": "v", "flags": ["damaged", "short"]},
    {"caption": "一只狗。", "language": "zh", "mean_logprob": None, "clip_id": "c", "video_id": "v"},
    {"caption": None, "task": "qa", "question": "What?", "answer": "\"Dogs\" — two!", "mean_logprob": -1.25,
     "finish_reason": "length"},
]  # fmt: skip
FORMS = ["labels.parquet", "labels.jsonl", "labels"]


@pytest.mark.parametrize("form", FORMS)
def test_the_numbers_are_right_in_every_form(tmp_path: Path, form: str) -> None:
    code, out, err = run("stats", write_own(tmp_path / form, CHANGES), "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert [found[name] for name in ("labels", "clips", "videos")] == [4, 3, 3]
    assert found["by"] == {
        "task": {"caption": 3, "qa": 1},
        "pool": {"caption": 4},
        "language": {"en": 3, "zh": 1},
        "model": {"echo": 4},
        "finish_reason": {"stop": 3, "length": 1},
    }
    assert found["flags"] == {"damaged": 2, "short": 1}
    assert found["clean"] == 2
    assert found["words"] == {"count": 4, "mean": 3.75, "least": 2, "lower_quartile": 2.75, "median": 4,
                              "upper_quartile": 5, "most": 5}  # fmt: skip
    assert found["characters"]["most"] == len("a DOG runs, and runs. ")
    assert (found["repeated_labels"], found["distinct_texts"]) == (2, 3)
    assert found["most_repeated"] == [{"text": "A dog runs, and runs.", "labels": 2}]
    assert found["clip_hours"] == pytest.approx((3600 + 1 + 1) / 3600)  # clip `c` has two labels and counts once
    assert found["clip_seconds"]["count"] == 3
    assert found["video_hours"] == pytest.approx(3000 / 3600)
    assert found["scores"]["mean_logprob"]["count"] == 3
    assert found["scores"]["mean_logprob"]["least"] == -1.25
    assert "grounding" not in found["scores"]
    assert found["failures"] is None


def test_words_are_counted_without_punctuation_case_and_stop_words(tmp_path: Path) -> None:
    found = json.loads(run("stats", write_own(tmp_path / "labels.parquet", CHANGES), "--json")[1])["vocabulary"]
    assert found["num_words"] == 5 + 5 + 3 + 2
    assert found["most_frequent"] == {"runs": 4, "dog": 2, "dogs": 1, "two": 1, "只": 1, "狗": 1}
    assert found["num_distinct"] == len({"a", "dog", "runs", "and", "一", "只", "狗", "dogs", "two"})
    assert found["sample_words"] == 15
    assert found["type_token_ratio"] == pytest.approx(9 / 15)


def test_inner_punctuation_is_part_of_a_word_and_numbers_are_not_vocabulary() -> None:
    pieces = word_counts(pa.array(["(It's) a well-known 42 -- dog_", None, ""]))
    found = vocabulary(pieces, [], shown=9)
    assert found.num_words == 5
    assert found.most_frequent == {"dog": 1, "it's": 1, "well-known": 1}
    assert found.type_token_ratio is None


def test_scores_of_grounding_and_agreement_are_spread(tmp_path: Path) -> None:
    labels = write_own(tmp_path / "l.parquet", [{"grounding": 0.5, "agreement": 1.0}, {"grounding": 1.5}, {}])
    scores = json.loads(run("stats", labels, "--json")[1])["scores"]
    assert (scores["grounding"]["count"], scores["grounding"]["median"]) == (2, 1.0)
    assert scores["agreement"]["count"] == 1


def test_people_get_a_table(tmp_path: Path) -> None:
    code, out, err = run("stats", write_own(tmp_path / "labels.parquet", CHANGES))
    assert (code, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    for expected in (
        ["labels", "4"],
        ["hours", "of", "clips", "1.00"],
        ["zh", "1", "25.00%"],
        ["damaged", "2", "50.00%"],
        ["clean", "2", "50.00%"],
        ["words", "3.8", "2", "3", "4", "5", "5"],
        ["labels", "that", "share", "2", "50.00%"],
        ["2", "x", "A", "dog", "runs,", "and", "runs."],
        ["different", "words", "9", "of", "15"],
    ):
        assert expected in lines, out
    assert max(map(len, out.splitlines())) <= 120


@pytest.mark.parametrize("form", [".parquet", ".jsonl", ".csv", ".tsv"])
def test_labels_of_other_tools_have_what_can_be_counted(tmp_path: Path, form: str) -> None:
    labels = write_foreign(tmp_path / f"labels{form}", [{"text": "A dog runs."}, {"text": "A cat."}])
    assert run("stats", labels)[0] == 2
    code, out, _ = run("stats", labels, "--json", "--text-column", "text")
    found = json.loads(out)
    assert code == 0
    assert found["labels"] == 2
    assert found["words"]["most"] == 3
    assert [found[name] for name in ("clips", "videos", "flags", "clean", "clip_hours", "video_hours")] == [None] * 6
    assert run("stats", labels, "--text-column", "text")[0] == 0


def test_times_and_scores_of_a_csv_are_numbers(tmp_path: Path) -> None:
    rows = [
        {"caption": "A dog.", "video": "a.mp4", "start_seconds": "0", "end_seconds": "1800", "mean_logprob": "-0.5"},
        {"caption": "A cat.", "video": "a.mp4", "start_seconds": "1.5", "end_seconds": "", "mean_logprob": ""},
    ]
    found = json.loads(run("stats", write_foreign(tmp_path / "l.csv", rows), "--json")[1])
    assert found["clip_hours"] == 0.5
    assert (found["clips"], found["videos"]) == (None, 1)
    assert found["scores"]["mean_logprob"]["count"] == 1
    labels = write_foreign(tmp_path / "l.csv", [rows[0] | {"start_seconds": "soon"}])
    code, _, err = run("stats", labels)
    assert code == 2
    assert "the column start_seconds" in err


@pytest.mark.parametrize("form", FORMS)
def test_the_failures_beside_the_labels_are_summed_up(tmp_path: Path, form: str) -> None:
    labels = write_own(tmp_path / form, CHANGES)
    with FailureLog(tmp_path / "labels.failures.jsonl") as log:
        log.add(Failure("a", "a", "a.mp4", "open", "not a video", permanent=True))
        log.add(Failure("b", "b", "b.mp4", "open", "not a video", permanent=True))
        log.add(Failure("c", "c", "c.mp4", "frames", "timed out"))
    assert json.loads(run("stats", labels, "--json")[1])["failures"] == {
        "total": 3,
        "permanent": 2,
        "by_stage": {"open": 2, "frames": 1},
        "by_reason": {"not a video": 2, "timed out": 1},
    }
    assert "3, 2 of them for good" in run("stats", labels)[1]


def test_threads_and_repeats_do_not_change_the_numbers(tmp_path: Path) -> None:
    rows = [
        {"caption": f"A dog number{number % 700} runs {number} times.", "clip_id": f"{number}"}
        for number in range(25_000)
    ]
    labels = write_foreign(tmp_path / "labels.jsonl", rows)  # three batches
    alone, together = stats(labels, num_threads=1), stats(labels, num_threads=3)
    assert alone == together
    assert alone.clips == 25_000
    assert alone.vocabulary.sample_words == 10_000
    assert alone.vocabulary.type_token_ratio is not None
    assert 0.2 < alone.vocabulary.type_token_ratio < 0.35  # 2,000 different numbers and 660 names in 10,000 words


def test_an_empty_file_has_stats_too(tmp_path: Path) -> None:
    labels = write_own(tmp_path / "labels.parquet", CHANGES)
    assert run("filter", labels, "--out", tmp_path / "none.parquet", "--min-words", 999)[0] == 0
    assert run("stats", tmp_path / "none.parquet")[0] == 0
    found = json.loads(run("stats", tmp_path / "none.parquet", "--json")[1])
    assert (found["labels"], found["clips"], found["words"], found["clean"]) == (0, 0, None, 0)


SIGNALS: list[dict[str, Any]] = [
    {"clip_id": "a", "brightness": 0.25, "blur": None, "saturation": 0.5},
    {"clip_id": "a", "brightness": 0.25, "blur": None, "saturation": 0.5},
    {"clip_id": "b", "brightness": 0.75, "blur": 0.5, "saturation": None},
]


@pytest.mark.parametrize("form", [".parquet", ".jsonl", ".csv"])
def test_signals_are_spread_over_clips_however_many_labels_they_have(tmp_path: Path, form: str) -> None:
    labels = write_foreign(tmp_path / f"labels{form}", [{**row, "caption": "A dog runs."} for row in SIGNALS])
    code, out, _ = run("stats", labels, "--json")
    found = json.loads(out)["signals"]
    assert code == 0
    assert {name: (spread["count"], spread["mean"]) for name, spread in found.items()} == {
        "brightness": (2, 0.5),
        "blur": (1, 0.5),
        "saturation": (1, 0.5),
    }


@pytest.mark.parametrize("form", [".parquet", ".jsonl", ".csv"])
def test_signals_alone_have_stats_without_texts(tmp_path: Path, form: str) -> None:
    signals = write_foreign(tmp_path / f"signals{form}", SIGNALS[1:])
    code, out, _ = run("stats", signals)
    lines = [line.split() for line in out.splitlines()]
    assert code == 0
    assert ["rows", "2"] in lines
    assert ["clips", "2"] in lines
    assert ["brightness", "0.500", "0.250", "0.375", "0.500", "0.625", "0.750"] in lines
    assert "text" not in out
    assert "words" not in out


def test_a_file_with_neither_texts_nor_signals_is_refused(tmp_path: Path) -> None:
    other = write_foreign(tmp_path / "other.csv", [{"clip_id": "a", "size": 3}])
    code, _, err = run("stats", other)
    assert (code, "no column caption or answer" in err) == (2, True)
