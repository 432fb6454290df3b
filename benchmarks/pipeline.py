"""How much of the bare decoding speed the whole pipeline keeps: `python -m benchmarks.pipeline [VIDEO ...]`.

Baseline, measured in turn in the same run: a loop that only samples frames (`vidlabel.frames.sample_frames`) of the
same clips in as many processes and throws them away. Against it the whole run: plan, start of the workers, feed, echo
captioner, parts, merge. Neither detects scenes (`--split none`). Prints clips per second of both, medians over the
pairs, and the ratio; the goal is 0.9.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from vidlabel.captioner import EchoCaptioner
from vidlabel.config import AnswerSettings, FrameSettings, Limits, SceneSettings, Settings
from vidlabel.cores import available_cores
from vidlabel.data import Clip
from vidlabel.executors.worker_imports import single_thread
from vidlabel.executors.workers import PRELOADED
from vidlabel.manifest import read_inputs
from vidlabel.outputs import parse_output
from vidlabel.pipeline import default_stages, find_clips, sample_frames
from vidlabel.prompts import load_pool
from vidlabel.run import Job, run

FRAMES = FrameSettings(num_frames=45, image_size=224)
SCENES = SceneSettings(split="none")


def make_folder(folder: Path, sources: list[Path], count: int) -> Path:
    """`count` names for the given files, or for one generated 720p file: a decoder does not know they are links."""
    folder.mkdir()
    if not sources:
        from tests.make_videos import noise_scene, write_video

        pictures = noise_scene(250, (120, 90, 60), width=1280, height=720)
        sources = [write_video(folder.parent / "source.mp4", pictures, gop=250)]
    for number in range(count):
        source = sources[number % len(sources)]
        (folder / f"{number:04}{source.suffix}").symlink_to(source.resolve())
    return folder


def bare_loop(clips: list[Clip], workers: ProcessPoolExecutor) -> float:
    """Seconds to sample all clips and do nothing with them."""
    started = time.perf_counter()
    for _ in workers.map(partial(_sample_and_drop, FRAMES), clips):
        pass
    return time.perf_counter() - started


def _sample_and_drop(settings: FrameSettings, clip: Clip) -> int:
    return len(sample_frames(clip, settings).images)


def whole_run(folder: Path, out: Path, num_workers: int) -> tuple[float, float]:
    """Seconds of a run, and of the whole call with the start of its workers and the merge."""
    pool = load_pool("caption")
    settings = Settings(
        "caption", SCENES, FRAMES, AnswerSettings("echo", "echo-1", pool.name, pool.fingerprint, dtype="float32")
    )
    job = Job(
        output=parse_output(out),
        settings=settings,
        limits=Limits(num_workers=num_workers),
        pools=(pool,),
        stages=default_stages(),
        load_captioner=EchoCaptioner,
    )
    videos = read_inputs([str(folder)], root=None, lines=None)
    started = time.perf_counter()
    summary = run(videos, job)
    assert summary.num_clips == len(videos), summary
    return summary.seconds, time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="*", type=Path)
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--workers", type=int, default=available_cores())
    options = parser.parse_args()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    with tempfile.TemporaryDirectory() as temporary:
        folder = make_folder(Path(temporary) / "videos", options.videos, options.clips)
        videos = read_inputs([str(folder)], root=None, lines=None)
        clips = [find_clips(video, SCENES)[0] for video in videos]
        with ProcessPoolExecutor(options.workers, mp_context=context, initializer=single_thread) as workers:
            list(workers.map(partial(_sample_and_drop, FRAMES), clips[: options.workers]))  # started and warm
            bare, piped = [], []
            for number in range(options.pairs):
                bare.append(bare_loop(clips, workers))
                piped.append(whole_run(folder, Path(temporary) / f"labels{number}.parquet", options.workers)[0])
    print(f"{len(clips)} clips of {clips[0].info.width}x{clips[0].info.height}, {options.workers} workers")
    print(f"bare decode loop  {len(clips) / statistics.median(bare):7.2f} clips/s  {_all(bare)}")
    print(f"whole pipeline    {len(clips) / statistics.median(piped):7.2f} clips/s  {_all(piped)}")
    print(
        f"ratio             {statistics.median(b / p for b, p in zip(bare, piped, strict=True)):7.2f} (median of pairs)"
    )


def _all(seconds: list[float]) -> str:
    return "s: " + " ".join(f"{value:.2f}" for value in seconds)


if __name__ == "__main__":
    main()
