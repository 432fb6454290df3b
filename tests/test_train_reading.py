"""What is taught is read from labels, manifests, published sets and pairs; what is wrong with a row is named."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from tests.label_files import write_foreign, write_own
from vidlabel.data import Span, Task
from vidlabel.errors import InputError
from vidlabel.train.examples import Example, ExampleTally
from vidlabel.train.reading import read_examples

PANDA = (
    "videoID,url,timestamp,caption,matching_score\n"
    "v1234567890,u,\"[['0:01', '0:02'], ['0:03', '0:04']]\",\"['One.', 'Two.']\",\"[0.4, 0.5]\"\n"
)


def read(path: Path, task: Task = "caption", **options: Any) -> list[Example]:
    return list(read_examples([path], task=task, **options))


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["labels.parquet", "labels.jsonl", "labels"])
def test_own_labels_are_examples_with_their_span_and_instruction(tmp_path: Path, name: str) -> None:
    changes: list[dict[str, Any]] = [{"caption": f"Caption {number}."} for number in range(3)]
    changes[1]["flags"] = ["short", "leak"]
    changes[2]["caption"] = "一只狗。"
    labels = write_own(tmp_path / name, changes)
    write(tmp_path / "videos/0000.mp4", "")
    tally = ExampleTally()
    examples = read(labels, tally=tally)
    assert [(e.answer, e.question, e.language) for e in examples] == [
        ("Caption 0.", "Describe the video.", "en"),
        ("一只狗。", "Describe the video.", "en"),  # the label says which language it was asked in
    ]
    video = examples[0].video
    assert video is not None
    assert (video.location, video.span) == (str(tmp_path / "videos/0000.mp4"), Span(0.0, 1.0))
    assert tally.left_out == {"are flagged": 1}
    assert len(read(labels, keep_flagged=True)) == 3


def test_paths_of_labels_begin_at_root(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    labels = write_own(tmp_path / "out/labels.parquet", [{}])
    write(tmp_path / "media/videos/0000.mp4", "")
    (example,) = read(labels, root=str(tmp_path / "media"))
    assert example.source == str(tmp_path / "media/videos/0000.mp4")


def test_a_name_that_is_no_utf8_leads_to_its_file(tmp_path: Path) -> None:
    labels = write_own(tmp_path / "labels.parquet", [{"video_path": "caf\\xe9.mp4"}])
    (example,) = read(labels)
    assert example.video is not None
    assert example.video.location.endswith("caf\udce9.mp4")


@pytest.mark.parametrize("extension", ["csv", "tsv", "jsonl", "parquet"])
def test_manifests_hold_captions_or_questions_with_answers(tmp_path: Path, extension: str) -> None:
    rows = [
        {
            "Video": "a.mp4",
            "start": "0:01",
            "end": "0:02.5",
            "Caption": "One.",
            "question": "What?",
            "answer": "A dog.",
        },
        {"Video": "b.mp4", "start": None, "end": None, "Caption": "Two.", "question": "Who?", "answer": "Nobody."},
    ]
    manifest = write_foreign(tmp_path / f"m.{extension}", rows)
    captions, answers = read(manifest), read(manifest, "qa")
    assert [(e.question, e.answer) for e in captions] == [(None, "One."), (None, "Two.")]
    assert [(e.question, e.answer) for e in answers] == [("What?", "A dog."), ("Who?", "Nobody.")]
    assert [e.source for e in captions] == [str(tmp_path / "a.mp4"), str(tmp_path / "b.mp4")]
    first = captions[0].video
    assert first is not None
    assert first.span == Span(1.0, 2.5)
    assert len({e.example_id for e in [*captions, *answers]}) == 4
    assert captions[0].example_id == read(manifest)[0].example_id


def test_rows_of_pictures_need_no_video(tmp_path: Path) -> None:
    manifest = write(tmp_path / "m.csv", "image,caption\nimg/a.png,A red ball.\n")
    (example,) = read(manifest)
    assert (example.image, example.video, example.answer) == (str(tmp_path / "img/a.png"), None, "A red ball.")


def test_a_row_without_text_is_counted_and_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    manifest = write(tmp_path / "m.csv", "video,question,answer\na.mp4,What?,\nb.mp4,,A.\nc.mp4,Who?,C.\n")
    with caplog.at_level(logging.WARNING):
        assert [e.answer for e in read(manifest, "qa")] == ["C."]
    assert f"1 examples are read; left out: 2 have no text (first: {manifest}, line 2)" in caplog.text


def test_labels_of_the_other_task_are_left_out(tmp_path: Path) -> None:
    labels = Path(__file__).parent.parent / "examples/labels.jsonl"
    tally = ExampleTally()
    root = str(labels.parent / "videos")
    examples = read(labels, "qa", root=root, tally=tally)
    assert [(e.question, e.answer) for e in examples] == [("What colour is the circle?", "The circle is blue.")]
    assert tally.left_out == {"are not of the task qa": 5, "are flagged": 1}
    captions = read(labels, "caption", root=root, keep_flagged=True)
    assert [e.language for e in captions] == ["en", "en", "en", "en", "zh"]


def test_pairs_of_pictures_and_videos_with_texts(tmp_path: Path) -> None:
    for name in ("b.mp4", "a.JPG", "sub/c.d.png", "lonely.mp4", "b.jpg"):
        write(tmp_path / name, "")
    write(tmp_path / "b.txt", "A video.\n")
    write(tmp_path / "a.txt", "\ufeff一张图。")
    write(tmp_path / "sub/c.d.txt", "A picture.")
    tally = ExampleTally()
    examples = read(tmp_path, tally=tally)
    assert [(e.video is None, e.answer, e.language) for e in examples] == [
        (True, "一张图。", "zh"),
        (False, "A video.", "en"),  # b.jpg is its cover
        (True, "A picture.", "en"),
    ]
    assert tally.left_out == {"have no .txt file of their name beside them": 1}


@pytest.mark.parametrize(
    ("name", "text", "files", "expected"),
    [
        (
            "p.csv",
            PANDA,
            ["v1234567890.mp4"],
            [("One.", Span(1, 2)), ("Two.", Span(3, 4))],
        ),
        (
            "w.csv",
            "videoid,name,page_idx,page_dir,duration,contentUrl\n1,A man walks,1,d,PT1S,https://host/1.mp4\n",
            ["d/1.mp4"],
            [("A man walks", None)],
        ),
        (
            "m.csv",
            "index,video_id,start_frame,end_frame,short_caption,dense_caption,fps\nx_y-z,y,30,60,Short.,Dense.,30\n",
            ["y.mp4"],
            [("Dense.", Span(1, 2))],
        ),
    ],
)
def test_published_sets_have_their_captions(
    tmp_path: Path, name: str, text: str, files: list[str], expected: list[tuple[str, Span | None]]
) -> None:
    for file in files:
        write(tmp_path / file, "")
    examples = read(write(tmp_path / name, text))
    assert [(e.answer, e.video and e.video.span) for e in examples] == expected
    assert all(e.question is None for e in examples)


@pytest.mark.parametrize(
    ("name", "text", "task", "wrong"),
    [
        ("m.csv", "video,text\na.mp4,A.\n", "caption", "line 2: no column caption among video, text"),
        ("m.csv", "video,answer\na.mp4,A.\n", "qa", "line 2: no column question among video, answer"),
        ("m.csv", "film,caption\na.mp4,A.\n", "caption", "no video or image column among film, caption"),
        ("m.csv", "video,caption\n,A.\n", "caption", "line 2: column video is empty"),
        ("m.csv", "image,caption\n,A.\n", "caption", "line 2: column image is empty; it must name a picture"),
        ("m.jsonl", '{"video": "a.mp4", "caption": ["A."]}\n', "caption", "line 1: caption must be a text"),
        ("m.csv", "video,caption\na.mp4,\n", "caption", "no captions in .*: 1 have no text"),
        ("m.csv", "video,caption,flags\na.mp4,A.,short\n", "caption", "1 are flagged.*--keep-flagged"),
        ("m.md", "A.", "caption", "examples are in a .csv"),
        ("d/a.mp4", "", "qa", "a folder of pairs holds captions"),
        ("d/a.mp4", "", "caption", "no pair in it; .* as a.mp4 and a.txt"),
    ],
)
def test_what_is_wrong_is_one_line_that_names_it(tmp_path: Path, name: str, text: str, task: Task, wrong: str) -> None:
    path = write(tmp_path / name, text)
    with pytest.raises(InputError, match=wrong):
        read(path.parent if name.startswith("d/") else path, task)


def test_another_column_may_hold_the_texts(tmp_path: Path) -> None:
    manifest = write(tmp_path / "m.csv", "video,text\na.mp4,A.\n")
    assert [e.answer for e in read(manifest, text_column="text")] == ["A."]


def test_a_set_without_captions_says_so(tmp_path: Path) -> None:
    text = '{"video_id":"v1234567890","clip":[{"clip_id":"v1234567890.1.mp4","span":["0:01","0:02"]}]}\n'
    write(tmp_path / "v1234567890.mp4", "")
    with pytest.raises(InputError, match="hdvila has no captions"):
        read(write(tmp_path / "h.jsonl", text))
