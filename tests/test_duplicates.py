"""The flag `duplicate`, which a run sets as it merges: over all labels of the output, old and new, in every form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.label_files import read_back
from tests.label_files import run as command
from tests.make_labels import CREATED_AT, SETTINGS, label, make_answer, make_asked
from vidlabel.data import Question
from vidlabel.labels import Label, make_label
from vidlabel.merge import merge
from vidlabel.outputs import Output, label_files, parse_output
from vidlabel.parts import part_paths, part_writer
from vidlabel.quality import Thresholds

COPIED = "A woman in a red coat walks a small white dog along the beach at sunset."
SHORT = "A dog runs."
LEAST = Thresholds().duplicate_clips


@pytest.fixture(params=["labels.parquet", "labels.jsonl", "labels"])
def output(request: pytest.FixtureRequest, tmp_path: Path) -> Output:
    return parse_output(tmp_path / request.param)


def own_text(number: int) -> str:
    return f"A man with the number {number} on his back crosses the line."


def add(output: Output, labels: Sequence[Label], **options: int) -> int:
    output.work.mkdir(parents=True, exist_ok=True)
    with part_writer(output.work, SETTINGS.to_json(), max_rows=7) as parts:
        for made in labels:
            parts.add(made)
    return merge(output, SETTINGS, **options)  # type: ignore[arg-type]


def duplicates(output: Output) -> set[int]:
    """The clips, by their number, whose label has the flag."""
    return {int(row["start_seconds"]) for row in read_back(output.path) if "duplicate" in row["flags"]}


def test_a_run_marks_a_text_that_it_says_of_many_clips_and_no_other(output: Output) -> None:
    labels = [label(n, text=own_text(n)) for n in range(40)]
    labels += [label(n, text=COPIED.upper() if n % 2 else COPIED) for n in range(50, 50 + LEAST)]
    labels += [label(n, text=COPIED.replace("red", "blue")) for n in range(60, 60 + LEAST - 1)]
    add(output, labels, chunk_rows=4)
    assert duplicates(output) == set(range(50, 50 + LEAST))
    assert all(row["flags"] in ([], ["duplicate"]) for row in read_back(output.path))


def test_many_labels_of_one_clip_are_no_duplicates(output: Output) -> None:
    asked = [make_asked(3, question=q) for q in _questions(LEAST + 3)]
    add(output, [make_label(one, make_answer(one, COPIED), SETTINGS, CREATED_AT) for one in asked])
    assert duplicates(output) == set()


def test_old_rows_become_duplicates_by_a_later_run_and_nothing_else_of_them_changes(output: Output) -> None:
    damaged = make_asked(2, damaged=True)
    add(output, [make_label(damaged, make_answer(damaged, COPIED), SETTINGS, CREATED_AT), label(1, text=COPIED)])
    add(output, [label(9, text=own_text(9))])
    before = read_back(output.path)
    assert duplicates(output) == set()
    add(output, [label(n, text=COPIED) for n in range(20, 20 + LEAST)])
    after = read_back(output.path)[:3]
    assert [row["flags"] for row in after] == [["duplicate"], ["damaged", "duplicate"], []]
    assert [{**row, "flags": None} for row in after] == [{**row, "flags": None} for row in before]


def test_rows_cease_to_be_duplicates_when_a_short_text_becomes_rare(output: Output) -> None:
    add(output, [label(n, text=SHORT if n < LEAST else own_text(n)) for n in range(60)])
    assert duplicates(output) == set(range(LEAST))
    add(output, [label(n, text=own_text(n)) for n in range(60, 60 + 100 * LEAST)])
    assert duplicates(output) == set()
    assert all(row["flags"] == [] for row in read_back(output.path))


def test_labels_that_are_replaced_do_not_count(output: Output) -> None:
    add(output, [label(n, text=COPIED) for n in range(LEAST)])
    assert duplicates(output) == set(range(LEAST))
    add(output, [label(n, text=COPIED if n == 0 else own_text(n)) for n in range(LEAST)], replacing=True)
    assert duplicates(output) == set()


def test_a_folder_rewrites_only_the_files_whose_flags_change(tmp_path: Path) -> None:
    output = parse_output(tmp_path / "labels")
    add(output, [label(n, text=COPIED) for n in range(2)])
    add(output, [label(n, text=own_text(n)) for n in range(10, 15)])
    first, second = label_files(output)
    before = first.stat().st_ino, second.stat().st_ino
    add(output, [label(n, text=COPIED) for n in range(20, 20 + LEAST)])
    assert first.stat().st_ino != before[0]
    assert second.stat().st_ino == before[1]
    before = first.stat().st_ino, second.stat().st_ino
    add(output, [label(99, text=COPIED)])
    assert (first.stat().st_ino, second.stat().st_ino) == before
    assert duplicates(output) == {0, 1, *range(20, 20 + LEAST), 99}


@pytest.mark.parametrize("killed_at", ["before the old files", "between old and new files", "before the parts go"])
def test_a_merge_killed_anywhere_marks_the_same_rows_when_it_is_done_again(output: Output, killed_at: str) -> None:
    old, new = [label(n, text=COPIED) for n in range(2)], [label(n, text=COPIED) for n in range(20, 20 + LEAST)]
    add(output, old)
    before = _state(output)
    with part_writer(output.work, SETTINGS.to_json()) as parts:
        for made in new:
            parts.add(made)
    waiting = {path: path.read_bytes() for path in part_paths(output.work)}
    merge(output, SETTINGS)
    whole, after = read_back(output.path), _state(output)
    assert duplicates(output) == {0, 1, *range(20, 20 + LEAST)}
    if output.kind == "folder" or killed_at != "between old and new files":  # else one file holds them all
        left = {
            "before the old files": before,
            "between old and new files": {path: after[path] for path in before},
            "before the parts go": after,
        }[killed_at]
        for path in after:
            path.unlink()
        for path, data in {**left, **waiting}.items():
            path.write_bytes(data)
        merge(output, SETTINGS)
    assert read_back(output.path) == whole
    assert part_paths(output.work) == []


def test_check_finds_the_duplicates_that_a_run_marked(output: Output, tmp_path: Path) -> None:
    texts: list[Callable[[int], str]] = [own_text, lambda _: COPIED, lambda _: SHORT, lambda n: f"{SHORT} {n % 30}"]
    add(output, [label(n, text=texts[n % 4](n)) for n in range(200)])
    checked = tmp_path / f"checked{output.path.suffix}"
    assert command("check", output.path, "--out", checked)[0] == 0
    assert [row["flags"] for row in read_back(checked)] == [row["flags"] for row in read_back(output.path)]
    assert duplicates(output) == {n for n in range(200) if n % 4 in (1, 2)}


def _questions(count: int) -> list[Question]:
    return [Question(f"Describe the video, way {n}.", "caption") for n in range(count)]


def _state(output: Output) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in label_files(output)}
