"""The command line: help that tells the truth, one clear line for every wrong input, and the promised exit codes."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.main import get_command
from typer.testing import CliRunner

from tests.make_scorers import pulled
from tests.runs import folder_of_videos, two_scenes
from vidlabel.cli import app

ROOT = Path(__file__).parent.parent


def _commands(command: object = None, name: str = "vidlabel") -> Iterator[tuple[str, object]]:
    command = command or get_command(app)
    children = getattr(command, "commands", None)
    if children is None:
        yield name, command
        return
    for child_name, child in children.items():
        yield from _commands(child, f"{name} {child_name}")


COMMANDS = dict(_commands())


def run(*args: str, stdin: str | None = None, env: dict[str, str] | None = None) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, list(args), input=stdin, env=env)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Path]:
    """A folder to work in where the repository's examples are, as in a fresh clone."""
    for name in ("examples", "tests"):
        (tmp_path / name).symlink_to(ROOT / name)
    with chdir(tmp_path):
        yield tmp_path


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of_videos(tmp_path_factory.mktemp("videos"), 2)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_an_example(name: str) -> None:
    code, out, _ = run(*name.split()[1:], "--help")
    assert code == 0
    assert f"Example: {name} " in out.replace("\n  ", " ") or f"Example: {name}\n" in out + "\n"
    assert COMMANDS[name].help  # type: ignore[attr-defined]
    for parameter in COMMANDS[name].params:  # type: ignore[attr-defined]
        assert getattr(parameter, "help", None), f"{name} {parameter.name} has no help"


# review serves until it is told to stop: its example runs in test_review.py
@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "vidlabel review"])
def test_every_example_runs(name: str, here: Path) -> None:
    example = str(COMMANDS[name].epilog).removeprefix("Example: ")  # type: ignore[attr-defined]
    args = shlex.split(example)[1:]
    # weights as `models pull` leaves them, but tiny
    home = {"VIDLABEL_HOME": str(pulled(here / "home"))} if name == "vidlabel score" else None
    code, out, err = run(*args, env=home)
    assert code == 0, err
    if "--out" in args:
        assert (here / args[args.index("--out") + 1]).exists()
    else:
        assert out


@pytest.mark.parametrize("page", ["README.md", "README.zh.md"])
def test_readme_commands_are_commands_with_their_options(page: str) -> None:
    """Every `vidlabel ...` line of the README names a command, and options, that there are."""
    text = (ROOT / page).read_text(encoding="utf-8")
    lines = re.findall(r"^(?:\$ )?(vidlabel .+)$", text, flags=re.MULTILINE)
    assert lines
    for line in lines:
        words = shlex.split(line.split(" #")[0])
        name = next(
            (name for name in sorted(COMMANDS, key=len, reverse=True) if f"{line} ".startswith(f"{name} ")), None
        )
        assert name is not None, line
        known = {option for parameter in COMMANDS[name].params for option in parameter.opts}  # type: ignore[attr-defined]
        used = {word.split("=")[0] for word in words if word.startswith("--")}
        assert used <= known | {"--help"}, line


TOY = ["caption", "--model", "shapes", "--per-clip", "3", "--max-new-tokens", "12", "--workers", "1"]
SPOKEN = ["clip_id", "instruction", "caption", "num_tokens", "finish_reason"]


@pytest.fixture(scope="module")
def toy_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return two_scenes(tmp_path_factory.mktemp("toy") / "a.mp4", 1)


@pytest.fixture(scope="module")
def spoken(toy_video: Path) -> list[dict[str, str]]:
    """What transformers' own decoding says about it."""
    out = toy_video.with_name("labels.parquet")
    assert run(*TOY, str(toy_video), "--out", str(out), "--engine", "generate")[0] == 0
    rows: list[dict[str, str]] = pq.read_table(out).select(SPOKEN).to_pylist()
    assert len(rows) >= 6
    return rows


