"""Inputs are gone through, not held: the same videos each time, at a few bytes a row, and a plan at a byte a video."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.runs import echo_settings, folder_of_videos, job, label, label_ids
from vidlabel.data import Question, Span, Video, stable_id
from vidlabel.errors import InputError
from vidlabel.inputs import Inputs
from vidlabel.manifest import read_inputs
from vidlabel.manifests.mention import Mention
from vidlabel.plan import Pending


def read(*inputs: Path | str, lines: list[str] | None = None) -> Inputs:
    return read_inputs([str(given_input) for given_input in inputs], root=None, lines=lines)


# --- the same as if all were held


def held(mentions: list[Mention]) -> list[Video] | None:
    """What `Inputs` promises, done the plain way with everything in memory; None where an id names two videos."""
    videos: dict[tuple[str, Span | None], Video] = {}
    asked: dict[tuple[str, Span | None], dict[str, tuple[str | None, Question]]] = {}
    by_id: dict[str, tuple[str, Span | None]] = {}
    by_video_id: dict[str, str] = {}
    for it in mentions:
        key = (it.location, it.span)
        own_id = it.video_id or stable_id(it.identity)
        if key not in videos and it.span is None:
            videos[key] = Video(it.row_id or own_id, it.path, it.location, extra=it.extra)
        elif key not in videos:
            videos[key] = Video(own_id, it.path, it.location, it.span, it.row_id, extra=it.extra)
        if it.row_id is not None and by_id.setdefault(it.row_id, key) != key:
            return None
        if it.video_id is not None and by_video_id.setdefault(it.video_id, it.location) != it.location:
            return None
        if it.question is not None:
            asked.setdefault(key, {}).setdefault(it.question.text, (it.row_id, it.question))
    return [_with_questions(video, list(asked.get(key, {}).values())) for key, video in videos.items()]


def _with_questions(video: Video, asked: list[tuple[str | None, Question]]) -> Video:
    own_id = video.video_id if video.span is None else video.clip_id
    if all(row_id in (None, own_id) for row_id, _ in asked):
        return replace(video, questions=tuple(question for _, question in asked))
    return replace(video, questions=tuple(replace(q, extra={"id": row_id, **q.extra}) for row_id, q in asked))


def mention(
    place: int, video: str, span: Span | None, row_id: str | None, video_id: str | None, text: str | None
) -> Mention:
    return Mention(
        where=("m.csv", place),
        location=f"/v/{video}",
        identity=video,
        path=video,
        span=span,
        row_id=row_id,
        video_id=None if span is None else video_id,
        question=None if text is None else Question(text, pool="manifest", task="qa", extra={"place": place}),
        extra={"place": place},
    )


ROWS = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.sampled_from([None, Span(0.0, 1.0), Span(1.0, None)]),
        st.sampled_from([None, None, None, "1", "2"]),
        st.sampled_from([None, None, "v"]),
        st.sampled_from([None, "Who?", "Why?"]),
    ),
    max_size=12,
)


@given(ROWS)
def test_videos_are_those_that_holding_all_rows_would_give(
    rows: list[tuple[str, Span | None, str | None, str | None, str | None]],
) -> None:
    mentions = [mention(place, *row) for place, row in enumerate(rows)]
    expected = held(mentions)
    if expected is None:
        with pytest.raises(InputError, match="it must name one video or span"):
            Inputs(lambda: iter(mentions))
        return
    inputs = Inputs(lambda: iter(mentions))
    assert list(inputs) == list(inputs) == expected
    assert len(inputs) == len(expected)
    assert inputs.most_questions == max((len(video.questions) for video in expected), default=0)


# --- memory


def test_millions_of_rows_are_not_held(tmp_path: Path) -> None:
    num_rows = 40_000
    file = tmp_path / "m.csv"
    with file.open("w") as stream:
        stream.write("video,id,start,end,caption\n")
        stream.writelines(
            f"videos/{i // 4}.mp4,clip{i},{i % 4},{i % 4 + 0.5},a caption of row {i}\n" for i in range(num_rows)
        )
    tracemalloc.start()
    try:
        inputs = read(file)
        for _ in inputs:
            pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(inputs) == num_rows
    assert peak / num_rows < 150  # as Videos in a list they take more than 1,500


# --- what changes while a run goes on


def test_manifest_that_changes_between_two_passes_stops_the_run(tmp_path: Path) -> None:
    file = tmp_path / "m.csv"
    file.write_text("video\na.mp4\nb.mp4\n")
    inputs = read(file)
    assert len(list(inputs)) == 2
    file.write_text("video\na.mp4\nc.mp4\n")
    os.utime(file, ns=(0, 0))
    with pytest.raises(InputError, match=r"m\.csv: has changed since this run began to read it; run the same command"):
        list(inputs)


def test_rows_that_come_while_the_manifest_is_read_wait_for_the_next_run(tmp_path: Path) -> None:
    file = tmp_path / "m.csv"
    file.write_text("video\n" + "".join(f"{i:06}.mp4\n" for i in range(5000)))  # more than is read ahead
    inputs = read(file)
    videos = iter(inputs)
    first = next(videos)
    with file.open("a") as stream:
        stream.write("late.mp4\n")
    assert [first.path, *(video.path for video in videos)] == [f"{i:06}.mp4" for i in range(5000)]


def test_folder_and_stdin_are_read_once(tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    (folder / "a.mp4").touch()

    def lines() -> Iterator[str]:
        yield "b.mp4\n"

    inputs = read_inputs([str(folder), "-"], root=None, lines=lines())
    (folder / "later.mp4").touch()
    assert [video.path for video in inputs] == [video.path for video in inputs] == ["a.mp4", "b.mp4"]


def test_file_that_goes_meanwhile_is_still_a_video_and_a_manifest_is_an_error(tmp_path: Path) -> None:
    video, manifest = tmp_path / "a.mp4", tmp_path / "m.csv"
    video.touch()
    inputs = read(video)
    video.unlink()
    assert [it.path for it in inputs] == [str(video)]
    manifest.write_text("video\nb.mp4\n")
    inputs = read(manifest)
    manifest.unlink()
    with pytest.raises(InputError, match=r"m\.csv: cannot be read: No such file"):
        list(inputs)


def test_a_pipe_is_no_manifest(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m.csv")
    with pytest.raises(InputError, match=r"m\.csv: a manifest is read more than once, so it must be a regular file"):
        read(tmp_path / "m.csv")


# --- the plan


def test_pending_videos_are_picked_from_all_of_them(tmp_path: Path) -> None:
    videos = [Video(name, name, f"/{name}") for name in "abcde"]
    pending = Pending(videos, bytearray([0, 1, 0, 1, 1]), 3)
    assert [video.video_id for video in pending] == [video.video_id for video in pending] == ["b", "d", "e"]
    assert [video.video_id for video in pending.first(2)] == ["b", "d"]
    assert (len(pending.first(2)), len(pending.first(9)), len(pending.first(None))) == (2, 3, 3)


def test_limit_takes_from_a_manifest_what_is_not_done_until_all_is(tmp_path: Path) -> None:
    folder_of_videos(tmp_path, 3)
    file, out = tmp_path / "m.csv", tmp_path / "labels.parquet"
    rows = [f"video{i:03}.mp4,{start},{start + 0.5}\n" for i in range(3) for start in (0.0, 1.0)]
    file.write_text("video,start,end\n" + "".join(rows))
    seen: list[int] = []
    for _ in range(4):
        label(file, job(out, limit=2, settings=echo_settings()))
        seen.append(len(label_ids(out)))
    assert seen == [2, 4, 6, 6]


def test_benchmark_plans_what_the_parts_of_a_killed_run_leave() -> None:
    command = [sys.executable, "-m", "benchmarks.planning", "--rows", "2000", "--only", "spans, csv, killed"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parent.parent)
    (killed,) = done.stdout.splitlines()[2:]
    assert killed.startswith("spans, csv, killed")
