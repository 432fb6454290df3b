"""The vision side alone sees what the whole model sees, from either form of a model, and fails one clip at a time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from typer.testing import CliRunner

from tests.minigpt4_models import TEXTS, answer_settings, asked_clip, golden_config, golden_model, golden_sources
from vidlabel.captioner import EchoCaptioner
from vidlabel.captioners import load_captioner, load_encoder
from vidlabel.cli import app
from vidlabel.config import AnswerSettings, Limits
from vidlabel.engine.encoding import EncodingCaptioner
from vidlabel.errors import InputError
from vidlabel.models.minigpt4_video.config import ModelConfig
from vidlabel.models.minigpt4_video.vision_side import VisionSide, load_vision, load_vision_sources
from vidlabel.models.presets import resolve


def settings_of(name: str) -> AnswerSettings:
    return replace(answer_settings(max_new_tokens=2), model=name, model_fingerprint=resolve(name).fingerprint)


def test_encoder_of_a_folder_gives_the_embeddings_of_a_labelling_run() -> None:
    settings, size = settings_of("shapes"), resolve("shapes").image_size
    clips = [asked_clip(name, texts=TEXTS[:2], num_frames=frames, size=size) for name, frames in (("a", 3), ("b", 1))]
    whole = load_captioner(settings, Limits(embeddings=True), device="cpu").answer(clips)
    alone = load_encoder(settings, device="cpu")
    assert isinstance(alone, EncodingCaptioner)
    expected = {(answer.clip_id, answer.question): answer.features for answer in whole}
    for answer in alone.answer(clips):
        found, wanted = answer.features, expected.pop((answer.clip_id, answer.question))
        assert found is not None
        assert wanted is not None
        assert np.allclose(found.embedding, wanted.embedding, atol=1e-5)
        assert found.temporal_consistency == pytest.approx(wanted.temporal_consistency, abs=1e-5)
        assert (answer.text, answer.error) == ("", None)
    assert expected == {}


@pytest.mark.parametrize("variant", ["llama_small", "mistral_small"])
def test_vision_side_of_original_files_gives_the_whole_models_numbers(variant: str) -> None:
    model, _ = golden_model(variant)
    side = load_vision_sources(golden_sources(variant), golden_config(variant), device="cpu", dtype=torch.float32)
    frames = asked_clip("a", num_frames=3, size=model.config.vision.image_size).frames.images
    with torch.inference_mode():
        _, expected = model.encode_and_pool(model.preprocess(frames))
    assert torch.equal(side.pool(frames), expected)


def test_half_precision_keeps_norms_in_single_as_the_whole_model_does() -> None:
    folder = resolve("shapes").folder
    assert folder is not None
    side = load_vision(folder, device="cpu", dtype=torch.bfloat16)
    types = {name: weight.dtype for name, weight in side.named_parameters()}
    assert types["ln_vision.weight"] == types["visual_encoder.pos_embed"] == torch.float32
    assert types["visual_encoder.blocks.0.attn.qkv.weight"] == torch.bfloat16


def test_a_folder_without_a_tower_is_one_clear_line(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = resolve("shapes").folder
    assert folder is not None
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    tensors = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith("visual_encoder.blocks.0.")}
    save_file(kept, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=r"visual_encoder\.blocks\.0\..* missing"):
        load_vision(tmp_path, device="cpu", dtype=torch.float32)


class ScarceSide(VisionSide):
    """With memory for so many frames."""

    max_frames = 99

    def pool(self, frames: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> torch.Tensor:
        if len(frames) > self.max_frames:
            raise torch.OutOfMemoryError("not enough memory")
        return super().pool(frames)


@pytest.mark.parametrize("max_frames", [0, 2])
def test_out_of_memory_takes_fewer_frames_at_a_time_or_fails_the_clip(max_frames: int) -> None:
    folder = resolve("shapes").folder
    assert folder is not None
    whole = load_vision(folder, device="cpu", dtype=torch.float32)
    scarce = ScarceSide(ModelConfig.from_json((folder / "config.json").read_text(), source="shapes"))
    scarce.load_state_dict(whole.state_dict())
    scarce.max_frames = max_frames
    clip = asked_clip("a", num_frames=5, size=resolve("shapes").image_size)
    found, expected = (list(EncodingCaptioner(side).answer([clip])) for side in (scarce, whole))
    assert len(found) == len(expected) == len(clip.questions)
    if max_frames == 0:
        assert all(answer.error is not None and "single frame" in answer.error for answer in found)
        return
    assert found[0].features is not None
    assert expected[0].features is not None
    assert np.allclose(found[0].features.embedding, expected[0].features.embedding, atol=1e-5)


def test_numbers_that_are_not_finite_fail_the_clip_and_say_what_may_help() -> None:
    folder = resolve("shapes").folder
    assert folder is not None
    side = load_vision(folder, device="cpu", dtype=torch.float32)
    side.ln_vision.weight.fill_(torch.inf)
    (answer, *_) = EncodingCaptioner(side).answer([asked_clip("a", num_frames=2, size=resolve("shapes").image_size)])
    assert answer.features is None
    assert answer.error is not None
    assert "--dtype float32" in answer.error


def test_encoder_of_echo_needs_no_weights() -> None:
    captioner = load_encoder(settings_of("echo"))
    assert isinstance(captioner, EchoCaptioner)
    (answer, *_) = captioner.answer([asked_clip("a", num_frames=2, size=16)])
    assert answer.features is not None


def command(*args: object) -> str:
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    if result.exit_code:
        raise InputError(result.stderr)
    return result.stderr


def test_clips_are_encoded_cleared_of_copies_and_then_labelled(tmp_path: Path) -> None:
    """What a pipeline does before the language model is paid for."""
    source = Path(__file__).parent.parent / "examples" / "videos"
    (tmp_path / "videos").mkdir()
    for name, copy in (("green-circle-right", "a"), ("green-circle-right", "b"), ("orange-square-up", "c")):
        (tmp_path / "videos" / f"{copy}.mp4").write_bytes((source / f"{name}.mp4").read_bytes())
    clips, kept, labels = (tmp_path / f"{name}.parquet" for name in ("clips", "kept", "labels"))
    options = ("--signals", "phash,motion", "--model", "shapes", "--split", "none", "--workers", 1)
    command("signals", tmp_path / "videos", "--out", clips, "--embeddings", *options)
    table = pq.read_table(tmp_path / "clips.embeddings.parquet")
    assert (len(table), table.schema.field("embedding").type.list_size) == (3, 96)
    assert {"phash", "motion", "temporal_consistency", "video"} <= set(pq.read_schema(clips).names)
    said = command("dedup", clips, "--out", kept, "--by", "embedding", "--min-similarity", 0.999)
    assert "1 groups of clips that are alike, the largest of 2" in said
    command("caption", kept, "--out", labels, "--model", "echo", "--workers", 1)
    found = pq.read_table(labels).to_pylist()
    assert len({row["clip_id"] for row in found}) == 2
    assert {row["phash"] for row in found} == {row["phash"] for row in pq.read_table(clips).to_pylist()}
    with pytest.raises(InputError, match=r"was made with other settings"):
        command("signals", tmp_path / "videos", "--out", clips, *options[:2], *options[4:])
    with pytest.raises(InputError, match=r"--model shapes: signals need none; it belongs to --embeddings"):
        command("signals", tmp_path / "videos", "--out", tmp_path / "x.parquet", *options)
