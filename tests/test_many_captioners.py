"""Several captioners, each a process: the same labels as one makes, whichever of them dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.mortal_captioners import SlowEcho, breaks, mortal, refuses
from tests.runs import folder_of_videos, job, label, label_ids, rows, two_scenes
from tests.test_shards import without_times
from vidlabel.captioner import EchoCaptioner
from vidlabel.cli import app
from vidlabel.config import Limits
from vidlabel.data import Answer, AskedClip
from vidlabel.errors import InputError
from vidlabel.executors.asking import Died, Event, ManyCaptioners
from vidlabel.executors.choice import LocalExecutor, window_of

ROOT = Path(__file__).parent.parent
TWO = LocalExecutor(num_captioners=2, window=4)


def reasons(out: Path) -> str:
    file = out.with_suffix(".failures.jsonl")
    return file.read_text() if file.exists() else ""


def test_three_captioner_processes_make_what_one_captioner_makes(tmp_path: Path) -> None:
    videos, one, three = folder_of_videos(tmp_path / "videos", 6), tmp_path / "one.parquet", tmp_path / "three.parquet"
    (videos / "garbage.mp4").write_bytes(b"garbage" * 100)
    label(videos, job(one))
    executor = LocalExecutor(num_captioners=3, window=3)
    summary = label(videos, job(three, load_captioner=partial(mortal, tmp_path), executor=executor))
    assert len(list(tmp_path.glob("pid-*"))) > 1, "one process did it all"
    assert without_times(three) == without_times(one)
    assert summary.num_failures == 1
    assert reasons(three) == reasons(one)


def test_captioner_killed_once_loses_and_doubles_nothing(tmp_path: Path) -> None:
    videos, out = folder_of_videos(tmp_path / "videos", 5), tmp_path / "labels.parquet"
    two_scenes(videos / "dies_once.mp4", 50)
    summary = label(videos, job(out, load_captioner=partial(mortal, tmp_path), executor=TWO))
    assert len(list(tmp_path.glob("died-*"))) == 2
    assert len(label_ids(out)) == 12
    assert summary.num_failures == 0
    for row in rows(out):
        assert f"echo of clip {row['clip_id']}," in str(row["caption"])


@pytest.mark.parametrize(("name", "reason"), [("dies", "SIGKILL"), ("raises", "illegal memory access")])
def test_clip_that_kills_each_captioner_is_the_only_failure(tmp_path: Path, name: str, reason: str) -> None:
    videos, out = folder_of_videos(tmp_path / "videos", 4), tmp_path / "labels.parquet"
    two_scenes(videos / f"{name}.mp4", 50)
    summary = label(videos, job(out, load_captioner=partial(mortal, tmp_path), executor=TWO))
    assert len(label_ids(out)) == 8
    assert summary.num_failures == 2  # its two clips
    assert reasons(out).count(f'"path": "{name}.mp4"') == 2
    assert reasons(out).count("the captioner died 3 times with this clip") == 2
    assert reason in reasons(out)


def test_clip_without_an_answer_is_a_failure_also_from_another_process(tmp_path: Path) -> None:
    videos, out = folder_of_videos(tmp_path / "videos", 2), tmp_path / "labels.parquet"
    two_scenes(videos / "drops.mp4", 50)
    label(videos, job(out, load_captioner=partial(mortal, tmp_path), executor=TWO))
    assert len(label_ids(out)) == 4
    assert reasons(out).count("the model gave no answer") == 2


def test_model_that_cannot_be_loaded_says_why(tmp_path: Path) -> None:
    videos = folder_of_videos(tmp_path / "videos", 1)
    with pytest.raises(InputError, match="its weights are not here"):
        label(videos, job(tmp_path / "labels.parquet", load_captioner=refuses, executor=TWO))
    with pytest.raises(RuntimeError, match="a bug in loading"):
        label(videos, job(tmp_path / "labels.parquet", load_captioner=breaks, executor=TWO))


def test_stopped_run_with_several_captioners_saves_and_killed_one_leaves_no_process(tmp_path: Path) -> None:
    videos, out = folder_of_videos(tmp_path / "videos", 12), tmp_path / "labels.parquet"
    code = (
        "import sys; from pathlib import Path; from tests.test_many_captioners import slow_run; "
        "sys.exit(slow_run(Path(sys.argv[1]), Path(sys.argv[2])))"
    )
    for number in (signal.SIGTERM, signal.SIGKILL):
        run = subprocess.Popen([sys.executable, "-c", code, str(videos), str(out)], cwd=ROOT, start_new_session=True)
        work = out.with_name(out.name + ".work")
        before = len(list(work.glob("part-*.parquet")))
        while len(list(work.glob("part-*.parquet"))) == before:
            assert run.poll() is None, "it ended before anything was saved"
            time.sleep(0.02)
        os.kill(run.pid, number)
        assert run.wait(timeout=60) == (143 if number == signal.SIGTERM else -9)
        deadline = time.monotonic() + 15
        while _members(run.pid) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert _members(run.pid) == []
    label(videos, job(out))
    assert len(label_ids(out)) == 24


def slow_run(videos: Path, out: Path) -> int:
    limits = Limits(num_workers=1, batch_size=1, flush_seconds=0.05)
    return label(videos, job(out, limits=limits, load_captioner=SlowEcho, executor=TWO)).exit_code


def _members(session: int) -> list[int]:
    members = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = file.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended meanwhile
        if int(fields[3]) == session and fields[0] != "Z":
            members.append(int(file.parent.name))
    return members


def test_captioners_option_makes_the_labels_of_one(tmp_path: Path) -> None:
    for name, options in {"one": [], "two": ["--captioners", "2"]}.items():
        out = str(tmp_path / f"{name}.parquet")
        arguments = ["caption", "examples/videos", "--model", "echo", "--limit", "2", "--out", out, *options]
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
    assert without_times(tmp_path / "two.parquet") == without_times(tmp_path / "one.parquet")


class _DyingAtOnce:
    """Loads, and dies whenever it is sent a clip."""

    def __init__(self) -> None:
        self.num_sent = 0

    def ready(self) -> Collection[int]:
        return [0]

    def send(self, number: int, asked: AskedClip) -> None:
        self.num_sent += 1

    def flush(self, number: int) -> None:
        pass

    def poll(self, wait_seconds: float) -> list[Event]:
        return [Died(0, "SIGBUS")]


def test_machine_on_which_every_captioner_dies_stops_the_run(asked_clips: list[AskedClip]) -> None:
    with pytest.raises(RuntimeError, match=r"captioners died 13 times without an answer: SIGBUS"):
        list(ManyCaptioners(_DyingAtOnce(), window=2).answer(asked_clips * 10))


class _HoldingBack:
    """One that answers nothing until it has four clips or is flushed, as a batch does; and dies at the clip of v5."""

    def __init__(self) -> None:
        self.clips: list[AskedClip] = []
        self.is_flushed = False

    def ready(self) -> Collection[int]:
        return [0]

    def send(self, number: int, asked: AskedClip) -> None:
        self.clips.append(asked)
        self.is_flushed = False

    def flush(self, number: int) -> None:
        self.is_flushed = True

    def poll(self, wait_seconds: float) -> list[Event]:
        assert self.clips, "it is waited for and has nothing"
        assert len(self.clips) == 4 or self.is_flushed, "it would wait for ever"
        clips, self.clips = self.clips, []
        if any(asked.clip.video.video_id == "v5" for asked in clips):
            return [Died(0, "SIGKILL")]
        return list(EchoCaptioner().answer(clips))


def test_one_that_holds_answers_back_is_never_waited_for_in_vain(asked_clips: list[AskedClip]) -> None:
    answers = list(ManyCaptioners(_HoldingBack(), window=4).answer(asked_clips))
    assert sorted(answer.clip_id for answer in answers) == sorted(asked.clip.clip_id for asked in asked_clips)
    assert [answer.clip_id for answer in answers if answer.error] == ["v5-c"]


class _Recording:
    """Echoes in this process and notes how many clips it was ever given at once."""

    def __init__(self) -> None:
        self.inbox: dict[int, list[AskedClip]] = {0: [], 1: []}
        self.most = 0

    def ready(self) -> Collection[int]:
        return [0, 1]

    def send(self, number: int, asked: AskedClip) -> None:
        self.inbox[number].append(asked)
        self.most = max(self.most, len(self.inbox[number]))

    def flush(self, number: int) -> None:
        pass

    def poll(self, wait_seconds: float) -> list[Event]:
        events: list[Event] = []
        for clips in self.inbox.values():
            if clips:
                events += list(EchoCaptioner().answer([clips.pop()]))
        return events


def test_window_is_filled_and_never_exceeded(asked_clips: list[AskedClip]) -> None:
    captioners = _Recording()
    answers: list[Answer] = list(ManyCaptioners(captioners, window=3).answer(asked_clips))
    assert captioners.most == 3
    assert {answer.clip_id for answer in answers} == {asked.clip.clip_id for asked in asked_clips}
    assert len(answers) == len(asked_clips)


@pytest.fixture
def asked_clips() -> list[AskedClip]:
    import numpy as np

    from vidlabel.data import Clip, Frames, Question, Video, VideoInfo

    frames = Frames(np.zeros((1, 4, 4, 3), np.uint8), np.zeros(1))
    info = VideoInfo(4, 4, 25.0, 1.0, "h264")
    videos = [Video(f"v{number}", f"v{number}", f"/v{number}") for number in range(12)]
    return [AskedClip(Clip(f"{v.video_id}-c", v, info, 0.0, 1.0), frames, (Question("what?", "p"),)) for v in videos]


def test_window_holds_all_slots_or_a_whole_batch() -> None:
    assert window_of(Limits(num_slots=16), device="cuda") >= 16
    assert window_of(Limits(), device="cuda") >= 64
    assert window_of(Limits(engine="generate", batch_size=100), device="cpu") >= 100
