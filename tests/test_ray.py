"""Ray runs make the labels that local runs make, whatever ends in the cluster. Skipped where Ray is not installed."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.mortal_captioners import SlowEcho, mortal, refuses
from tests.runs import folder_of_videos, job, label, label_ids, rows, two_scenes
from tests.test_shards import without_times
from tests.where_runs import NOT_DARK, label_where, skipped_rows, videos_of_both
from vidlabel.captioner import EchoCaptioner
from vidlabel.cli import app
from vidlabel.config import Limits
from vidlabel.errors import InputError
from vidlabel.executors.choice import Cluster, takes_ray

pytest.importorskip("ray", reason="Ray is not installed: pip install 'vidlabel[ray]'")
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),
    pytest.mark.filterwarnings("ignore::FutureWarning:ray"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Ray leaves the files of its child processes to the end
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),  # as which pytest sees those
]

ROOT = Path(__file__).parent.parent
SMALL = 100_000_000  # bytes of Ray's store for frames
OPTIONS: dict[str, Any] = {
    "include_dashboard": False,
    "log_to_driver": False,
    "runtime_env": {"env_vars": {"PYTHONPATH": str(ROOT)}},  # so that actors find the captioners of the tests
}
LIMITS = Limits(num_workers=2, batch_size=2, flush_seconds=0.2)


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Two cores of this machine, reached by no other."""
    import ray

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(address="local", num_cpus=2, object_store_memory=SMALL, _node_ip_address="127.0.0.1", **OPTIONS)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = folder_of_videos(tmp_path_factory.mktemp("videos"), 6)
    (folder / "garbage.mp4").write_bytes(b"garbage" * 100)
    return folder


