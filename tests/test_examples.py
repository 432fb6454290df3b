"""What is in `examples/` for unattended machines is understood by what reads it, and its command lines run."""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

from tests.runs import folder_of_videos
from vidlabel.cli import app

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """What the examples call /data."""
    folder_of_videos(tmp_path / "videos", 2)
    return tmp_path


def unit(name: str) -> configparser.ConfigParser:
    parsed = configparser.ConfigParser(interpolation=None, strict=True)
    parsed.optionxform = str  # type: ignore[assignment, method-assign]
    parsed.read_string((EXAMPLES / name).read_text())
    return parsed


def command_lines() -> Iterator[tuple[str, str]]:
    """Every `vidlabel caption ...` of the examples, with the file it is in."""
    for name in ("crontab", "vidlabel.service", "ray-cluster.yaml", "../Dockerfile"):
        text = (EXAMPLES / name).read_text()
        for found in re.findall(r"vidlabel ((?:caption|doctor)[^'\n]*)", text):
            yield name, re.sub(r"\s+[12]?>.*", "", found)


COMMANDS = list(dict.fromkeys(command_lines()))


def here(line: str, data: Path) -> list[str]:
    """The command with our folder for /data, and the model that needs no weights."""
    metrics = "/var/lib/node_exporter/textfile_collector"
    args = shlex.split(line.replace(metrics, str(data)).replace("/data", str(data)))
    return [*args, "--model", "echo", "--frames", "2"] if args[0] == "caption" else args


def test_all_examples_hold_a_command() -> None:
    assert sorted({name for name, _ in COMMANDS}) == [
        "../Dockerfile",
        "crontab",
        "ray-cluster.yaml",
        "vidlabel.service",
    ]


@pytest.mark.parametrize(("name", "line"), COMMANDS)
def test_command_lines_of_the_examples_run(data: Path, name: str, line: str) -> None:
    args = here(line, data)
    helped = CliRunner().invoke(app, [args[0], "--help"]).stdout
    options = {arg for arg in args if arg.startswith("--")}
    missing = {option for option in options if f"{option} " not in helped}
    assert missing == set()
    if args[0] == "doctor":  # what that says is of the machine
        return
    result = CliRunner().invoke(app, args)
    assert result.exit_code == 0, result.output
    if args[0] == "caption":
        assert pq.read_table(args[args.index("--out") + 1]).num_rows == 4
    if "--metrics-file" in args:
        assert (data / "vidlabel.prom").read_text().startswith("# HELP vidlabel_")


def test_crontab_lines_are_crontab_lines() -> None:
    lines = [line for line in (EXAMPLES / "crontab").read_text().splitlines() if line and not line.startswith("#")]
    assert lines
    for line in lines:
        assert re.fullmatch(r"(?:[\d*/,-]+ ){5}vidlabel .+", line)
        assert "%" not in line, "cron takes it for a line's end"


def test_service_and_timer_are_units() -> None:
    service, timer = unit("vidlabel.service"), unit("vidlabel.timer")
    assert service.sections() == ["Unit", "Service", "Install"]
    assert timer.sections() == ["Unit", "Timer", "Install"]
    assert service["Service"]["Type"] == "oneshot"
    assert service["Service"]["KillMode"] == "mixed"  # else every worker gets the signal too
    assert service["Service"]["SuccessExitStatus"].split() == ["3", "75"]
    written = [here(shlex.join([path]), Path("/data"))[0] for path in service["Service"]["ReadWritePaths"].split()]
    assert "/data" in written


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd")
def test_systemd_accepts_service_and_timer(tmp_path: Path) -> None:
    for name in ("vidlabel.service", "vidlabel.timer"):
        text = (EXAMPLES / name).read_text()
        (tmp_path / name).write_text(text.replace("ExecStart=vidlabel", f"ExecStart={shutil.which('true')}"))
    verify = ["systemd-analyze", "verify", "--man=no", *(str(path) for path in sorted(tmp_path.iterdir()))]
    done = subprocess.run(verify, capture_output=True, text=True, check=False)
    complaints = [line for line in done.stderr.splitlines() if "vidlabel" in line]
    assert complaints == []
    (calendar,) = (unit("vidlabel.timer")["Timer"]["OnCalendar"],)
    subprocess.run(["systemd-analyze", "calendar", calendar], capture_output=True, check=True)


