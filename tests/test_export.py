"""`vidlabel export`: each trainer's own reading rule gives back exactly the pairs that went in."""

from __future__ import annotations

import json
import os
import re
import shutil
from contextlib import chdir
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests import trainer_readers as readers
from tests.exports import NAMES, TEXTS, make_videos, question, row, run, which, write_labels
from tests.label_files import write_own
from tests.runs import job, label, two_scenes
from vidlabel.export.formats import FORMATS
from vidlabel.export.reading import Choice, LabelClips
from vidlabel.tables.reading import open_table
from vidlabel.tables.reviews import ReviewLog, review_file

# what each way of holding a text makes of the texts; a text that is not there is left out
ONE_LINE = {
    **dict(enumerate(TEXTS)),
    2: "Two lines, then a third.",
    3: "Kept apart by what splits lines .",
    7: "space around",
}
del ONE_LINE[6]
CSV = {**dict(enumerate(TEXTS)), 2: "Two\nlines,\nthen\n\na third."}
del CSV[6], CSV[8]
IN_FILE = {**dict(enumerate(TEXTS)), 2: "Two\nlines,\nthen\n\na third.", 7: "space around"}
CHAT = {**dict(enumerate(TEXTS)), 7: "space around", 9: "A video and an image tag - with a dash: and a colon."}
del CHAT[6]
HELD = {
    "cogvideox": ONE_LINE,
    "cogvideox-sat": ONE_LINE,
    "open-sora": CSV,
    "diffsynth": CSV,
    "fiftyone": CSV,
    "cosmos-predict2": IN_FILE,
    "llava-video": CHAT,
    "videochatgpt": CHAT,
    "qwen-vl": CHAT,
    "llama-factory": CHAT,
}
LISTS = ("diffusion-pipe", "open-sora-plan", "fastvideo")


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_videos(tmp_path_factory.mktemp("sources"))


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_labels(tmp_path_factory.mktemp("labels") / "labels.parquet", [row(n) for n in range(len(TEXTS))])


def test_every_format_is_read_back_by_a_test() -> None:
    assert {**readers.CAPTIONS, **readers.QUESTIONS}.keys() == FORMATS.keys()