@pytest.fixture(scope="module")
def local(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("local") / "labels.parquet"
    label(videos, job(out))
    return out


def ray_job(out: Path, *, captioners: int = 1, **changes: object) -> Any:
    from vidlabel.executors.ray_cluster import RayExecutor

    return job(out, limits=LIMITS, executor=RayExecutor(captioners, 4), **changes)


def check_same(out: Path, local: Path) -> None:
    assert label_ids(out) == label_ids(local)
    assert without_times(out) == without_times(local)
    assert out.with_suffix(".failures.jsonl").read_text() == local.with_suffix(".failures.jsonl").read_text()


def kill_one(title: str, work: Path, *, after_parts: int = 1) -> None:
    """Kills -9 a process of Ray's with such a title, once so many parts are saved."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if len(list(work.glob("part-*.parquet"))) >= after_parts:
            for file in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    if file.read_bytes().startswith(b"ray::" + title.encode()):
                        os.kill(int(file.parent.name), signal.SIGKILL)
                        return
                except OSError:
                    continue  # it ended meanwhile
        time.sleep(0.02)


@pytest.mark.usefixtures("cluster")
@pytest.mark.slow
def test_ray_run_makes_what_a_local_run_makes(videos: Path, tmp_path: Path, local: Path) -> None:
    out = tmp_path / "labels.parquet"
    summary = label(videos, ray_job(out, captioners=2))
    check_same(out, local)
    assert summary.num_failures == 1
    again = label(videos, ray_job(out))
    assert (again.num_done_before, again.num_labels) == (6, 0)


@pytest.mark.usefixtures("cluster")
@pytest.mark.slow
def test_actors_carry_embeddings(videos: Path, tmp_path: Path) -> None:
    here, there = tmp_path / "here.parquet", tmp_path / "there.parquet"
    limits, load = replace(LIMITS, embeddings=True), partial(EchoCaptioner, embeddings=True)
    label(videos, job(here, limits=limits, load_captioner=load))
    label(videos, replace(ray_job(there, captioners=2), limits=limits, load_captioner=load))
    made = rows(tmp_path / "there.embeddings.parquet")
    assert len(made) == 12
    assert made == rows(tmp_path / "here.embeddings.parquet")


@pytest.mark.usefixtures("cluster")
@pytest.mark.slow
def test_clips_that_are_not_wanted_reach_no_captioner(tmp_path: Path) -> None:
    videos = videos_of_both(tmp_path / "videos", 2)
    here, there = tmp_path / "here.parquet", tmp_path / "there.parquet"
    where = f"width < 640 and {NOT_DARK}"
    label_where(videos, job(here, limits=LIMITS), where)
    summary = label_where(videos, ray_job(there, captioners=2), where)
    assert (summary.num_labels, summary.num_skipped) == (2, 2)
    assert without_times(there) == without_times(here)
    assert skipped_rows(there) == skipped_rows(here)
    none = label_where(videos, ray_job(tmp_path / "none.parquet"), "width >= 640 and brightness > 0")
    assert (none.exit_code, none.num_labels, none.num_skipped) == (0, 0, 2)


@pytest.mark.usefixtures("cluster")
@pytest.mark.slow
def test_captioner_actor_killed_loses_and_doubles_nothing(tmp_path: Path) -> None:
    videos, out = folder_of_videos(tmp_path / "videos", 5), tmp_path / "labels.parquet"
    two_scenes(videos / "dies_once.mp4", 50)
    summary = label(videos, ray_job(out, captioners=2, load_captioner=partial(mortal, tmp_path)))
    assert len(list(tmp_path.glob("died-*"))) == 2
    assert len(label_ids(out)) == 12
    assert summary.num_failures == 0
    for row in rows(out):
        assert f"echo of clip {row['clip_id']}," in str(row["caption"])


@pytest.mark.usefixtures("cluster")
@pytest.mark.slow
@pytest.mark.parametrize("title", ["DecodeActor", "CaptionerActor"])
def test_actor_killed_from_outside_loses_and_doubles_nothing(
    videos: Path, tmp_path: Path, local: Path, title: str
) -> None:
    out = tmp_path / "labels.parquet"
    killer = threading.Thread(target=kill_one, args=(title, out.with_name(out.name + ".work")))
    killer.start()
    label(videos, ray_job(out, load_captioner=SlowEcho))
    killer.join()
    check_same(out, local)


@pytest.mark.usefixtures("cluster")
@pytest.mark.slow
def test_clip_that_kills_each_actor_is_the_only_failure(tmp_path: Path) -> None:
    videos, out = folder_of_videos(tmp_path / "videos", 2), tmp_path / "labels.parquet"
    two_scenes(videos / "raises.mp4", 50)
    label(videos, ray_job(out, load_captioner=partial(mortal, tmp_path)))
    assert len(label_ids(out)) == 4
    failures = out.with_suffix(".failures.jsonl").read_text()
    assert failures.count("illegal memory access") == failures.count('"path": "raises.mp4"') == 2


@pytest.mark.usefixtures("cluster")
@pytest.mark.slow
def test_model_that_an_actor_cannot_load_says_why(tmp_path: Path) -> None:
    videos = folder_of_videos(tmp_path / "videos", 1)
    with pytest.raises(InputError, match="its weights are not here"):
        label(videos, ray_job(tmp_path / "labels.parquet", load_captioner=refuses))


@pytest.mark.usefixtures("cluster")
@pytest.mark.slow
def test_executor_option_takes_ray(tmp_path: Path) -> None:
    for name in ("local", "ray"):
        out = str(tmp_path / f"{name}.parquet")
        arguments = ["caption", "examples/videos", "--model", "echo", "--limit", "2", "--out", out]
        result = CliRunner().invoke(app, [*arguments, "--executor", name])
        assert result.exit_code == 0, result.output
    assert without_times(tmp_path / "ray.parquet") == without_times(tmp_path / "local.parquet")


def test_auto_takes_ray_where_an_address_is_set() -> None:
    before = os.environ.pop("RAY_ADDRESS", None)
    try:
        assert not takes_ray("local")
        assert takes_ray("ray")
        os.environ["RAY_ADDRESS"] = "127.0.0.1:6379"
        assert takes_ray("auto")
        assert not takes_ray("local")
    finally:
        del os.environ["RAY_ADDRESS"]
        if before is not None:
            os.environ["RAY_ADDRESS"] = before


@pytest.mark.parametrize(
    ("asked", "num_gpus", "device", "expected"),
    [
        (None, 4, "cuda", (4, 1.0)),
        (8, 4, "cuda", (8, 0.5)),
        (None, 0, "cuda", (1, 1.0)),  # a cluster that grows
        (None, 4, "cpu", (1, 0.0)),
        (3, 0, "cpu", (3, 0.0)),
    ],
)
def test_captioners_share_the_gpus_there_are(
    asked: int | None, num_gpus: int, device: str, expected: tuple[int, float]
) -> None:
    from vidlabel.executors.ray_cluster import ray_executor

    executor = ray_executor(asked, Limits(), Cluster(8, num_gpus), device=device)
    assert (executor.num_captioners, executor.gpus_each) == expected


@pytest.mark.slow
def test_node_removed_in_the_middle_loses_and_doubles_nothing(videos: Path, tmp_path: Path, local: Path) -> None:
    import ray
    from ray.cluster_utils import Cluster as LocalNodes

    ray.shutdown()  # of the other tests
    nodes = LocalNodes(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "object_store_memory": SMALL, "include_dashboard": False},
    )
    try:
        doomed = nodes.add_node(num_cpus=4, object_store_memory=SMALL)
        nodes.add_node(num_cpus=4, object_store_memory=SMALL)
        ray.init(address=nodes.address, **OPTIONS)
        out = tmp_path / "labels.parquet"
        work = out.with_name(out.name + ".work")

        def remove() -> None:
            deadline = time.monotonic() + 60
            while not list(work.glob("part-*.parquet")) and time.monotonic() < deadline:
                time.sleep(0.02)
            nodes.remove_node(doomed, allow_graceful=False)

        remover = threading.Thread(target=remove)
        remover.start()
        limits = Limits(num_workers=8, batch_size=2, flush_seconds=0.2)  # an actor on each
        label(videos, replace(ray_job(out, load_captioner=SlowEcho), limits=limits))
        remover.join()
        assert doomed not in nodes.list_all_nodes()
        check_same(out, local)
    finally:
        ray.shutdown()
        nodes.shutdown()