WRONG: list[tuple[list[str], str]] = [
    (["caption", "nowhere", "--out", "l.parquet", "--model", "echo"], r"nowhere: cannot be opened"),
    (["caption", "v", "--out", "l.csv", "--model", "echo"], r"l\.csv: labels are in a \.parquet"),
    (["caption", "v", "--out", "l.parquet", "--model", "nope"], r"--model nope: neither a folder nor one of"),
    (["caption", "v", "--out", "l.parquet"], r"vidlabel models pull mistral.*\(about 17 GB\)"),
    (["caption", "v", "--out", "l.parquet", "--model", "echo", "--prompts", "nope"], r"--prompts nope: no such pool"),
    (["caption", "v", "--out", "l.parquet", "--model", "echo", "--language", "xx"], r"--language xx: .* en, zh"),
    (["caption", "v", "--out", "l.parquet", "--model", "echo", "--per-clip", "99"], r"--per-clip 99"),
    (["caption", "v", "--out", "l.parquet", "--model", "echo", "--detector", "nope"], r"nope.*content"),
    (["caption", "v", "--out", "l.parquet", "--model", "echo", "--min-clip", "9", "--max-clip", "9"], r"--min-clip"),
    (["caption", "v", "--out", "l.parquet", "--model", "echo", "--time-budget", "soon"], r"--time-budget soon: .*2h"),
    (["caption", "v", "--out", "l.parquet", "--model", "echo", "--top-p", "2"], r"top_p"),
    (["caption", "v", "--out", "l.parquet", "--model", "echo", "--slots", "4"], r"--slots 4: .*echo decodes nothing"),
    (
        ["caption", "v", "--out", "l.parquet", "--model", "shapes", "--engine", "generate", "--slots", "4"],
        r"--slots 4: .*generate takes --batch-size",
    ),
    (
        ["caption", "v", "--out", "l.parquet", "--model", "echo", "--batch-size", "4"],
        r"--batch-size 4: belongs to --engine generate",
    ),
    (["caption", "v", "--out", "l.parquet", "--model", "echo", "--quantize", "8bit"], r"--quantize 8bit: echo has no"),
    (["caption", "v", "--out", "l.parquet", "--model", "echo", "--compile-vision"], r"--compile-vision: echo has no"),
    (["caption", "empty", "--out", "l.parquet", "--model", "echo"], r"no videos in empty"),
    (["caption", "bad.csv", "--out", "l.parquet", "--model", "echo"], r"bad\.csv.*no video column"),
    (
        ["caption", "v", "--out", "l.parquet", "--model", "echo", "--levels", "short,big"],
        r"no level 'big'; there are short",
    ),
    (["caption", "v", "--out", "l.parquet", "--model", "echo", "--levels", "short,short"], r"each level once"),
    (
        ["caption", "v", "--out", "l.parquet", "--model", "echo", "--levels", "short", "--prompts", "caption"],
        r"--levels short: .*leave out --prompts caption",
    ),
    (
        ["caption", "v", "--out", "l.parquet", "--model", "echo", "--rewrite", "merge"],
        r"--rewrite merge: .*--per-clip 2",
    ),
    (
        ["caption", "v", "--out", "l.parquet", "--model", "echo", "--prompts", "qa-what"],
        r"qa-what: a pool of qa prompts",
    ),
    (
        ["qa", "v", "--out", "l.parquet", "--model", "echo", "--prompts", "caption"],
        r"caption: a pool of caption prompts",
    ),
    (["qa", "v", "--out", "l.parquet", "--model", "echo", "--prompts", "qa-who,qa-who"], r"two pools of one name"),
    (["qa", "v", "--out", "l.parquet", "--model", "echo", "--per-clip", "999"], r"--per-clip 999: the pools have"),
    (["qa", "v", "--out", "l.parquet", "--model", "echo", "--language", "fr"], r"--language fr: .* en, zh"),
    (["qa", "q.csv", "--out", "l.parquet", "--model", "echo", "--per-clip", "2"], r"--per-clip 2: the manifest says"),
    (["qa", "q.csv", "--out", "l.parquet", "--model", "echo", "--prompts", "qa-who"], r"questions of its own"),
    (["split", "v", "--out", "clips.txt"], r"--out clips\.txt"),
    (["models", "check", "echo"], r"no weights"),
    (["models", "pull", "nope"], r"nope: the models that can be pulled are"),
    (["models", "convert", "--out", "x"], r"--vision"),
    (["models", "convert", "m", "--out", "x", "--to", "reference", "--frames", "9"], r"--frames 9: .*leave it out"),
    (["prompts", "show", "nope"], r"no such pool; there are"),
]


