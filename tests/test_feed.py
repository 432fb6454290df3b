"""Between decode workers and captioner: clips arrive whole, nobody has to wait for them, nothing stays behind."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests import faults
from tests.make_videos import make_clip, noise_scene, write_video
from tests.runs import folder_of_videos, job, label, rows, two_scenes
from vidlabel import pipeline
from vidlabel.captioner import EchoCaptioner
from vidlabel.config import FrameSettings, Limits
from vidlabel.data import Answer, AskedClip, Clip, Frames
from vidlabel.executors.follow_ups import WithFollowUps
from vidlabel.executors.handover import FrameMemory, Sent, sample_into
from vidlabel.executors.workers import DecodeWorkers
from vidlabel.frames import sample_frames
from vidlabel.pipeline import Stages, default_stages

SETTINGS = FrameSettings(num_frames=5, image_size=40)


def open_frame_memories() -> int:
    folder = Path("/proc/self/fd")
    return sum("vidlabel-frames" in str(file.readlink()) for file in folder.iterdir() if file.is_symlink())


def sample_when_told(clip: Clip, settings: FrameSettings) -> Frames:
    """Waits for a file `go` beside the video."""
    while not (Path(clip.video.location).parent / "go").exists():
        time.sleep(0.01)
    return pipeline.sample_frames(clip, settings)


class PatientCaptioner:
    """Pulls only when it would not wait, and gives the sign for the first clip itself."""

    def __init__(self, go: Path) -> None:
        self.go = go
        self.num_waits = 0
        self.order: list[str] = []

    def answer(self, clips: Iterable[AskedClip]) -> Iterator[Answer]:
        assert isinstance(clips, WithFollowUps)
        assert clips.would_wait()
        self.go.touch()
        pulled = iter(clips)
        while True:
            while clips.would_wait():
                self.num_waits += 1
                time.sleep(0.01)
            asked = next(pulled, None)
            if asked is None:
                return
            self.order.append(asked.clip.clip_id)
            yield from EchoCaptioner().answer([asked])


def test_frames_come_out_of_a_worker_as_they_were_sampled(tmp_path: Path) -> None:
    clip = make_clip(str(write_video(tmp_path / "a.mp4", noise_scene(25, (90, 120, 30), width=64, height=48))))
    expected = sample_frames(clip, SETTINGS)
    memory = FrameMemory()
    with DecodeWorkers[str](num_workers=1, memory_mb=4096) as workers:
        workers.submit("a", sample_into, memory.path, pipeline.sample_frames, clip, SETTINGS, seconds=60)
        while not (done := workers.finished(1.0)):
            pass
    ((_, sent),) = done
    assert isinstance(sent, Sent)
    got = memory.receive(sent)
    memory.close()
    assert np.array_equal(got.images, expected.images)
    assert np.array_equal(got.pts_seconds, expected.pts_seconds)
    assert (got.cues, got.subtitle_source, got.damaged) == (
        expected.cues,
        expected.subtitle_source,
        expected.damaged,
    )


def test_what_a_dead_worker_left_in_the_memory_is_not_seen(tmp_path: Path) -> None:
    clip = make_clip(str(write_video(tmp_path / "a.mp4", noise_scene(25, (90, 120, 30), width=64, height=48))))
    memory = FrameMemory()
    Path(memory.path).write_bytes(b"\xaa" * 100)  # half-way through an earlier attempt
    sent = sample_into(memory.path, sample_frames, clip, SETTINGS)
    assert np.array_equal(memory.receive(sent).images, sample_frames(clip, SETTINGS).images)
    memory.close()


def test_captioner_with_other_work_is_told_whether_the_next_clip_is_there(tmp_path: Path) -> None:
    folder, out = folder_of_videos(tmp_path / "videos", 3), tmp_path / "labels.parquet"
    captioner = PatientCaptioner(folder / "go")
    stages = Stages(find_clips=default_stages().find_clips, sample_frames=sample_when_told)
    summary = label(folder, job(out, captioner=captioner, stages=stages))
    assert (summary.exit_code, summary.num_clips) == (0, 6)
    assert captioner.num_waits
    assert sorted(captioner.order) == sorted(str(row["clip_id"]) for row in rows(out))


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="memory without a name is Linux")
def test_no_memory_stays_open_after_a_run_with_failures(tmp_path: Path) -> None:
    folder = folder_of_videos(tmp_path / "videos", 2)
    for name in ("crashes_in_frames.mp4", "surprises_in_frames.mp4"):
        two_scenes(folder / name, 5)
    before = open_frame_memories()
    summary = label(folder, job(tmp_path / "labels.parquet", stages=faults.STAGES))
    assert (summary.num_clips, sum(summary.reasons.values())) == (4, 4)
    assert open_frame_memories() == before


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="memory without a name is Linux")
def test_no_memory_stays_open_when_the_captioner_gives_up(tmp_path: Path) -> None:
    folder = folder_of_videos(tmp_path / "videos", 4)
    before = open_frame_memories()
    captioner = faults.FaultyCaptioner(0, raise_after=1)
    with pytest.raises(RuntimeError):
        label(folder, job(tmp_path / "labels.parquet", captioner=captioner, limits=Limits(num_workers=2)))
    assert open_frame_memories() == before
