"""`vidlabel doctor`: every lack is found and says what to do."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from vidlabel.cli_doctor import doctor
from vidlabel.doctor import Finding, examine, is_ready, report, shm_finding
from vidlabel.engine.choice import Choice
from vidlabel.machine import CODECS, Gpu, Machine, Package, Weights, writing_problem

GB = 10**9
GOOD = Machine(
    python=(3, 11, 7),
    vidlabel="1.0.0",
    packages={
        "torch": Package("2.11.0+cu130"),
        "transformers": Package("5.17.0"),
        "peft": Package("0.21.2"),
        "av": Package("18.1.0"),
        "decord": Package("0.6.0"),
    },
    cuda_build="13.0",
    gpus=(Gpu("NVIDIA H200", 140 * GB, 150 * GB, (9, 0)),),
    driver="580.159.03",
    choice=Choice("triton", "the fastest", use_graph=True),
    ffmpeg="8.1.2",
    codecs=frozenset(CODECS),
    weights=(Weights("mistral", True, 17.0),),
    num_cores=16,
    memory_bytes=120 * GB,
    out=Path("/labels"),
    out_problem=None,
    out_free_bytes=400 * GB,
    home=Path("/models"),
    home_free_bytes=400 * GB,
    shm_bytes=60 * GB,
    year=2026,
)


def packages(**changed: Package) -> dict[str, Package]:
    return GOOD.packages | changed


def finding(machine: Machine, name: str) -> Finding:
    return next(found for found in examine(machine) if found.name == name)


def test_a_good_machine_has_nothing_to_do_and_says_what_it_has() -> None:
    findings = examine(GOOD)
    assert [found for found in findings if found.status != "ok"] == []
    text = "\n".join(report(findings))
    for part in ("3.11.7", "CUDA 13.0 build", "NVIDIA H200", "140.0 GB", "580.159.03", "triton", "CUDA graph",
                 "the fastest", "5.17.0", "0.21.2", "FFmpeg 8.1.2", "0.6.0", "h264, hevc, vp9, av1", "here",
                 "16", "120.0 GB", "/labels", "/models", "60.0 GB", "2026"):  # fmt: skip
        assert part in text
    assert text.endswith("\nready")


@pytest.mark.parametrize(
    ("machine", "name", "value", "advice"),
    [
        (replace(GOOD, python=(3, 10, 2)), "python", "3.10.2", "3.11"),
        (replace(GOOD, packages=packages(torch=Package(None)), choice=None), "torch", "not installed", "pip install"),
        (replace(GOOD, packages=packages(torch=Package("2.8.1"))), "torch", "too old", "torch>=2.9"),
        (replace(GOOD, packages=packages(torch=Package("2.11.0", "OSError: no libcudart"))), "torch", "libcudart",
         "reinstall"),
        (replace(GOOD, packages=packages(transformers=Package("4.46.0"))), "transformers", "too old", ">=4.56"),
        (replace(GOOD, packages=packages(peft=Package(None))), "peft", "not installed", "peft>=0.15"),
        (replace(GOOD, packages=packages(av=Package(None)), codecs=frozenset()), "av", "not installed", "av>=14"),
        (replace(GOOD, codecs=frozenset({"vp9"})), "codecs", "vp9", "h264, hevc, av1 cannot be read"),
        (replace(GOOD, choice="VIDLABEL_KERNELS=fast: it is maths"), "engine", "none", "VIDLABEL_KERNELS=fast"),
        (replace(GOOD, memory_bytes=GB), "memory", "1.0 GB", "free some memory"),
        (replace(GOOD, out_problem="Permission denied"), "output folder", "Permission denied", "make /labels writable"),
        (replace(GOOD, out_free_bytes=GB // 50), "output folder", "0.0 GB free", "free some disk"),
        (replace(GOOD, year=1970), "clock", "1970", "set the clock"),
    ],
)  # fmt: skip
def test_what_stops_a_run_fails_and_says_what_to_do(machine: Machine, name: str, value: str, advice: str) -> None:
    found = finding(machine, name)
    assert (found.status, is_ready(examine(machine))) == ("fail", False)
    assert value in found.value
    assert advice in found.advice
    last = list(report(examine(machine)))[-1]
    assert last.startswith("not ready")
    assert found.advice in last


NO_GPU = replace(GOOD, gpus=(), choice=Choice("maths", "the model runs on cpu", use_graph=False))


@pytest.mark.parametrize(
    ("machine", "name", "value", "advice"),
    [
        (replace(NO_GPU, driver=None, cuda_build=None), "gpu", "none", "minutes a clip"),
        (replace(NO_GPU, cuda_build=None), "gpu", "CPU build", "CUDA build of torch"),
        (NO_GPU, "gpu", "cannot use it", "driver to one for CUDA 13.0"),
        (replace(GOOD, gpus=(Gpu("RTX 4060", 7 * GB, 8 * GB, (8, 9)),)), "gpu", "7.0 GB", "--quantize"),
        (replace(NO_GPU, memory_bytes=20 * GB), "memory", "20.0 GB", "32 GB"),
        (replace(GOOD, memory_bytes=10 * GB), "memory", "10.0 GB", "loading is slow"),
        (replace(GOOD, choice=Choice("flash", "Triton is not installed", use_graph=True)), "engine", "not installed",
         "faster"),
        (replace(GOOD, packages=packages(decord=Package(None))), "decord", "not installed", "only --decoder decord"),
        (replace(GOOD, codecs=frozenset(CODECS) - {"av1"}), "codecs", "h264, hevc, vp9", "av1 cannot be read"),
        (replace(GOOD, weights=(Weights("mistral", False, 17.0),)), "model mistral", "not here", "models pull mistral"),
        (replace(GOOD, weights=(Weights("mistral", False, 17.0),), home_free_bytes=9 * GB), "model mistral", "9.0 GB",
         "VIDLABEL_HOME"),
        (replace(GOOD, out_free_bytes=2 * GB), "output folder", "2.0 GB", "1 MB for a thousand"),
    ],
)  # fmt: skip
def test_what_only_slows_or_limits_is_a_warning(machine: Machine, name: str, value: str, advice: str) -> None:
    found = finding(machine, name)
    assert (found.status, is_ready(examine(machine))) == ("warn", True)
    assert value in found.value
    assert advice in found.advice
    assert list(report(examine(machine)))[-1] == "ready"


def test_little_shared_memory_matters_only_without_memory_files() -> None:
    assert shm_finding(GB // 16, has_memfd=True).status == "ok"
    assert "--shm-size" in shm_finding(GB // 16, has_memfd=False).advice
    assert shm_finding(None, has_memfd=False).status == "ok"


def test_what_is_not_ok_needs_advice() -> None:
    with pytest.raises(ValueError, match="advice"):
        Finding("gpu", "none", "warn")


def test_a_folder_that_cannot_be_written_is_found_and_nothing_is_left_behind(tmp_path: Path) -> None:
    assert writing_problem(tmp_path) is None
    assert writing_problem(tmp_path / "to" / "come") is None
    assert list(tmp_path.iterdir()) == []
    if os.geteuid() != 0:  # root may write anywhere
        tmp_path.chmod(0o555)
        assert writing_problem(tmp_path) == "Permission denied"
    elif Path("/proc/self").is_dir():
        assert writing_problem(Path("/proc/self")) is not None


def test_the_command_prints_this_machine_for_people_and_for_programs(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(doctor)
    plain = CliRunner().invoke(app, ["--out", str(tmp_path)])
    as_json = CliRunner().invoke(app, ["--out", str(tmp_path), "--json"])
    document = json.loads(as_json.stdout)
    assert plain.exit_code == as_json.exit_code == (0 if document["ready"] else 1)
    names = [row["name"] for row in document["findings"]]
    assert names[:5] == ["python", "vidlabel", "torch", "gpu", "engine"]
    lines = plain.stdout.splitlines()
    assert len(lines) == len(names) + 1
    assert lines[-1] == "ready" or lines[-1].startswith("not ready")
    assert str(tmp_path) in next(row["value"] for row in document["findings"] if row["name"] == "output folder")