@pytest.mark.parametrize(("args", "message"), WRONG, ids=[" ".join(args) for args, _ in WRONG])
def test_wrong_input_is_one_clear_line_and_exit_2(args: list[str], message: str, tmp_path: Path, videos: Path) -> None:
    (tmp_path / "v").symlink_to(videos)
    (tmp_path / "q.csv").write_text(f"video,question\n{videos / 'video000.mp4'},Who is it?\n")
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.csv").write_text("name\nx.mp4\n")
    before = sorted(tmp_path.iterdir())
    with chdir(tmp_path):
        code, out, err = run(*args, env={"VIDLABEL_HOME": str(tmp_path / "home")})
    assert (code, out) == (2, "")
    assert re.search(message, err), err
    assert err.startswith("vidlabel: ")
    assert err.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before, "nothing is written before the input is checked"


def test_caption_by_command_line_and_its_summary(videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "labels.parquet"
    code, stdout, stderr = run("caption", str(videos), "--out", str(out), "--model", "echo", "--workers", "2")
    assert (code, stdout) == (0, "")
    assert "2 videos, 4 clips, 4 labels" in stderr
    assert pq.read_table(out).num_rows == 4


@pytest.mark.parametrize(
    "options",
    [[], ["--slots", "2"], ["--engine", "generate"], ["--engine", "generate", "--batch-size", "2"]],
    ids=["slots", "two slots", "generate", "generate in twos"],
)
def test_every_engine_gives_the_same_labels(
    options: list[str], tmp_path: Path, toy_video: Path, spoken: list[dict[str, str]]
) -> None:
    out = tmp_path / "labels.parquet"
    code, _, stderr = run(*TOY, *options, str(toy_video), "--out", str(out))
    assert code == 0, stderr
    assert pq.read_table(out).select(SPOKEN).to_pylist() == spoken


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="compiling for a CPU needs g++")
@pytest.mark.filterwarnings("default")  # torch's compiler has some of its own
def test_compiled_vision_gives_the_same_labels(tmp_path: Path, toy_video: Path, spoken: list[dict[str, str]]) -> None:
    out = tmp_path / "labels.parquet"
    code, _, stderr = run(*TOY, "--compile-vision", str(toy_video), "--out", str(out))
    assert code == 0, stderr
    assert pq.read_table(out).select(SPOKEN).to_pylist() == spoken


def test_how_weights_were_rounded_is_part_of_the_settings_and_what_decodes_is_not(tmp_path: Path) -> None:
    """Labels of quantised weights never mix with others; another engine or another number of slots goes on."""
    folder = folder_of_videos(tmp_path / "videos", 1)
    for engine in ("slots", "generate"):
        args = ["caption", str(folder), "--out", str(tmp_path / "l.parquet"), "--model", "echo", "--engine", engine]
        assert run(*args)[0] == 0
    recorded = pq.read_schema(tmp_path / "l.parquet").metadata
    settings = json.loads(next(value for value in recorded.values() if b'"answers"' in value))
    assert settings["answers"]["quantize"] == "none"
    assert "engine" not in json.dumps(settings)


def test_some_videos_failed_is_exit_3_and_says_why(tmp_path: Path) -> None:
    folder = folder_of_videos(tmp_path / "videos", 1)
    (folder / "empty.mp4").touch()
    code, _, stderr = run("caption", str(folder), "--out", str(tmp_path / "l.jsonl"), "--model", "echo")
    assert code == 3
    assert "1 failed; see " in stderr
    assert "l.failures.jsonl" in stderr
    assert "1 x the file is empty" in stderr
    assert len((tmp_path / "l.jsonl").read_text().splitlines()) == 2


def test_json_log_is_one_object_a_line(videos: Path, tmp_path: Path) -> None:
    args = ["caption", str(videos), "--out", str(tmp_path / "l.parquet"), "--model", "echo", "--log-format", "json"]
    code, _, stderr = run(*args)
    events = [json.loads(line) for line in stderr.splitlines()]
    assert (code, events[-1]["event"], events[-1]["labels"]) == (0, "summary", 4)


