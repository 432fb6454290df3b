from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.make_labels import SETTINGS
from tests.minigpt4_models import answer_settings, asked_clip, golden_config, golden_sources, qwen_folder
from vidlabel.captioner import EchoCaptioner
from vidlabel.captioners import check_quantize, load_captioner, rows_per_slot
from vidlabel.config import Limits
from vidlabel.errors import InputError
from vidlabel.models.minigpt4_video.generate import GenerateCaptioner
from vidlabel.models.presets import PRESETS, SOURCES, list_presets, models_home, resolve, sources_text

GENERATE = Limits(engine="generate", batch_size=2)


@pytest.fixture(scope="module")
def own_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return qwen_folder(tmp_path_factory.mktemp("models") / "own")


@pytest.fixture
def sources_folder(tmp_path: Path) -> Path:
    """The original files of a tiny model, as `pull` leaves those of a big one."""
    folder, sources = tmp_path / "pulled", golden_sources("llama_small")
    shutil.copytree(sources.language_model, folder / "language_model")
    shutil.copyfile(sources.vision, folder / "eva_vit_g.pth")
    shutil.copyfile(sources.checkpoint, folder / "video_checkpoint.pth")
    values = json.loads(sources_text(PRESETS["llama2"]))
    values["config"] = json.loads(golden_config("llama_small").to_json())
    (folder / SOURCES).write_text(json.dumps(values))
    return folder


@pytest.mark.parametrize(("name", "num_frames", "gigabytes"), [("mistral", 90, 17.1), ("llama2", 45, 16.2)])
def test_released_models_are_what_the_reference_says(name: str, num_frames: int, gigabytes: float) -> None:
    preset = PRESETS[name]
    assert (preset.num_frames, preset.image_size) == (num_frames, 224)
    assert preset.gigabytes == pytest.approx(gigabytes, abs=0.1)


def test_every_download_is_pinned() -> None:
    for preset in PRESETS.values():
        for file in preset.files:
            if hasattr(file, "revision"):
                assert len(file.revision) == 40
            if not hasattr(file, "path") or file.path is not None:
                assert file.sha256 is not None
                assert len(file.sha256) == 64


def test_echo_needs_no_weights_and_no_torch() -> None:
    spec = resolve("echo")
    assert (spec.num_frames, spec.image_size, spec.needs_torch) == (45, 224, False)
    settings = replace(SETTINGS.answers, model="echo", model_fingerprint=spec.fingerprint)
    assert isinstance(load_captioner(settings, GENERATE), EchoCaptioner)


def test_models_are_resolved_without_loading_torch(own_folder: Path, sources_folder: Path) -> None:
    code = (
        "import sys; from vidlabel.models.presets import resolve, list_presets; list_presets(); "
        f"[resolve(name) for name in ('echo', {str(own_folder)!r}, {str(sources_folder)!r})]; "
        "print([name for name in ('torch', 'transformers', 'huggingface_hub') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_absent_weights_say_which_command_fetches_how_much(tmp_path: Path) -> None:
    code = "from vidlabel.models.presets import resolve; resolve('mistral')"
    environment = os.environ | {"VIDLABEL_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert last.endswith("`vidlabel models pull mistral` fetches them (about 17 GB)")
    assert str(tmp_path / "models" / "mistral") in last


@pytest.mark.parametrize(("variable", "expected"), [("VIDLABEL_HOME", "models"), ("XDG_CACHE_HOME", "vidlabel/models")])
def test_weights_live_where_the_environment_says(tmp_path: Path, variable: str, expected: str) -> None:
    environment = {key: value for key, value in os.environ.items() if key not in ("VIDLABEL_HOME", "XDG_CACHE_HOME")}
    code = "from vidlabel.models.presets import models_home; print(models_home())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=environment | {variable: str(tmp_path)},
    )
    assert done.stdout.strip() == str(tmp_path / expected)
    assert models_home().name == "models"


def test_an_unknown_model_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="neither a folder nor one of mistral, llama2, shapes, echo"):
        resolve("gpt4")
    with pytest.raises(InputError, match=r"config\.json"):
        resolve(str(tmp_path))


