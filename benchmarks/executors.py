"""What Ray costs on one machine: `python -m benchmarks.executors [VIDEO ...]` (needs `pip install 'vidlabel[ray]'`).

Baseline, measured in turn in the same run: the local executor on the same clips with as many decode workers. Both use
the echo captioner and detect no scenes. A run's seconds include the start of its workers and actors, not that of the
cluster, which a user has running. Prints clips per second of both, medians over the pairs, and the ratio; the goal is
0.8.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from pathlib import Path

from benchmarks.pipeline import FRAMES, SCENES, make_folder
from vidlabel.captioner import EchoCaptioner
from vidlabel.config import AnswerSettings, Limits, Settings
from vidlabel.cores import available_cores
from vidlabel.executors.choice import Executor, LocalExecutor, window_of
from vidlabel.manifest import read_inputs
from vidlabel.outputs import parse_output
from vidlabel.pipeline import default_stages
from vidlabel.prompts import load_pool
from vidlabel.run import Job, run


def seconds_of(folder: Path, out: Path, executor: Executor, limits: Limits) -> float:
    pool = load_pool("caption")
    job = Job(
        output=parse_output(out),
        settings=Settings("caption", SCENES, FRAMES, AnswerSettings("echo", "echo-1", pool.name, pool.fingerprint)),
        limits=limits,
        pools=(pool,),
        stages=default_stages(),
        load_captioner=EchoCaptioner,
        executor=executor,
    )
    videos = read_inputs([str(folder)], root=None, lines=None)
    summary = run(videos, job)
    assert summary.num_clips == len(videos), summary
    return summary.seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="*", type=Path)
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--workers", type=int, default=available_cores())
    options = parser.parse_args()
    import ray

    from vidlabel.executors.ray_cluster import RayExecutor

    limits = Limits(num_workers=options.workers)
    executors: dict[str, Executor] = {
        "local": LocalExecutor(),
        "ray": RayExecutor(1, window_of(limits, device="cpu")),
    }
    seconds: dict[str, list[float]] = {name: [] for name in executors}
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(
        address="local",
        num_cpus=options.workers,
        include_dashboard=False,
        log_to_driver=False,
        _node_ip_address="127.0.0.1",
        object_store_memory=500_000_000,
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = make_folder(Path(temporary) / "videos", options.videos, options.clips)
        for number in range(options.pairs):
            for name, executor in executors.items():
                out = Path(temporary) / f"{name}{number}.parquet"
                seconds[name].append(seconds_of(folder, out, executor, limits))
    ray.shutdown()
    print(f"{options.clips} clips, {options.workers} workers")
    for name, taken in seconds.items():
        each = " ".join(f"{value:.2f}" for value in taken)
        print(f"{name:6} {options.clips / statistics.median(taken):7.2f} clips/s  s: {each}")
    pairs = zip(seconds["local"], seconds["ray"], strict=True)
    print(f"ratio  {statistics.median(local / ray for local, ray in pairs):7.2f} (median of pairs)")


if __name__ == "__main__":
    main()