def submit(tmp_path: Path, program: str, task: int, count: int, *args: str) -> subprocess.CompletedProcess[str]:
    """One task of the array, as Slurm starts it."""
    path = tmp_path / "program"
    path.write_text(f"#!/bin/sh\n{program}\n")
    path.chmod(0o755)
    env = os.environ | {
        "VIDLABEL": str(path), "SLURM_ARRAY_TASK_ID": str(task), "SLURM_ARRAY_TASK_COUNT": str(count),
        "SLURM_CPUS_PER_TASK": "1", "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    script = str(EXAMPLES / "slurm-array.sh")
    return subprocess.run(["bash", script, *args], env=env, capture_output=True, text=True, check=False)


def test_slurm_array_gives_every_task_a_share_of_its_own(tmp_path: Path) -> None:
    subprocess.run(["bash", "-n", str(EXAMPLES / "slurm-array.sh")], check=True)
    shards = []
    for task in range(8):
        done = submit(tmp_path, 'printf "%s\\n" "$@"', task, 8, "/a b/videos", "/a b/labels.parquet", "--seed", "1")
        args = done.stdout.splitlines()
        assert args[:4] == ["caption", "/a b/videos", "--out", "/a b/labels.parquet"], done.stderr
        assert args[-2:] == ["--seed", "1"]
        shards.append(args[args.index("--shard") + 1])
    assert shards == [f"{number}/8" for number in range(1, 9)]
    assert submit(tmp_path, "exit 143", 0, 8, "v", "l.parquet").returncode == 143  # Slurm sees how it ended


def test_slurm_array_labels_everything_once(data: Path) -> None:
    out = data / "labels.parquet"
    for task in range(2):
        program = f'exec {shlex.quote(sys.executable)} -m vidlabel "$@"'
        done = submit(data, program, task, 2, str(data / "videos"), str(out), "--model", "echo", "--frames", "2")
        assert done.returncode == 0, done.stderr
    ids = pq.read_table(out)["label_id"].to_pylist()
    assert (len(ids), len(set(ids))) == (4, 4)


def test_ray_cluster_is_what_ray_up_takes() -> None:
    cluster: dict[str, Any] = yaml.safe_load((EXAMPLES / "ray-cluster.yaml").read_text())
    assert cluster["provider"]["type"] == "local"
    assert cluster["min_workers"] == cluster["max_workers"] == len(cluster["provider"]["worker_ips"])
    for commands in ("setup_commands", "head_start_ray_commands", "worker_start_ray_commands"):
        for line in cluster[commands]:
            subprocess.run(["bash", "-n", "-c", line], check=True)
    assert any("--head" in line for line in cluster["head_start_ray_commands"])
    assert any("--address=$RAY_HEAD_IP:6379" in line for line in cluster["worker_start_ray_commands"])


def test_dockerfile_copies_what_is_there_and_starts_vidlabel() -> None:
    text = (ROOT / "Dockerfile").read_text()
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    instructions = [line.split(maxsplit=1) for line in lines if line and not line.startswith("#")]
    assert instructions[0][0] == "FROM"
    assert "nvidia/cuda" in instructions[0][1]
    ignored = (ROOT / ".dockerignore").read_text()
    for _, rest in (it for it in instructions if it[0] == "COPY"):
        for source in rest.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert f"!{source}" in ignored.splitlines(), f"{source} does not reach the build"
    assert json.loads(dict(instructions)["ENTRYPOINT"]) == ["vidlabel"]
    for _, line in (it for it in instructions if it[0] == "RUN"):
        subprocess.run(["bash", "-n", "-c", line], check=True)
