"""`vidlabel eval` says how good answers are, with numbers that are known; what goes wrong is counted, not hidden."""

from __future__ import annotations

import json
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.chat_server import Reply, chat_server
from tests.runs import folder_of_videos
from vidlabel.cli import app
from vidlabel.evaluation.accuracy import holds_answer, is_exact, is_right, normalised
from vidlabel.evaluation.answered import Answered
from vidlabel.evaluation.cider import cider
from vidlabel.evaluation.likeness import likeness
from vidlabel.evaluation.questions import with_references
from vidlabel.quality.words import words_of
from vidlabel.train.examples import Example
from vidlabel.train.reading import read_examples

EXAMPLES = Path(__file__).parent.parent / "examples"
SAID = [
    ("A green circle moves to the right over a dark background.",
     ["A green circle moves right.", "There is a green circle that moves to the right."]),
    ("An orange square.", ["An orange square moves up.", "The orange square goes up slowly, then stops."]),
    ("A red triangle appears. A red triangle appears.", ["A red triangle appears."]),
    ("一个红色的三角形出现在画面中间。", ["一个红色的三角形出现。", "画面中出现红色三角形。"]),
    ("I can't see anything.", ["A blue star falls."]),
]  # fmt: skip


def answered(said: str, *references: str) -> Answered:
    return Answered("e", "qa", "Q?", references, said)


def run(*args: object, env: dict[str, str] | None = None) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["eval", *map(str, args)], env=env)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def measures(out: Path, part: str = "qa") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(out.read_text())["measures"][part]
    return found


def test_cider_is_that_of_the_package_which_is_usually_taken() -> None:
    """The numbers are pycocoevalcap 1.2's for the same words."""
    said = [words_of(text) for text, _ in SAID]
    references = [[words_of(text) for text in several] for _, several in SAID]
    expected = [3.32695891, 3.11666525, 3.61445363, 4.16360934, 0.0]
    assert cider(said, references) == pytest.approx(expected, abs=1e-8)


def test_likeness_has_known_numbers_and_chinese_goes_by_character() -> None:
    found = likeness([answered(said, *references) for said, references in SAID])
    assert found.bleu4 == pytest.approx(0.5316444, abs=1e-6)
    assert found.rouge_l == pytest.approx(0.5766667, abs=1e-6)
    assert found.meteor == pytest.approx(0.6527495, abs=1e-6)
    assert found.cider == pytest.approx(2.8443374, abs=1e-6)
    same = likeness([answered("一只狗在跑步。", "一只狗在跑步"), answered("Two dogs run.", "two dogs run")])
    assert (same.bleu1, same.rouge_l) == (pytest.approx(1.0), 1.0)
    nothing = likeness([answered("", "A dog."), answered("...", "A cat.")])
    assert (nothing.bleu4, nothing.rouge_l, nothing.meteor, nothing.cider) == (0, 0, 0, 0)
    assert likeness([answered("A dog.", "A dog.")]).cider is None


@pytest.mark.parametrize(
    ("said", "reference", "exact", "right", "holds"),
    [
        ("two", "two", True, True, True),
        ("Two.", "2", False, True, True),
        ("The dogs' bowls", "dogs bowls", False, True, True),
        ("There are two dogs.", "2", False, False, True),
        ("There are twenty two dogs.", "20", False, False, False),
        ("1,000 people", "1000 people", False, True, True),
        ("3.5 m", "35 m", False, False, False),
        ("don't know", "dont know", False, True, True),
        ("ice-cream", "ice cream", False, True, True),
        ("yes", "no", False, False, False),
        ("两只狗。", "2只狗", False, True, True),
        ("ＧＲＥＥＮ", "green", False, True, True),
        ("the", "a", False, False, False),
        ("", "nothing", False, False, False),
        ("...", "!", False, True, False),
    ],
)
def test_right_answers_after_normalisation(said: str, reference: str, exact: bool, right: bool, holds: bool) -> None:
    one = answered(said, reference)
    assert (is_exact(one), is_right(one), holds_answer(one)) == (exact, right, holds)