@pytest.mark.filterwarnings("default")  # the hub's library has some of its own
@pytest.mark.parametrize("name", readers.CAPTIONS)
def test_captions_come_back_with_their_videos(name: str, labels: Path, videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    code, _, err = run(labels, "--to", name, "--out", out, "--root", videos)
    assert code == 0, err
    found = readers.CAPTIONS[name](out)
    expected: dict[int, Any] = HELD.get(name, dict(enumerate(TEXTS)))
    if name in LISTS:
        expected = {number: [text] for number, text in expected.items()}
    assert len(found) == len(expected)
    assert {which(video): text for video, text in found} == expected
    left = len(TEXTS) - len(expected)
    assert (f"{left} left out: {FORMATS[name].text.drops}" in err) == (left > 0)


def pairs_of(number: int) -> list[dict[str, Any]]:
    return [question(number, f'What, "{number}"?'), question(number, "And then?", "Nothing.")]


@pytest.mark.parametrize("name", readers.QUESTIONS)
def test_questions_of_a_clip_come_back_as_one_conversation(name: str, videos: Path, tmp_path: Path) -> None:
    labels = write_labels(tmp_path / "qa.parquet", [one for n in range(len(TEXTS)) for one in pairs_of(n)])
    out = tmp_path / "set"
    code, _, err = run(labels, "--to", name, "--out", out, "--root", videos)
    assert code == 0, err
    found = readers.QUESTIONS[name](out)
    held = HELD.get(name, dict(enumerate(TEXTS)))
    expected = {
        n: [*([(f'What, "{n}"?', held[n])] if n in held else []), ("And then?", "Nothing.")] for n in range(len(TEXTS))
    }
    numbers = [NAMES.index(str(video)) if name == "conversations" else which(video) for video, _ in found]
    assert sorted(numbers) == sorted(expected)
    assert dict(zip(numbers, (said for _, said in found), strict=True)) == expected


def test_captions_are_answers_to_their_instructions_where_the_format_is_for_questions(
    labels: Path, videos: Path, tmp_path: Path
) -> None:
    assert run(labels, "--to", "minigpt4-video", "--out", tmp_path / "set", "--root", videos, "--symlink")[0] == 0
    found = {which(video): said for video, said in readers.minigpt4_video(tmp_path / "set")}
    assert found == {number: [("Describe the video.", text)] for number, text in enumerate(TEXTS)}


def test_answers_have_no_place_among_captions(videos: Path, tmp_path: Path) -> None:
    labels = write_labels(tmp_path / "l.parquet", [row(0), *pairs_of(0), row(1)])
    code, _, err = run(labels, "--to", "ltx", "--out", tmp_path / "set", "--root", videos)
    assert code == 0
    assert [text for _, text in readers.ltx(tmp_path / "set")] == TEXTS[:2]
    assert "2 left out: answers" in err


def levelled() -> list[dict[str, Any]]:
    """Three clips; the last has no detailed caption."""
    rows = [row(n, caption=f"{level} {n}", level=level) for n in (0, 1, 2) for level in ("detailed", "medium", "short")]
    return [one for one in rows if one["caption"] != "detailed 2"]


def test_levels_choose_and_order_captions(videos: Path, tmp_path: Path) -> None:
    labels = write_labels(tmp_path / "l.parquet", levelled())
    args = ("--root", videos, "--symlink", "--levels", "short,detailed")
    assert run(labels, "--to", "fastvideo", "--out", tmp_path / "lists", *args)[0] == 0
    found = {which(video): text for video, text in readers.fastvideo(tmp_path / "lists")}
    assert found == {0: ["short 0", "detailed 0"], 1: ["short 1", "detailed 1"], 2: ["short 2"]}
    code, _, err = run(labels, "--to", "ltx", "--out", tmp_path / "one", *args)
    assert code == 0
    assert {text for _, text in readers.ltx(tmp_path / "one")} == {"short 0", "short 1", "short 2"}
    assert "2 left out: not the first caption" in err
    assert "3 left out: level is not short or detailed" in err


@pytest.mark.filterwarnings("default")  # webdataset leaves files open
def test_webdataset_has_a_part_for_each_level_in_every_sample(videos: Path, tmp_path: Path) -> None:
    import webdataset as wds

    labels = write_labels(tmp_path / "l.parquet", levelled())
    args = ("--to", "webdataset", "--out", tmp_path / "set", "--root", videos, "--levels", "short,detailed")
    code, _, err = run(labels, *args)
    assert code == 0
    assert "1 left out: of a clip that lacks one of --levels" in err
    samples = list(wds.WebDataset(str(tmp_path / "set" / "00000.tar"), shardshuffle=False))
    said = [(s["short_caption"].decode(), s["long_caption"].decode(), s["txt"].decode()) for s in samples]
    assert said == [("short 0", "detailed 0", "short 0"), ("short 1", "detailed 1", "short 1")]


def test_several_captions_can_be_a_sample_each(videos: Path, tmp_path: Path) -> None:
    labels = write_labels(tmp_path / "l.parquet", [row(0), row(0, caption="Another."), row(1)])
    args = ("--to", "cogvideox", "--out", tmp_path / "set", "--root", videos, "--several", "each")
    assert run(labels, *args)[0] == 0
    found = [(which(video), text) for video, text in readers.cogvideox(tmp_path / "set")]
    assert found == [(0, TEXTS[0]), (0, "Another."), (1, TEXTS[1])]


def test_labels_of_a_clip_may_stand_anywhere_in_the_file(videos: Path, tmp_path: Path) -> None:
    rows = [row(n, caption=f"{turn} {n}") for turn in range(3) for n in (2, 0, 1)]
    labels = write_labels(tmp_path / "l.parquet", rows)
    assert run(labels, "--to", "open-sora-plan", "--out", tmp_path / "set", "--root", videos, "--symlink")[0] == 0
    found = [(which(video), text) for video, text in readers.open_sora_plan(tmp_path / "set")]
    assert found == [(n, [f"0 {n}", f"1 {n}", f"2 {n}"]) for n in (2, 0, 1)]


@pytest.mark.parametrize("share_rows", [1, 4, 100])
def test_scattered_labels_are_gathered_a_share_of_the_clips_at_a_time(tmp_path: Path, share_rows: int) -> None:
    order = [3, 0, 1, 3, 2, 0, 3, 4, 1, 1]
    table = open_table(write_labels(tmp_path / "l.parquet", [row(n, caption=str(at)) for at, n in enumerate(order)]))
    labels = LabelClips(table, Choice(task="caption"))
    found = {clip.clip_id: clip.captions for clip in labels.clips(labels.survey(), share_rows=share_rows)}
    assert found == {f"clip{n}": [str(at) for at, one in enumerate(order) if one == n] for n in dict.fromkeys(order)}
    assert list(found) == [f"clip{n}" for n in dict.fromkeys(order)]


def test_a_file_name_that_is_no_text_is_found(videos: Path, tmp_path: Path) -> None:
    """Labels hold such names in a form that survives; see `vidlabel.labels`."""
    name = os.fsdecode(b"\xff.mp4")
    shutil.copy(videos / NAMES[5], tmp_path / name)
    changes = {"video_path": r"\xff.mp4", "start_seconds": 0.0, "end_seconds": 0.36, "video_seconds": 0.36}
    labels = write_own(tmp_path / "l.jsonl", [changes])
    code, _, err = run(labels, "--to", "ltx", "--root", tmp_path, "--out", tmp_path / "set")
    assert code == 0, err
    assert [which(video) for video, _ in readers.ltx(tmp_path / "set")] == [5]
    assert run(labels, "--to", "conversations", "--root", tmp_path, "--out", tmp_path / "talk")[0] == 0
    assert [str(video) for video, _ in readers.conversations(tmp_path / "talk")] == [r"\xff.mp4"]


def test_rules_leave_labels_out_and_say_why(videos: Path, tmp_path: Path) -> None:
    rows = [row(0, grounding=1.0), row(1, grounding=0.1), row(2, grounding=1.0, flags=["leak"]), row(3, grounding=None)]
    labels = write_labels(tmp_path / "l.parquet", rows)
    args = ("--to", "ltx", "--out", tmp_path / "set", "--root", videos, "--min-grounding", 0.5, "--drop-flags", "all")
    code, _, err = run(labels, *args)
    assert code == 0
    assert [which(video) for video, _ in readers.ltx(tmp_path / "set")] == [0]
    for reason in ("grounding below 0.5", "no grounding", "flag leak"):
        assert f"1 left out: {reason}" in err


def test_reviewers_have_the_last_word(videos: Path, tmp_path: Path) -> None:
    labels = write_labels(tmp_path / "l.parquet", [row(n, label_id=f"label{n}") for n in range(4)])
    with ReviewLog(review_file(labels)) as log:
        log.decide("label0", "accept")
        log.decide("label1", "edit", "As it should be.")
        log.decide("label2", "reject")
    code, _, err = run(labels, "--to", "ltx", "--out", tmp_path / "set", "--root", videos, "--reviewed")
    assert code == 0, err
    found = {which(video): text for video, text in readers.ltx(tmp_path / "set")}
    assert found == {0: TEXTS[0], 1: "As it should be."}


def test_columns_go_along_under_their_new_names(videos: Path, tmp_path: Path) -> None:
    labels = write_labels(tmp_path / "l.parquet", [row(0, score=5.5, tag="x"), row(1, score=None, tag="y")])
    args = ("--root", videos, "--columns", "score=aesthetic,tag,clip_id")
    assert run(labels, "--to", "open-sora-plan", "--out", tmp_path / "a", *args)[0] == 0
    rows = json.loads((tmp_path / "a" / "videos.json").read_text())
    assert [(one["aesthetic"], one["tag"], one["clip_id"]) for one in rows] == [
        (5.5, "x", "clip0"),
        (None, "y", "clip1"),
    ]
    assert run(labels, "--to", "diffsynth", "--out", tmp_path / "b", *args)[0] == 0
    assert (tmp_path / "b" / "metadata.csv").read_text().splitlines()[0] == "video,prompt,aesthetic,tag,clip_id"


def test_validation_is_split_by_source_video_and_stays_when_labels_grow(videos: Path, tmp_path: Path) -> None:
    rows = [row(n, clip_id=f"{n}-{part}", caption=f"{part}") for n in range(len(NAMES)) for part in range(2)]
    few, all_ = write_labels(tmp_path / "few.parquet", rows[:8]), write_labels(tmp_path / "all.parquet", rows)
    parts: list[dict[str, set[int]]] = []
    for labels in (few, all_):
        args = (labels, "--to", "ltx", "--root", videos, "--out", tmp_path / "set", "--val", 0.4)
        assert run(*args)[0] == 0
        found = {part: [which(video) for video, _ in readers.ltx(tmp_path / "set" / part)] for part in ("train", "val")}
        assert all(numbers.count(n) == 2 for numbers in found.values() for n in numbers)
        parts.append({part: set(numbers) for part, numbers in found.items()})
    assert parts[1]["train"] | parts[1]["val"] == set(range(len(NAMES)))
    assert not parts[1]["train"] & parts[1]["val"]
    assert parts[1]["val"]
    assert all(parts[0][part] <= parts[1][part] for part in ("train", "val"))


@pytest.mark.filterwarnings("default")
def test_the_hub_finds_both_parts_by_the_names_of_their_folders(videos: Path, labels: Path, tmp_path: Path) -> None:
    import datasets

    args = ("--to", "hf-videofolder", "--root", videos, "--out", tmp_path / "set", "--val", 0.4)
    assert run(labels, *args)[0] == 0
    found = datasets.load_dataset("videofolder", data_dir=str(tmp_path / "set"), cache_dir=str(tmp_path / "hub"))
    assert set(found) == {"train", "validation"}
    assert sum(map(len, found.values())) == len(TEXTS)


def test_no_empty_part_is_left(videos: Path, labels: Path, tmp_path: Path) -> None:
    code, _, err = run(labels, "--to", "ltx", "--root", videos, "--out", tmp_path / "set", "--val", 1e-9)
    assert code == 0
    assert "(10 in train, 0 in val)" in err
    assert not (tmp_path / "set" / "val").exists()


def test_other_tools_labels_are_exported_too(videos: Path, tmp_path: Path) -> None:
    labels = tmp_path / "theirs.csv"
    labels.write_text('path,text\na/clip.mp4,"A dog, running."\nb/clip.mp4,A cat.\n')
    code, _, err = run(
        labels, "--to", "ltx", "--root", videos, "--out", tmp_path / "set", "--text-column", "text", "--symlink"
    )
    assert code == 0, err
    assert {which(video): text for video, text in readers.ltx(tmp_path / "set")} == {0: "A dog, running.", 1: "A cat."}


def test_videos_are_linked_copied_or_left_out(videos: Path, labels: Path, tmp_path: Path) -> None:
    for option, is_there, is_link in (("", True, False), ("--symlink", True, True), ("--no-videos", False, False)):
        out = tmp_path / f"set{option}"
        root = tmp_path if option == "--no-videos" else videos
        assert run(labels, "--to", "ltx", "--root", root, "--out", out, *option.split())[0] == 0
        [first, *_] = [video for video, _ in readers.ltx(out)]
        assert (first.exists(), first.is_symlink()) == (is_there, is_link)


@pytest.mark.filterwarnings("default")  # webdataset leaves files open
def test_an_export_follows_its_labels(videos: Path, tmp_path: Path) -> None:
    """Fewer clips, other texts: nothing of the export before is left for a trainer that lists the folder."""
    for name in ("cosmos-predict2", "cogvideox-sat", "webdataset", "diffusion-pipe"):
        out = tmp_path / f"of-{name}"
        many = write_labels(tmp_path / "l.parquet", [row(n) for n in (0, 1, 4)])
        assert run(many, "--to", name, "--root", videos, "--out", out)[0] == 0
        few = write_labels(tmp_path / "l.parquet", [row(4, caption="Changed.")])
        assert run(few, "--to", name, "--root", videos, "--out", out)[0] == 0
        [(video, text)] = readers.CAPTIONS[name](out)
        assert (which(video), text) == (4, ["Changed."] if name == "diffusion-pipe" else "Changed.")


def test_list_shows_every_format_and_what_it_needs() -> None:
    code, out, _ = run("--list")
    assert code == 0
    for format_ in FORMATS.values():
        assert format_.name in out
        assert format_.trainer in out
        assert format_.needs in out


WRONG: list[tuple[str, str]] = [
    ("--to nope", r"--to nope: no such format; there are finetrainers, "),
    ("--to ltx --root nowhere", r"is not below .*nowhere, nor are the next"),
    ("--to ltx --root v --val 1", r"--val 1: a share"),
    ("--to ltx --root v --columns nope", r"no column nope, which --columns needs"),
    ("--to cosmos-predict2 --root v --columns fps", r"--columns: cosmos-predict2 has no place"),
    ("--to ltx --root v --levels short", r"no column level, which --levels needs"),
    ("--to qwen-vl --root v --levels short", r"--levels: qwen-vl is for questions"),
    ("--to diffusion-pipe --root v --several each", r"--several each: diffusion-pipe takes all"),
    ("--to cogvideox-sat --root v --several each", r"--several each: cogvideox-sat has one caption"),
    ("--to ltx --root v --frame-multiple 4", r"--frame-multiple 4: .*--cut exact only"),
    ("--to ltx --root v --symlink --no-videos", r"--symlink makes links"),
    ("--to ltx --root v --drop-flags nope", r"--drop-flags nope: no such flag"),
    ("--to ltx --root v --reviewed", r"no column label_id, which --reviewed needs"),
    ("--to ltx --root v --out photos", r"--out photos: holds a\.jpg"),
    ("--to cogvideox-sat --root v --out my_videos", r"--out my_videos: the trainer replaces 'videos'"),
    ("--to fastvideo --root v --out a,b", r"--out a,b: .*commas"),
    ("--root v", r"--to FORMAT and --out DIR"),
]


@pytest.mark.parametrize(("args", "message"), WRONG)
def test_wrong_input_is_one_clear_line_and_writes_nothing(
    args: str, message: str, videos: Path, labels: Path, tmp_path: Path
) -> None:
    (tmp_path / "v").symlink_to(videos)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_text("a photo")
    out = () if "--out" in args else ("--out", "set")
    with chdir(tmp_path):
        code, _, err = run(labels, *args.split(), *out)
    assert code == 2
    assert err.startswith("vidlabel: ")
    assert err.count("\n") == 1
    assert re.search(message, err), err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos", "v"]


def test_another_format_or_cut_does_not_go_into_the_same_folder(videos: Path, labels: Path, tmp_path: Path) -> None:
    assert run(labels, "--to", "ltx", "--root", videos, "--out", tmp_path / "set")[0] == 0
    for change in (("--to", "diffsynth"), ("--to", "ltx", "--cut", "exact"), ("--to", "ltx", "--val", "0.5")):
        code, _, err = run(labels, *change, "--root", videos, "--out", tmp_path / "set")
        assert code == 2
        assert f"was exported with {change[-2]}" in err


def test_one_id_for_two_spans_is_refused(videos: Path, tmp_path: Path) -> None:
    labels = write_labels(tmp_path / "l.parquet", [row(0), row(1, clip_id="clip0")])
    code, _, err = run(labels, "--to", "ltx", "--root", videos, "--out", tmp_path / "set")
    assert code == 2
    assert "one clip_id stands for different spans" in err


def test_labels_of_a_real_run_are_exported(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    two_scenes(tmp_path / "videos" / "a.mp4", 1)
    label(tmp_path / "videos", job(tmp_path / "labels.parquet"))
    said = pq.read_table(tmp_path / "labels.parquet").to_pylist()
    args = ("--to", "conversations", "--root", tmp_path / "videos", "--out", tmp_path / "set")
    assert run(tmp_path / "labels.parquet", *args)[0] == 0
    lines = [json.loads(line) for line in (tmp_path / "set" / "conversations.jsonl").read_text().splitlines()]
    assert [(one["clip_id"], one["start_seconds"], one["conversation"]) for one in lines] == [
        (one["clip_id"], one["start_seconds"], [{"question": one["instruction"], "answer": one["caption"]}])
        for one in said
    ]
