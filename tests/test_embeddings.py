"""What clips look like to the captioner: computed beside labels that stay the same, and kept whatever ends a run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from typer.testing import CliRunner

from tests.engine_models import STOP_IDS, TOKENIZER, clips, model_of, said
from tests.minigpt4_models import answer_settings
from tests.runs import folder_of_videos, job, label, label_ids, rows
from vidlabel.captioner import EchoCaptioner
from vidlabel.cli import app
from vidlabel.config import Limits
from vidlabel.embedding import colour_features, features_of
from vidlabel.engine.captioner import EngineCaptioner
from vidlabel.engine.maths import MathsKernels
from vidlabel.errors import InputError
from vidlabel.executors.choice import LocalExecutor
from vidlabel.models.minigpt4_video.generate import GenerateCaptioner
from vidlabel.outputs import parse_output
from vidlabel.shard import Shard

SETTINGS = answer_settings(max_new_tokens=4)
LIMITS = Limits(num_workers=2, batch_size=2, flush_seconds=0.2, embeddings=True)


def load_echo() -> EchoCaptioner:
    return EchoCaptioner(embeddings=True)


def embeddings(out: Path) -> dict[str, list[float]]:
    found = rows(parse_output(out).embeddings)
    assert len(found) == len({row["clip_id"] for row in found}), "a clip is there twice"
    return {str(row["clip_id"]): row["embedding"] for row in found}  # type: ignore[misc]


def test_embedding_is_the_scaled_mean_of_frames_and_consistency_the_mean_cosine_of_neighbours() -> None:
    frames = np.array([[3, 0], [0, 3], [0, 3]], np.float32)
    found = features_of(frames, np.array([0.0, 1.0, 2.0]))
    assert found is not None
    assert np.allclose(found.embedding, np.array([1, 2]) / 5**0.5)
    assert found.temporal_consistency == pytest.approx(0.5)


def test_a_frame_that_is_repeated_for_want_of_others_counts_once() -> None:
    frames = np.array([[3, 0], [0, 3], [0, 3]], np.float32)
    found = features_of(frames, np.array([0.0, 1.0, 1.0]))
    assert found is not None
    assert np.allclose(found.embedding, np.array([1, 1]) / 2**0.5)
    assert found.temporal_consistency == pytest.approx(0.0)
    alone = features_of(frames[:1], np.array([0.0]))
    assert alone is not None
    assert alone.temporal_consistency is None


def test_numbers_that_are_not_finite_give_no_embedding() -> None:
    assert features_of(np.array([[1, np.inf]], np.float32), np.array([0.0])) is None


def test_colours_of_a_clip_are_near_those_of_itself_with_noise_and_far_from_those_of_another() -> None:
    rng, pts = np.random.default_rng(0), np.arange(3.0)
    some, other = (rng.integers(0, 256, (1, 8, 8, 3)).repeat(28, 1).repeat(28, 2).repeat(3, 0) for _ in range(2))
    noisy = np.clip(some + rng.integers(-8, 9, some.shape), 0, 255)
    first, again, second = (colour_features(images.astype(np.uint8), pts) for images in (some, noisy, other))
    assert first is not None
    assert again is not None
    assert second is not None
    assert float(first.embedding @ again.embedding) > 0.99
    assert float(first.embedding @ second.embedding) < 0.5


@pytest.mark.parametrize("kind", ["slots", "generate"])
def test_answers_are_the_same_with_embeddings_which_are_the_towers(kind: str) -> None:
    model, asked = model_of("llama"), clips(4)

    def captioner(embeddings: bool) -> Any:
        made: Any = (
            EngineCaptioner(
                model,
                TOKENIZER,
                SETTINGS,
                kernels=MathsKernels(),
                num_slots=3,
                keep_features=True,
                embeddings=embeddings,
            )
            if kind == "slots"
            else GenerateCaptioner(model, TOKENIZER, SETTINGS, batch_size=3, embeddings=embeddings)
        )
        made.stop_ids = STOP_IDS
        return made

    plain, answers = list(captioner(False).answer(asked)), list(captioner(True).answer(asked))
    assert said(answers) == said(plain)
    assert all(answer.features is None for answer in plain)
    for clip in asked:
        with torch.inference_mode():
            tokens = model.ln_vision(model.visual_encoder(model.preprocess(clip.frames.images)))[:, 1:]
        expected = features_of(tokens.mean(1).numpy(), clip.frames.pts_seconds)
        assert expected is not None
        of_clip = [answer.features for answer in answers if answer.clip_id == clip.clip.clip_id]
        assert len(of_clip) == len(clip.questions)
        for features in of_clip:
            assert features is not None
            assert features.embedding.shape == (model.config.vision.embed_dim,)
            assert np.allclose(features.embedding, expected.embedding, atol=1e-5)
            assert features.temporal_consistency == pytest.approx(expected.temporal_consistency, abs=1e-5)


@pytest.mark.parametrize("name", ["labels.parquet", "labels.jsonl", "labels"])
def test_a_run_writes_one_row_a_clip_beside_labels_of_the_same_ids(tmp_path: Path, name: str) -> None:
    videos = folder_of_videos(tmp_path / "videos", 2)
    assert label(videos, job(tmp_path / "plain.parquet")).exit_code == 0
    out = tmp_path / name
    assert label(videos, job(out, captioner=load_echo(), limits=LIMITS)).exit_code == 0
    plain = rows(tmp_path / "plain.parquet")
    made = [json.loads(line) for line in out.read_text().splitlines()] if name.endswith("jsonl") else rows(out)
    assert {row["label_id"] for row in made} == {row["label_id"] for row in plain}
    assert all(0.0 < row["temporal_consistency"] <= 1.0 for row in made)
    assert set(embeddings(out)) == {row["clip_id"] for row in plain}
    stored = pq.read_table(parse_output(out).embeddings)
    assert stored.schema.field("embedding").type == pa.list_(pa.float32(), 192)
    assert np.allclose(np.linalg.norm(np.stack(stored["embedding"].to_numpy()), axis=1), 1.0)
    assert not parse_output(out).work.exists()


def test_a_folder_that_grows_gets_the_embeddings_of_what_is_new(tmp_path: Path) -> None:
    for out in (tmp_path / "labels.parquet", tmp_path / "labels"):
        videos = folder_of_videos(tmp_path / f"{out.stem}{out.suffix}-videos", 2)
        label(videos, job(out, captioner=load_echo(), limits=LIMITS))
        before = embeddings(out)
        folder_of_videos(videos, 3)
        label(videos, job(out, captioner=load_echo(), limits=LIMITS))
        after = embeddings(out)
        assert len(after) == 6
        assert before == {clip_id: after[clip_id] for clip_id in before}


def test_a_run_that_stops_in_its_middle_loses_no_embedding(tmp_path: Path) -> None:
    """Labels are saved only after what their clips look like, so no clip that is done lacks it."""
    videos, out = folder_of_videos(tmp_path / "videos", 4), tmp_path / "labels.parquet"

    class Breaks:
        def answer(self, asked: Any) -> Any:
            for number, answer in enumerate(load_echo().answer(asked)):
                if number == 3:
                    raise RuntimeError("the machine broke")
                yield answer

    with pytest.raises(RuntimeError):
        label(videos, job(out, captioner=Breaks(), limits=LIMITS))
    assert len(list((tmp_path / "labels.parquet.work").glob("embeddings-*.parquet"))) > 0
    label(videos, job(out, captioner=load_echo(), limits=LIMITS))
    assert set(embeddings(out)) == {str(row["clip_id"]) for row in rows(out)}
    assert len(embeddings(out)) == 8


def test_captioner_processes_and_shards_carry_embeddings(tmp_path: Path) -> None:
    videos = folder_of_videos(tmp_path / "videos", 3)
    label(videos, job(tmp_path / "one.parquet", captioner=load_echo(), limits=LIMITS))
    many = tmp_path / "many.parquet"
    label(videos, job(many, load_captioner=load_echo, limits=LIMITS, executor=LocalExecutor(2)))
    shards = tmp_path / "shards.parquet"
    for number in (1, 2):
        output = replace(parse_output(shards), shard=Shard(number, 2))
        label(videos, job(shards, output=output, captioner=load_echo(), limits=LIMITS))
    assert label_ids(shards) == label_ids(tmp_path / "one.parquet")
    assert embeddings(many) == embeddings(shards) == embeddings(tmp_path / "one.parquet")


def test_those_of_another_model_are_never_added_to(tmp_path: Path) -> None:
    videos, out = folder_of_videos(tmp_path / "videos", 1), tmp_path / "labels.parquet"
    label(videos, job(out, captioner=load_echo(), limits=LIMITS))
    beside = parse_output(out).embeddings
    other = json.dumps({"model": "mistral", "model_fingerprint": "other"})
    pq.write_table(pq.read_table(beside).replace_schema_metadata({"vidlabel.embeddings": other}), beside)
    with pytest.raises(InputError, match=r"labels\.embeddings\.parquet holds those of another model"):
        label(videos, job(out, captioner=load_echo(), limits=LIMITS))
    label(videos, job(out, captioner=load_echo(), limits=LIMITS, overwrite=True))
    assert json.loads(pq.read_schema(beside).metadata[b"vidlabel.embeddings"])["model"] == "echo"


def test_the_command_writes_embeddings_of_the_shipped_model(tmp_path: Path) -> None:
    video = str(Path(__file__).parent.parent / "examples" / "videos" / "green-circle-right.mp4")
    out = tmp_path / "labels.parquet"
    args = ["caption", video, "--model", "shapes", "--embeddings", "--max-new-tokens", "4", "--workers", "1"]
    result = CliRunner().invoke(app, [*args, "--out", str(out)])
    assert result.exit_code == 0, result.output
    (vector,) = embeddings(out).values()
    assert len(vector) == 96
    assert rows(out)[0]["temporal_consistency"] is not None
