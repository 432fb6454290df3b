"""Test sets are read as their makers publish them: every question finds its video and its answer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from vidlabel.data import Task
from vidlabel.errors import InputError
from vidlabel.train.examples import Example, ExampleTally
from vidlabel.train.reading import read_examples

MSVD_QA = [{"answer": "someone", "id": 30933, "question": "who is applying butter?", "video_id": 1301}]
ACTIVITYNET_Q = [
    {"video_name": "1QIUV7WYKXg", "question": "is the athlete wearing trousers", "question_id": "v_1QIUV7WYKXg_3"},
    {"video_name": "1QIUV7WYKXg", "question": "what is in front of him", "question_id": "v_1QIUV7WYKXg_9"},
]
ACTIVITYNET_A = [
    {"answer": "bar", "type": 1, "question_id": "v_1QIUV7WYKXg_9"},
    {"answer": "yes", "type": 3, "question_id": "v_1QIUV7WYKXg_3"},
]
TGIF = (
    'gif_name\tquestion\tanswer\ttype\tvid_id\tdescription\n'
    'tumblr_a_250\twhat is the color of the shirt ?\tblue\t2\tFRAMEQA1\ta man in a "blue\n'
)  # fmt: skip
GENERIC = [{"Q": "What is the man doing?", "A": "He surfs.", "video_name": "v_p1QGn0IzfW0"}]
CONSISTENCY = [{"Q1": "What is there?", "Q2": "What is seen?", "A": "A boat.", "video_name": "v_p1QGn0IzfW0"}]
MSRVTT = {
    "info": {"year": "2016"},
    "videos": [
        {
            "video_id": "video1",
            "split": "train",
            "start time": 1.0,
            "end time": 2.0,
            "category": 9,
            "url": "u",
            "id": 1,
        },
        {"video_id": "video2", "split": "test", "start time": 1.0, "end time": 2.0, "category": 9, "url": "u", "id": 2},
    ],
    "sentences": [
        {"caption": "a cat sits", "video_id": "video2", "sen_id": 1},
        {"caption": "a dog runs", "video_id": "video1", "sen_id": 2},
        {"caption": "the cat is sitting", "video_id": "video2", "sen_id": 3},
    ],
}
MSVD_CSV = (
    "VideoID,Start,End,WorkerID,Source,AnnotationTime,Language,Description\n"
    "mv89psg6zh4,33,46,588702,unverified,55,Slovene,Papagaj se umiva.\n"
    "mv89psg6zh4,33,46,362812,clean,19,English,A bird is bathing in a sink.\n"
)


def make(folder: Path, files: Mapping[str, object], videos: Sequence[str]) -> Path:
    """The first file; texts as they are, all else as JSON."""
    for name, content in files.items():
        (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    for name in videos:
        (folder / "videos" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "videos" / name).touch()
    return folder / next(iter(files))


def read(path: Path, task: Task, **options: object) -> list[Example]:
    return list(read_examples([path], task=task, **options))  # type: ignore[arg-type]


def told(examples: Sequence[Example]) -> list[tuple[str, str | None, str, str]]:
    return [(Path(e.source).name, e.question, e.answer, e.group) for e in examples]


@pytest.mark.parametrize(
    ("files", "videos", "expected"),
    [
        ({"test_qa.json": MSVD_QA}, ["vid1301.avi"], ["vid1301.avi", "someone", ""]),
        (
            {"test_qa.json": MSVD_QA, "youtube_mapping.txt": "-4wsuPCjDBc_5_15 vid1301\n"},
            ["-4wsuPCjDBc_5_15.avi", "x/vid1301.mp4"],
            ["-4wsuPCjDBc_5_15.avi", "someone", ""],
        ),
        ({"test_qa.json": MSVD_QA}, ["TestVideo/video1301.mp4"], ["video1301.mp4", "someone", ""]),
        ({"val_qa_edited.json": [{**MSVD_QA[0], "video_id": "a_1_2"}]}, ["a_1_2.mp4"], ["a_1_2.mp4", "someone", ""]),
        ({"Test_frameqa_question.csv": TGIF}, ["tumblr_a_250.gif"], ["tumblr_a_250.gif", "blue", "colour"]),
        (
            {"Test_frameqa_question.json": [{"gif_name": "tumblr_a", "question": "q", "answer": "cat", "type": 0}]},
            ["tumblr_a.mp4"],
            ["tumblr_a.mp4", "cat", "object"],
        ),
        ({"generic_qa.json": GENERIC}, ["v_p1QGn0IzfW0.mp4"], ["v_p1QGn0IzfW0.mp4", "He surfs.", "generic"]),
        ({"temporal_qa.json": GENERIC}, ["v_p1QGn0IzfW0.mp4"], ["v_p1QGn0IzfW0.mp4", "He surfs.", "temporal"]),
        ({"t.json": [{"video_id": "a", "q": "Q?", "a": "A."}]}, ["a.mp4"], ["a.mp4", "A.", ""]),
        ({"t.json": {"annotations": [{"video_id": "a", "q": "Q?", "a": "A."}]}}, ["a.mp4"], ["a.mp4", "A.", ""]),
    ],
)
def test_questions_of_published_sets_find_video_and_answer(
    tmp_path: Path, files: Mapping[str, object], videos: Sequence[str], expected: Sequence[str]
) -> None:
    (example,) = read(make(tmp_path, files, videos), "qa")
    assert example.question
    assert [Path(example.source).name, example.answer, example.group] == expected


def test_answers_in_a_second_file_are_joined_by_their_ids(tmp_path: Path) -> None:
    path = make(tmp_path, {"test_q.json": ACTIVITYNET_Q, "test_a.json": ACTIVITYNET_A}, ["v_1QIUV7WYKXg.mp4"])
    assert told(read(path, "qa")) == [
        ("v_1QIUV7WYKXg.mp4", "is the athlete wearing trousers", "yes", "yes/no"),
        ("v_1QIUV7WYKXg.mp4", "what is in front of him", "bar", "spatial"),
    ]


def test_two_questions_of_one_meaning_are_a_pair(tmp_path: Path) -> None:
    first, second = read(make(tmp_path, {"consistency_qa.json": CONSISTENCY}, ["v_p1QGn0IzfW0.mp4"]), "qa")
    assert (first.question, second.question) == ("What is there?", "What is seen?")
    assert first.group == second.group == "consistency"
    assert first.pair == second.pair != ""
    assert first.example_id != second.example_id


def test_every_caption_of_msrvtt_and_a_subset_of_it(tmp_path: Path) -> None:
    path = make(tmp_path, {"videodatainfo.json": MSRVTT}, ["video1.mp4", "video2.mp4"])
    assert [e.answer for e in read(path, "caption")] == ["a cat sits", "a dog runs", "the cat is sitting"]
    tally = ExampleTally()
    assert [e.answer for e in read(path, "caption", subset="test", tally=tally)] == ["a cat sits", "the cat is sitting"]
    assert tally.left_out == {"are not of test": 1}


def test_captions_of_msvd_and_of_minigpt4_video(tmp_path: Path) -> None:
    tally = ExampleTally()
    corpus = make(tmp_path, {"corpus.csv": MSVD_CSV}, ["mv89psg6zh4_33_46.avi"])
    assert [e.answer for e in read(corpus, "caption", tally=tally)] == ["A bird is bathing in a sink."]
    assert tally.left_out == {"are in other languages than English and Chinese": 1}
    lines = make(tmp_path, {"AllVideoDescriptions.txt": "# of MSVD\n\nmv89psg6zh4_33_46 a bird bathes\n"}, [])
    assert [e.answer for e in read(lines, "caption")] == ["a bird bathes"]
    several = make(tmp_path, {"c.json": [{"image_id": "mv89psg6zh4_33_46", "caption": ["One.", "Two."]}]}, [])
    assert [e.answer for e in read(several, "caption")] == ["One.", "Two."]
    webvid = make(
        tmp_path, {"w.json": [{"videoid": 7, "name": "A man - walks", "page_dir": "d"}]}, ["xd/7.mp4", "d/7.mp4"]
    )
    (example,) = read(webvid, "caption")
    assert example.source.endswith("videos/d/7.mp4")


def test_a_row_without_its_video_is_counted_and_left_out(tmp_path: Path) -> None:
    rows = [*MSVD_QA, {**MSVD_QA[0], "video_id": 7}]
    path = make(tmp_path, {"test_qa.json": rows}, ["vid1301.avi"])
    tally = ExampleTally()
    assert len(read(path, "qa", tally=tally, video_root=str(tmp_path / "videos"))) == 1
    assert tally.left_out == {"have no video of their name there": 1}
    assert "entry 2: looked below" in tally.reasons
    assert "for video7 or vid7 or 7" in tally.reasons


@pytest.mark.parametrize(
    ("name", "content", "task", "wrong"),
    [
        ("test_q.json", ACTIVITYNET_Q, "qa", "questions without answers, and no test_a.json is beside it"),
        ("a.json", [{"video_id": "a", "text": "b"}], "qa", "entry 1: has video_id, text; it should have question"),
        ("a.json", [{"question": "a", "answer": "b"}], "qa", "entry 1: names no video"),
        ("a.json", {"a": 1}, "qa", "should be a list of objects"),
        ("a.json", "[", "qa", "not JSON"),
        ("a.json", MSVD_QA, "caption", "holds questions with answers, no captions"),
        ("a.json", MSRVTT, "qa", "holds captions, no questions"),
        ("a.txt", "what is this\n", "caption", "line 1: should be a clip's name and a caption"),
        ("t.csv", TGIF + "a\tb\n", "qa", "line 3: 2 cells, but the header has 6 columns"),
        ("a.json", [{**MSVD_QA[0], "answer": ["a"]}], "qa", "entry 1: answer must be a text"),
    ],
)
def test_what_is_wrong_with_a_set_is_one_line(
    tmp_path: Path, name: str, content: object, task: Task, wrong: str
) -> None:
    path = make(tmp_path, {name: content}, ["tumblr_a_250.gif"])
    with pytest.raises(InputError, match=wrong):
        read(path, task)