def test_the_list_names_every_preset_and_calls_shapes_a_toy() -> None:
    lines = list_presets()
    labellers, listeners = ["mistral", "llama2", "shapes", "echo"], ["whisper", "whisper-turbo"]
    assert [line.split()[0] for line in lines] == [*labellers, *listeners, "clip", "aesthetic", "nsfw"]
    assert "toy-world" in lines[2]
    assert "Llama 2 Community License" in lines[1]


def test_an_own_folder_is_a_model(own_folder: Path) -> None:
    spec = resolve(str(own_folder))
    assert (spec.form, spec.num_frames, spec.image_size, spec.max_new_tokens) == ("own", 4, 28, 64)
    settings = replace(answer_settings(), model=str(own_folder), model_fingerprint=spec.fingerprint)
    captioner = load_captioner(settings, GENERATE, device="cpu")
    assert isinstance(captioner, GenerateCaptioner)
    assert captioner.max_rows == 2
    answers = list(captioner.answer([asked_clip("a", num_frames=2, size=28)]))
    assert [(answer.clip_id, answer.error) for answer in answers] == [("a", None)]


def test_a_model_that_answers_otherwise_than_recorded_is_refused(own_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "changed"
    shutil.copytree(own_folder, folder)
    recorded = json.loads((folder / "self_test.json").read_text())
    recorded["logits"][0][0] += 100.0
    (folder / "self_test.json").write_text(json.dumps(recorded))
    settings = replace(answer_settings(), model=str(folder), model_fingerprint=resolve(str(folder)).fingerprint)
    with pytest.raises(InputError, match="does not answer as recorded"):
        load_captioner(settings, GENERATE, device="cpu")


def test_weights_that_changed_since_the_run_began_are_refused(own_folder: Path) -> None:
    settings = replace(answer_settings(), model=str(own_folder), model_fingerprint="another")
    with pytest.raises(InputError, match="not those that this run began with"):
        load_captioner(settings, GENERATE)


def test_the_original_files_are_a_model(sources_folder: Path) -> None:
    spec = resolve(str(sources_folder))
    assert (spec.form, spec.num_frames, spec.max_new_tokens) == ("sources", 45, 512)
    settings = replace(answer_settings(), model=str(sources_folder), model_fingerprint=spec.fingerprint)
    captioner = load_captioner(settings, GENERATE, device="cpu")
    size = golden_config("llama_small").vision.image_size
    answers = list(captioner.answer([asked_clip("a", num_frames=2, size=size)]))
    assert [(answer.clip_id, answer.error) for answer in answers] == [("a", None)]


@pytest.mark.parametrize("change", [{"format": "x"}, {"num_frames": "many"}, {"vision": "absent.pth"}])
def test_a_wrong_sources_file_is_one_clear_line(sources_folder: Path, change: dict[str, str]) -> None:
    path = sources_folder / SOURCES
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=r"sources\.json"):
        resolve(str(sources_folder))


@pytest.mark.parametrize(("num_questions", "expected"), [(None, 8), (1, 1), (3, 3), (8, 8), (20, 8)])
def test_memory_is_kept_for_the_questions_that_are_asked_at_once(num_questions: int | None, expected: int) -> None:
    assert rows_per_slot(num_questions) == expected


def test_only_a_converted_folder_can_be_quantised(own_folder: Path, sources_folder: Path) -> None:
    with pytest.raises(InputError, match="--quantize 8bit: echo has no weights"):
        check_quantize(resolve("echo"), "8bit")
    with pytest.raises(InputError, match=r"--quantize 4bit: .*`vidlabel models convert` first"):
        check_quantize(resolve(str(sources_folder)), "4bit")
    for name in ("echo", str(own_folder), str(sources_folder)):
        check_quantize(resolve(name), "none")


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is not None, reason="bitsandbytes is here")
def test_quantising_without_bitsandbytes_names_the_command_that_installs_it(own_folder: Path) -> None:
    with pytest.raises(InputError, match=r"--quantize 8bit needs bitsandbytes: pip install 'vidlabel\[quantize\]'"):
        check_quantize(resolve(str(own_folder)), "8bit")