def test_one_of_several_references_is_enough() -> None:
    assert is_right(answered("A couch", "sofa", "couch"))
    assert normalised("The None, an Ten") == ["0", "10"]


def test_examples_that_ask_the_same_become_one_with_references(tmp_path: Path) -> None:
    manifest = tmp_path / "m.csv"
    manifest.write_text("video,caption\na.mp4,One.\nb.mp4,Other.\na.mp4,Two.\na.mp4,One.\n")
    found: list[Example] = with_references(read_examples([manifest], task="caption"))
    assert [(e.answer, e.references) for e in found] == [("One.", ("Two.",)), ("Other.", ())]


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The example of --help, once: the results and what was printed."""
    out = tmp_path_factory.mktemp("eval") / "results.json"
    code, stdout, stderr = run("--model", "shapes", "--data", EXAMPLES / "answers.csv", "--out", out, "--workers", 1)
    assert code == 0, stderr
    return out, stdout


def test_shapes_on_the_examples_has_known_numbers(shapes: tuple[Path, str]) -> None:
    out, stdout = shapes
    found = measures(out)
    assert (found["num_answers"], found["exact"], found["right"], found["holds"]) == (4, 0.5, 0.5, 0.75)
    assert found["flagged"] == 0
    assert stdout.splitlines()[1].split()[:2] == ["qa", "4"]
    values = json.loads(out.read_text())
    assert values["settings"]["model"] == "shapes"
    assert set(values["versions"]) == {"python", "torch", "transformers", "sacrebleu", "rouge-score", "nltk"}


def test_the_loss_of_what_a_model_says_is_what_it_said_it_was(shapes: tuple[Path, str]) -> None:
    """Where the reference is the very answer, the teacher-forced likelihood is that of decoding."""
    out, _ = shapes
    said = [json.loads(line) for line in out.with_name("results.answers.jsonl").read_text().splitlines()]
    losses = [json.loads(line) for line in out.with_name("results.losses.jsonl").read_text().splitlines()]
    by_answer = {row["answer"]: row["mean_logprob"] for row in losses}
    same = [(row["mean_logprob"], by_answer[row["answer"]]) for row in said if row["answer"] in by_answer]
    assert len(same) == 2
    for decoded, forced in same:
        assert forced == pytest.approx(decoded, abs=2e-5)
    total = sum(-row["mean_logprob"] * row["num_tokens"] for row in losses)
    assert measures(out)["loss"] == pytest.approx(total / sum(row["num_tokens"] for row in losses))
    assert by_answer["It is a square."] < min(decoded for decoded, _ in same)


def test_the_same_command_again_asks_nothing_and_answers_alone_say_the_same(shapes: tuple[Path, str]) -> None:
    out, stdout = shapes
    before = out.with_name("results.answers.jsonl").read_bytes()
    code, again, stderr = run("--model", "shapes", "--data", EXAMPLES / "answers.csv", "--out", out, "--workers", 1)
    assert (code, again) == (0, stdout), stderr
    assert "0 videos, 0 clips, 0 labels" in stderr
    answers = out.with_name("results.answers.jsonl")
    assert answers.read_bytes() == before
    other = out.with_name("other.json")
    assert run("--answers", answers, "--data", EXAMPLES / "answers.csv", "--out", other)[0] == 0
    without_loss = {**measures(out), "loss": None}
    assert measures(other) == without_loss


def test_captions_and_questions_of_labels_with_spans_in_one_evaluation(tmp_path: Path) -> None:
    out = tmp_path / "r.json"
    options = ["--root", EXAMPLES / "videos", "--keep-flagged", "--workers", 1, "--out", out]
    code, stdout, stderr = run("--model", "echo", "--data", EXAMPLES / "labels.jsonl", *options)
    assert code == 0, stderr
    assert [line.split()[0] for line in stdout.splitlines()[1:]] == ["caption", "qa"]
    assert (measures(out, "caption")["num_answers"], measures(out)["num_answers"]) == (5, 2)
    assert measures(out)["loss"] is None  # echo has no likelihoods
    labels = [json.loads(line) for line in out.with_name("r.answers.jsonl").read_text().splitlines()]
    assert {(row["start_seconds"], row["end_seconds"]) for row in labels if row["task"] == "qa"} == {(0, 2), (2, 4)}


def test_what_is_left_out_of_the_data_is_told(tmp_path: Path) -> None:
    folder_of_videos(tmp_path / "v", 1)
    data = tmp_path / "d.csv"
    data.write_text("video,question,answer\nv/video000.mp4,What?,A.\nv/video000.mp4,Why?,\n")
    code, _, stderr = run("--model", "echo", "--data", data, "--out", tmp_path / "r.json", "--workers", 1)
    assert code == 0
    assert f"WARNING: 1 examples are read; left out: 1 have no text (first: {data}, line 3)" in stderr
    assert json.loads((tmp_path / "r.json").read_text())["left_out"] == {"have no text": 1}


def test_a_bad_video_is_recorded_and_counted(tmp_path: Path) -> None:
    folder_of_videos(tmp_path / "v", 1)
    (tmp_path / "v/bad.mp4").write_bytes(b"no video at all" * 100)
    data = tmp_path / "d.csv"
    data.write_text("video,question,answer\nv/video000.mp4,What?,A.\nv/bad.mp4,What?,B.\nv/gone.mp4,What?,C.\n")
    code, stdout, _ = run("--model", "echo", "--data", data, "--out", tmp_path / "r.json", "--workers", 1)
    assert code == 3
    assert stdout.splitlines()[1].split()[:2] == ["qa", "1"]
    values = json.loads((tmp_path / "r.json").read_text())
    assert (values["num_examples"], values["num_unanswered"]) == (3, 2)
    failures = (tmp_path / "r.answers.failures.jsonl").read_text().splitlines()
    assert {json.loads(line)["path"] for line in failures} == {"v/bad.mp4", "v/gone.mp4"}


PREDICTIONS = [
    {"video_name": "v_1", "Q": "What is it?", "A": "A dog.", "pred": "dog"},
    {"video_name": "v_2", "Q": "How many?", "A": "2", "pred": "three"},
]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("preds.json", PREDICTIONS, {"qa": (2, 0.5)}),
        ("my_generic_preds.json", PREDICTIONS, {"qa": (2, 0.5), "qa, generic": (2, 0.5)}),
        ("p.jsonl", [{"id": 1, "question": "Q?", "answer": "yes", "pred": "Yes."}], {"qa": (1, 1.0)}),
        ("p.csv", "question,answer,prediction,group\nQ?,yes,no,colour\n", {"qa": (1, 0.0), "qa, colour": (1, 0.0)}),
        ("c.json", [{"caption": ["A dog.", "A hound."], "pred": "a hound"}], {"caption": (1, 1.0)}),
        (
            "consistency.json",
            [{"Q1": "a?", "Q2": "b?", "A": "x", "pred1": "x", "pred2": "y"}],
            {"qa": (2, 0.5), "qa, consistency": (2, 0.5)},
        ),
    ],
)
def test_answers_of_other_tools_are_measured_alone(
    tmp_path: Path, name: str, content: Any, expected: dict[str, tuple[int, float]]
) -> None:
    file = tmp_path / name
    if isinstance(content, str):
        file.write_text(content)
    elif file.suffix == ".jsonl":
        file.write_text("".join(json.dumps(row) + "\n" for row in content))
    else:
        file.write_text(json.dumps(content))
    code, _, stderr = run("--answers", file, "--out", tmp_path / "r.json")
    assert code == 0, stderr
    found = json.loads((tmp_path / "r.json").read_text())["measures"]
    assert {part: (one["num_answers"], one["right"]) for part, one in found.items()} == expected


def test_a_judge_is_asked_and_its_verdicts_are_in_the_results(tmp_path: Path) -> None:
    file = tmp_path / "preds.json"
    file.write_text(json.dumps(PREDICTIONS))

    def answer(body: dict[str, Any], _: int) -> Reply:
        said = "yes" if "dog" in body["messages"][1]["content"] else "no"
        return Reply(content=json.dumps({"pred": said, "score": 5 if said == "yes" else 0}))

    out = tmp_path / "r.json"
    with chat_server(answer) as server:
        options = ["--judge", server.url, "--judge-model", "m", "--answers", file, "--out", out]
        code, stdout, _ = run(*options, env={"OPENAI_API_KEY": "sk-secret"})
        assert code == 0
        assert run(*options, env={"OPENAI_API_KEY": "sk-secret"})[1] == stdout
        assert len(server.requests) == 2, "what was judged is not judged again"
    assert stdout.splitlines()[-1].split() == ["match", "2", "50.0%", "2.50"]
    assert json.loads(out.read_text())["judged"]["parts"]["match"]["accuracy"] == 0.5
    assert "sk-secret" not in stdout + "".join(path.read_text() for path in tmp_path.iterdir())


WRONG: list[tuple[list[str], str]] = [
    (["--out", "r.json"], "give --model, to be asked, or --answers"),
    (["--out", "r.txt", "--answers", "a.json"], "--out r.txt: results are a .json file"),
    (["--out", "no/r.json", "--answers", "a.json"], "there is no folder no"),
    (["--out", "r.json", "--model", "echo"], "--model echo: say with --data what it is asked"),
    (["--out", "r.json", "--model", "nope", "--data", "d.csv"], "--model nope: neither a folder nor one of"),
    (["--out", "r.json", "--model", "echo", "--data", "none.csv"], "none.csv: cannot be opened"),
    (["--out", "r.json", "--model", "echo", "--data", "c.csv"], "no column caption among video, text"),
    (["--out", "r.json", "--model", "echo", "--data", "d.csv", "--task", "caption"], "no column caption among"),
    (["--out", "r.json", "--model", "echo", "--data", "i.csv"], "holds pictures alone"),
    (["--out", "r.json", "--model", "echo", "--data", "d.csv", "--prompts", "qa-who"], "a pool of qa prompts"),
    (["--out", "r.json", "--model", "echo", "--data", "c.csv", "--text-column", "text"], "say with --task"),
    (["--out", "r.json", "--answers", "a.json", "--data", "d.csv"], "leave out --data"),
    (["--out", "r.json", "--answers", "bad.json"], "bad.json, entry 1: no pred"),
    (["--out", "r.json", "--answers", "a.json", "--judge", "http://x/v1"], "say with --judge-model"),
    (["--out", "r.json", "--answers", "a.json", "--judge-model", "m"], "--judge-model m: belongs to --judge URL"),
    (["--out", "r.json", "--answers", "a.json", "--judge", "x", "--judge-model", "m"], "--judge x: must be an address"),
]


@pytest.mark.parametrize(("args", "message"), WRONG, ids=[" ".join(args) for args, _ in WRONG])
def test_wrong_input_is_one_clear_line_and_exit_2(tmp_path: Path, args: list[str], message: str) -> None:
    (tmp_path / "d.csv").write_text("video,question,answer\na.mp4,Q?,A.\n")
    (tmp_path / "c.csv").write_text("video,text\na.mp4,A.\n")
    (tmp_path / "i.csv").write_text("image,caption\na.png,A.\n")
    (tmp_path / "a.json").write_text(json.dumps(PREDICTIONS))
    (tmp_path / "bad.json").write_text(json.dumps([{"Q": "a", "A": "b"}]))
    before = sorted(tmp_path.iterdir())
    with chdir(tmp_path):
        code, stdout, stderr = run(*args)
    assert (code, stdout) == (2, "")
    assert message in stderr
    assert stderr.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before, "nothing is written before the input is checked"
