"""Imports go down only, and heavy libraries load where they are used."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "vidlabel"

# from the ground up; a module may import from its own row (without a circle) and from the rows above it in this list
LAYERS = [
    {"vidlabel", "vidlabel.errors", "vidlabel.data", "vidlabel.atomic", "vidlabel.times", "vidlabel.cue_files",
     "vidlabel.cores", "vidlabel.remote", "vidlabel.remote_cache", "vidlabel.remote_file", "vidlabel.store",
     "vidlabel.store_lock", "vidlabel.shard", "vidlabel.csv_cells"},
    {"vidlabel.config", "vidlabel.columns", "vidlabel.captioner", "vidlabel.reference_sampling", "vidlabel.quality",
     "vidlabel.signals.table", "vidlabel.where", "vidlabel.embedding"},
    {"vidlabel.decoders", "vidlabel.prompts", "vidlabel.rewording", "vidlabel.rewriting", "vidlabel.asking",
     "vidlabel.progress", "vidlabel.stop", "vidlabel.labels", "vidlabel.selection"},
    {"vidlabel.folders", "vidlabel.paths", "vidlabel.manifest_rows", "vidlabel.manifests", "vidlabel.manifest",
     "vidlabel.survey", "vidlabel.inputs",
     "vidlabel.rolling_cues",
     "vidlabel.subtitles", "vidlabel.summary", "vidlabel.jsonl", "vidlabel.failures", "vidlabel.lock",
     "vidlabel.outputs", "vidlabel.output_info", "vidlabel.parts", "vidlabel.readers", "vidlabel.resume",
     "vidlabel.duplicates",
     "vidlabel.embeddings", "vidlabel.merge", "vidlabel.gather", "vidlabel.skips", "vidlabel.skip_merge",
     "vidlabel.working_copy", "vidlabel.place", "vidlabel.store_place", "vidlabel.store_keeper", "vidlabel.hub_place"},
    {"vidlabel.tables"},
    {"vidlabel.dedup"},
    {"vidlabel.frames", "vidlabel.picking", "vidlabel.resizing", "vidlabel.detectors", "vidlabel.dissolves",
     "vidlabel.transitions", "vidlabel.scenes", "vidlabel.row_cache", "vidlabel.scenes_cache", "vidlabel.signals"},
    {"vidlabel.models"},
    {"vidlabel.speech"},
    {"vidlabel.engine"},
    {"vidlabel.captioners"},
    {"vidlabel.pipeline", "vidlabel.plan", "vidlabel.interviews", "vidlabel.ledger", "vidlabel.max_failures",
     "vidlabel.metrics", "vidlabel.skip_book"},
    {"vidlabel.executors"},
    {"vidlabel.run", "vidlabel.split", "vidlabel.label_options", "vidlabel.labelling", "vidlabel.selecting",
     "vidlabel.measuring",
     "vidlabel.train", "vidlabel.machine", "vidlabel.doctor", "vidlabel.report", "vidlabel.export",
     "vidlabel.scores"},
    {"vidlabel.evaluation"},
    {"vidlabel.cli_options", "vidlabel.cli_paths", "vidlabel.cli_asking", "vidlabel.cli_models", "vidlabel.cli_labels",
     "vidlabel.cli_prompts",
     "vidlabel.cli_doctor", "vidlabel.cli_selecting", "vidlabel.cli_report", "vidlabel.cli_export",
     "vidlabel.cli_dedup", "vidlabel.cli_eval", "vidlabel.cli_train", "vidlabel.cli_signals", "vidlabel.cli_score",
     "vidlabel.cli", "vidlabel.__main__"},
]  # fmt: skip
HEAVY = ("torch", "transformers", "peft", "av", "cv2", "decord", "scenedetect", "pandas", "pyarrow", "numpy", "tqdm")


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("vidlabel"):
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.startswith("vidlabel"))


def _layer(module: str) -> int | None:
    """The row of a module, or of the package it is in."""
    while module:
        for number, layer in enumerate(LAYERS):
            if module in layer and (module != "vidlabel" or number == 0):
                return number
        module = module.rpartition(".")[0]
        if module == "vidlabel":
            return None
    return None


def _modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def test_every_module_has_a_layer() -> None:
    assert [module for module, _ in _modules() if _layer(module) is None] == []


def test_imports_go_down_only() -> None:
    wrong = [
        f"{module} imports {imported}"
        for module, path in _modules()
        for imported in _imports(path)
        if (own := _layer(module)) is not None and (other := _layer(imported)) is not None and other > own
    ]
    assert wrong == []


def test_help_loads_no_heavy_library() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from vidlabel.cli import app; "
        "result = CliRunner().invoke(app, ['caption', '--help']); assert result.exit_code == 0, result.output; "
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_modules_stay_small() -> None:
    long = {module: lines for module, path in _modules() if (lines := len(path.read_text().splitlines())) > 300}
    assert long == {}
