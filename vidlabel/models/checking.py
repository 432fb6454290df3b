"""`vidlabel models check`: does a model still give the numbers it should, and are its files what they were?"""

from __future__ import annotations

from pathlib import Path

from vidlabel.errors import InputError
from vidlabel.models.download import damaged_files
from vidlabel.models.minigpt4_video.config import ModelConfig
from vidlabel.models.minigpt4_video.exporting import export_folder
from vidlabel.models.minigpt4_video.golden.check import check_golden
from vidlabel.models.minigpt4_video.golden.compare import CaseResult
from vidlabel.models.minigpt4_video.golden.folder import find_sources, model_config, read_golden
from vidlabel.models.minigpt4_video.loading import Sources, load_model, load_sources
from vidlabel.models.minigpt4_video.self_test import FILE, run_self_test
from vidlabel.models.presets import PRESETS, folder_of, read_sources, read_sources_config, resolve
from vidlabel.models.scorers import resolve_scorers
from vidlabel.models.speech import resolve_speech


def check_model(name: str, golden: Path | None = None) -> list[CaseResult]:
    """Every golden case recomputed; or without golden data the model's own known answer and its files' checksums."""
    if golden is not None:
        folder = folder_of(PRESETS[name]) if name in PRESETS else Path(name)
        return check_golden(folder, golden)
    if name in PRESETS and PRESETS[name].task != "label":
        resolve_scorers(name) if PRESETS[name].task == "score" else resolve_speech(name)  # or say what is missing
        damaged = damaged_files(folder_of(PRESETS[name]))
        return [CaseResult("checksums of the fetched files", float(len(damaged)), 0.0)]
    spec = resolve(name)
    if spec.folder is None:
        raise InputError(f"{name} has no weights to check")
    if spec.form == "own":
        return [_known_answer(spec.folder)]
    damaged = damaged_files(spec.folder)
    if not damaged:
        import torch

        load_sources(
            read_sources(spec.folder), dtype=torch.float16
        )  # raises if a tensor is missing, extra or misshapen
    return [CaseResult("checksums of the fetched files", float(len(damaged)), 0.0)]


def named_sources(name: str) -> tuple[Sources, ModelConfig | None]:
    """The three original sources of a pulled preset or in a folder; with sizes where a golden folder gives other than
    the released ones."""
    if name in PRESETS:
        spec = resolve(name)
        if spec.form != "sources" or spec.folder is None:
            raise InputError(f"{name} is not made of original sources; there is nothing to convert")
        return read_sources(spec.folder), read_sources_config(spec.folder)
    folder = Path(name)
    if not folder.is_dir():
        raise InputError(f"{name}: neither a preset nor a folder")
    if (folder / "sources.json").is_file():
        return read_sources(folder), read_sources_config(folder)
    if (folder / "config.json").is_file():
        golden = read_golden(folder)
        sources = find_sources(folder, golden.config.get("llm_dir"))
        return sources, model_config(golden, sources.language_model)
    return find_sources(folder), None


def export(name: str | None, out: Path) -> None:
    """One of our own folders as the reference's files. A folder that is of them already says so."""
    if name is None:
        raise InputError("--to reference: name the model folder to write so")
    spec = resolve(name)
    if spec.folder is None:
        raise InputError(f"{name} has no weights")
    if spec.form == "sources":
        sources = read_sources(spec.folder)
        raise InputError(
            f"{name} is of the reference's files already: {sources.checkpoint}, with {sources.vision} and "
            f"{sources.language_model}"
        )
    export_folder(spec.folder, out)


def _known_answer(folder: Path) -> CaseResult:
    if not (folder / FILE).is_file():
        raise InputError(f"{folder}: there is no {FILE} to compare with; `vidlabel models convert` writes one")
    result = run_self_test(folder, *load_model(folder))
    if result.passed:
        return CaseResult("known answer", result.largest_difference, result.tolerance)
    return CaseResult(f"known answer: {'; '.join(result.problems)}", float("inf"), result.tolerance)
