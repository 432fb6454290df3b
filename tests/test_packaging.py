"""What `pip install` gives: the command, the prompts and the shipped model, inside the wheel."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from vidlabel.prompts import list_pools

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (path,) = out.glob("*.whl")
    return path


def test_wheel_holds_prompts_and_the_shipped_model(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        sizes = {info.filename: info.file_size for info in archive.infolist()}
    pools = {f"vidlabel/_prompts/{file.name}" for file in (ROOT / "prompts").glob("*.toml")}
    assert "vidlabel/_prompts/caption.toml" in pools <= names
    for file in ("page.html", "page.css", "main.js"):
        assert sizes[f"vidlabel/report/page/{file}"] > 0
    weights = "vidlabel/models/weights/shapes"
    for file in ("config.json", "model.safetensors", "self_test.json", "language_model/tokenizer.model"):
        assert sizes[f"{weights}/{file}"] > 0
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/"))]
    assert sum(sizes.values()) < 20e6


def test_installed_wheel_finds_its_prompts_and_model(wheel: Path, tmp_path: Path) -> None:
    """Unpacked where no checkout is beside it, as an installation is."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import vidlabel;"
        "assert vidlabel.__file__.startswith(sys.argv[1]);"
        "from vidlabel.prompts import list_pools; from vidlabel.models.presets import resolve;"
        "print(len(list_pools()), resolve('shapes').num_frames > 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert done.stdout.split() == [str(len(list_pools())), "True"]
