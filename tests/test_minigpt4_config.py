"""The model's config: JSON in and out, every wrong field named, readable without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from vidlabel.errors import InputError
from vidlabel.models.minigpt4_video.config import EVA_VIT_G, ModelConfig, VisionConfig, read_config

CONFIG = ModelConfig(EVA_VIT_G, context_window=4096, num_frames=45)


def test_a_config_survives_its_json() -> None:
    changed = replace(CONFIG, prompt_family="chatml", num_bos=0, ln_vision_eps=1e-6)
    assert ModelConfig.from_json(changed.to_json()) == changed


def test_the_released_tower_gives_64_tokens_a_frame() -> None:
    assert (EVA_VIT_G.num_patches, CONFIG.tokens_per_frame) == (256, 64)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "not a vidlabel model"),
        ({"format_version": 2}, "field 'format_version' is 2, this vidlabel reads 1"),
        ({"pool_siez": 4}, "unknown field 'pool_siez'"),
        ({"num_frames": "many"}, "field 'num_frames' should be int, got 'many'"),
        ({"num_frames": True}, "field 'num_frames' should be int, got True"),
        ({"num_frames": 0}, "num_frames must be above 0"),
        ({"pool_size": 3}, "pool_size must divide 256 patches"),
        ({"prompt_family": "other"}, "prompt_family is one of"),
        ({"vision": 3}, "field 'vision' should be an object"),
        ({"vision": {}}, "vision: field 'image_size' is missing"),
        (
            {"vision": {**json.loads(CONFIG.to_json())["vision"], "num_heads": 5}},
            "vision: embed_dim must be a multiple",
        ),
        ({"vision": {**json.loads(CONFIG.to_json())["vision"], "patch_size": 13}}, "vision: image_size must be a mult"),
    ],
)
def test_every_wrong_field_is_named(change: dict[str, object], message: str) -> None:
    text = json.dumps({**json.loads(CONFIG.to_json()), **change})
    with pytest.raises(InputError, match=rf"model/config\.json: {message}"):
        ModelConfig.from_json(text, source="model/config.json")


def test_a_missing_field_without_default_is_named() -> None:
    values = json.loads(CONFIG.to_json())
    del values["context_window"]
    with pytest.raises(InputError, match="field 'context_window' is missing"):
        ModelConfig.from_json(json.dumps(values))


def test_what_is_no_json_says_so(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"config\.json: not JSON"):
        read_config(tmp_path)


def test_config_and_fingerprint_need_no_torch(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(CONFIG.to_json())
    script = (
        "import sys; from pathlib import Path;"
        "from vidlabel.models.minigpt4_video.config import read_config;"
        "from vidlabel.models.minigpt4_video.fingerprint import fingerprint;"
        "folder = Path(sys.argv[1]); read_config(folder); fingerprint(folder);"
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True)


def test_a_tower_must_be_possible() -> None:
    with pytest.raises(ValueError, match="depth must be above 0"):
        VisionConfig(image_size=28, patch_size=14, embed_dim=8, depth=0, num_heads=2, mlp_hidden=8)