def test_paths_on_stdin_are_labelled(videos: Path, tmp_path: Path) -> None:
    listed = "".join(f"{path}\n" for path in sorted(videos.iterdir()))
    code, _, stderr = run("caption", "-", "--out", str(tmp_path / "labels"), "--model", "echo", stdin=listed)
    assert code == 0, stderr
    assert pq.read_table(tmp_path / "labels").num_rows == 4


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_split_output_is_a_manifest_that_caption_takes(videos: Path, tmp_path: Path, suffix: str) -> None:
    clips, whole, parts = tmp_path / f"clips.{suffix}", tmp_path / "whole.parquet", tmp_path / "parts.parquet"
    assert run("split", str(videos), "--out", str(clips))[0] == 0
    assert run("caption", str(clips), "--out", str(parts), "--model", "echo")[0] == 0
    assert run("caption", str(videos), "--out", str(whole), "--model", "echo")[0] == 0
    columns = ["clip_id", "video_id", "start_seconds", "end_seconds", "instruction"]
    by_clips, by_folder = (pq.read_table(path).select(columns).to_pylist() for path in (parts, whole))
    assert by_clips == by_folder
    assert len(by_clips) == 4


def test_dry_run_says_what_would_be_done(videos: Path, tmp_path: Path) -> None:
    code, out, _ = run("caption", str(videos), "--out", str(tmp_path / "l.parquet"), "--model", "echo", "--dry-run")
    assert (code, out) == (0, "2 videos to label, 0 done, 0 given up\n")
    assert list(tmp_path.iterdir()) == []


def test_shapes_warns_that_it_knows_only_its_own_world(tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    two_scenes(folder / "a.mp4", 1)
    _, _, stderr = run("caption", str(folder), "--out", str(tmp_path / "l.parquet"), "--model", "shapes")
    assert "shapes knows only generated videos of coloured shapes" in stderr


def test_levels_and_structured_are_columns_of_one_file(videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "l.parquet"
    levels = ["--levels", "short,medium,detailed,structured", "--retry-flagged", "1", "--strip-openings"]
    code, _, stderr = run("caption", str(videos), "--out", str(out), "--model", "echo", *levels)
    assert code == 0, stderr
    table = pq.read_table(out)
    assert Counter(table["level"].to_pylist()) == dict.fromkeys(("short", "medium", "detailed", "structured"), 4)
    assert all((row["mood"] is not None) == (row["level"] == "structured") for row in table.to_pylist())
    assert {"subject", "action", "setting", "camera", "mood", "attempt"} < set(table.column_names)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_qa_without_questions_makes_pairs_from_pools(videos: Path, tmp_path: Path, language: str) -> None:
    out = tmp_path / "qa.parquet"
    options = ["--language", language, "--verify", "1", "--propose", "1", "--per-clip", "3"]
    code, _, stderr = run("qa", str(videos), "--out", str(out), "--model", "echo", *options)
    assert code == 0, stderr
    rows = pq.read_table(out).to_pylist()
    assert (len(rows), {row["language"] for row in rows}) == (16, {language})
    assert all(row["pool"].startswith("qa-") and row["question"] and row["agreement"] is not None for row in rows)
    assert run("qa", str(videos), "--out", str(out), "--model", "echo", *options)[0] == 0
    assert pq.read_table(out).num_rows == 16
    code, _, stderr = run("qa", str(videos), "--out", str(out), "--model", "echo", "--language", language)
    assert code == 2
    assert "answers.verify: absent, was 1" in stderr


def test_a_manifest_with_questions_may_have_others_proposed(videos: Path, tmp_path: Path) -> None:
    manifest, out = tmp_path / "q.csv", tmp_path / "qa.parquet"
    manifest.write_text(f"video,start,end,question\n{videos / 'video000.mp4'},0,1,Who is it?\n")
    assert run("qa", str(manifest), "--out", str(out), "--model", "echo", "--propose", "2")[0] == 0
    assert Counter(row["pool"] == "manifest" for row in pq.read_table(out).to_pylist()) == {True: 1, False: 2}
