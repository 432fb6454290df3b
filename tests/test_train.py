"""`vidlabel train`: what it makes runs, a killed run loses nothing, and how the work is portioned changes nothing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from tests.minigpt4_models import golden_config, golden_sources
from tests.training import colour_clips, command, tiny_model, tiny_sources, train, train_words
from vidlabel.cli import app
from vidlabel.models.minigpt4_video.adapter import read_adapter
from vidlabel.models.minigpt4_video.checkpoint import read_checkpoint
from vidlabel.models.minigpt4_video.loading import load_sources
from vidlabel.models.minigpt4_video.tensors import read_torch_file
from vidlabel.models.minigpt4_video.unmerged import untrained
from vidlabel.models.presets import read_sources, read_sources_config
from vidlabel.train.finishing import save_trained
from vidlabel.train.settings import TrainSettings
from vidlabel.train.stages import Learning, get_ready


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return colour_clips(tmp_path_factory.mktemp("clips"))


LORA = ("--lora-r", "8", "--lora-alpha", "2")  # as the tiny model's adapter
SHORT = ("--batch-size", "2", "--log-every", "1", "--warmup-steps", "0", *LORA)


def losses(out: Path, name: str = "loss") -> dict[int, float]:
    lines = map(json.loads, (out.with_name(out.name + ".logs") / "log.jsonl").read_text().splitlines())
    return {line["step"]: line[name] for line in lines if name in line}


def test_what_is_trained_captions_at_once_and_a_bad_video_costs_itself_only(model: Path, tmp_path: Path) -> None:
    manifest, out = colour_clips(tmp_path / "clips", bad=1), tmp_path / "mine"
    others = colour_clips(tmp_path / "others", 2)
    more = ("--steps", "6", "--eval-data", str(others), "--eval-every", "3", "--samples", "1", *SHORT, "--workers", "1")
    done = train("pretrain", manifest, model, out, *more)
    assert done.exit_code == 3, done.output
    assert "bad0.mp4" in (tmp_path / "mine.failures.jsonl").read_text()
    assert not (tmp_path / "mine.work").exists()
    assert set(losses(out)) == {1, 2, 3, 4, 5, 6}
    assert set(losses(out, "eval_loss")) == {3, 6}
    assert set(losses(out, "says")) == {3, 6}
    assert list((tmp_path / "mine.logs").glob("events.out.tfevents.*"))
    labels = tmp_path / "labels.jsonl"
    words = ["caption", str(manifest.parent / "0-red.mp4"), "--model", str(out), "--out", str(labels)]
    labelled = CliRunner().invoke(app, [*words, "--workers", "1", "--frames", "2", "--device", "cpu"])
    assert labelled.exit_code == 0, labelled.output
    assert json.loads(labels.read_text())["model"] == str(out)


def test_training_lowers_the_loss_and_changes_only_what_learns(model: Path, clips: Path, tmp_path: Path) -> None:
    assert train("instruct", clips, model, tmp_path / "mine", "--steps", "20", *SHORT).exit_code == 0
    found = losses(tmp_path / "mine")
    assert np.mean([found[step] for step in (18, 19, 20)]) < 0.5 * found[1]
    before, after = (load_file(folder / "model.safetensors") for folder in (model, tmp_path / "mine"))
    changed = {name for name, tensor in before.items() if not torch.equal(tensor.float(), after[name].float())}
    assert changed == {"llama_proj.weight", "llama_proj.bias"}
    language, learnt = (load_file(f / "language_model" / "model.safetensors") for f in (model, tmp_path / "mine"))
    changed = {name for name, tensor in language.items() if not torch.equal(tensor.float(), learnt[name].float())}
    assert changed == {f"{layer}.weight" for layer in read_adapter(model)}


def test_half_precision_learns_in_float32_and_is_kept_like_that(model: Path, clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine"
    done = train("instruct", clips, model, out, "--steps", "20", "--dtype", "bf16", *SHORT)
    assert done.exit_code == 0, done.output
    found = losses(out)
    assert np.mean([found[step] for step in (18, 19, 20)]) < 0.7 * found[1]
    learnt = load_file(out / "adapter.safetensors") | load_file(out / "model.safetensors")
    for name in ("llama_proj.weight", "model.layers.0.self_attn.q_proj.lora_A"):
        assert learnt[name].dtype == torch.float32
        assert not torch.equal(learnt[name], learnt[name].bfloat16().float())


def test_a_question_that_is_too_long_costs_itself_and_a_span_that_is_not_there_its_own_rows(
    model: Path, clips: Path, tmp_path: Path
) -> None:
    rows = ["video,start,end,question,answer"]
    rows += ["0-red.mp4,,,Which colour is it?,Red.", f"0-red.mp4,,,{'What? ' * 3000},Red."]
    rows += ["1-blue.mp4,0,0.5,Which colour is it?,Blue.", "1-blue.mp4,9,10,Which colour is it?,None."]
    asked = clips.with_name("asked-too-much.csv")
    asked.write_text("\n".join(rows) + "\n")
    more = ("--steps", "4", "--turns", "2", "--log-every", "1", "--batch-size", "3", "--warmup-steps", "0", *LORA)
    assert train("instruct", asked, model, tmp_path / "mine", *more).exit_code == 3
    failed = (tmp_path / "mine.failures.jsonl").read_text().splitlines()
    reasons = sorted(json.loads(line)["reason"] for line in failed)
    assert [reason[:20] for reason in reasons] == ["its clip starts at 9", "the question is too "]
    assert losses(tmp_path / "mine")[4] < losses(tmp_path / "mine")[1]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 143)])
def test_a_killed_run_ends_with_the_same_loss(
    number: signal.Signals, code: int, model: Path, clips: Path, tmp_path: Path
) -> None:
    more = (
        "--steps",
        "30",
        "--save-every",
        "2",
        "--accumulate",
        "2",
        "--lora-dropout",
        "0.1",
        *SHORT,
        "--workers",
        "1",
    )
    words = train_words("pretrain", clips, model, tmp_path / "killed", *more)
    running = subprocess.Popen(command(*words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "killed.work").glob("checkpoint-*/whole")) and time.monotonic() < deadline:
        time.sleep(0.005)
    running.send_signal(number)
    assert running.wait() == code
    assert not (tmp_path / "killed").exists(), "it was over before it was killed"
    assert CliRunner().invoke(app, words).exit_code == 0
    assert train("pretrain", clips, model, tmp_path / "whole", *more).exit_code == 0
    killed, whole = losses(tmp_path / "killed"), losses(tmp_path / "whole")
    assert set(killed) == set(whole) == set(range(1, 31))
    assert killed[30] == pytest.approx(whole[30], abs=1e-4)
    ours, theirs = (load_file(tmp_path / name / "adapter.safetensors") for name in ("killed", "whole"))
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-5) for name in theirs)


@pytest.mark.slow
def test_two_processes_train_to_the_loss_of_one(model: Path, clips: Path, tmp_path: Path) -> None:
    more = ("--steps", "5", "--eval-share", "0.25", "--log-every", "1", "--warmup-steps", "0", *LORA)
    words = train_words("pretrain", clips, model, tmp_path / "two", *more, "--batch-size", "1")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "vidlabel"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*launch, *words], capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert train("pretrain", clips, model, tmp_path / "one", *more, "--batch-size", "2").exit_code == 0
    for name in ("loss", "eval_loss"):
        two, one = losses(tmp_path / "two", name), losses(tmp_path / "one", name)
        assert two == pytest.approx(one, abs=1e-4), name


def test_small_batches_add_up_to_a_large_one(model: Path, clips: Path, tmp_path: Path) -> None:
    more = ("--steps", "3", "--log-every", "1", "--warmup-steps", "0", *LORA)
    for name, portions in {"large": ("4", "1"), "small": ("1", "4")}.items():
        size = ("--batch-size", portions[0], "--accumulate", portions[1])
        assert train("instruct", clips, model, tmp_path / name, *more, *size).exit_code == 0
    assert losses(tmp_path / "small") == pytest.approx(losses(tmp_path / "large"), abs=1e-5)


def test_kept_features_give_the_loss_of_the_videos_and_are_what_is_read(
    model: Path, clips: Path, tmp_path: Path
) -> None:
    more = ("--steps", "4", *SHORT)
    cached = (*more, "--cache-features", str(tmp_path / "features"))
    assert train("pretrain", clips, model, tmp_path / "plain", *more).exit_code == 0
    assert train("pretrain", clips, model, tmp_path / "first", *cached).exit_code == 0
    kept = list((tmp_path / "features").rglob("*.safetensors"))
    assert len(kept) == 4
    written = {path: path.stat().st_mtime_ns for path in kept}
    for video in clips.parent.glob("*.mp4"):  # of the same size and time, but nothing can be decoded any more
        times = (video.stat().st_atime_ns, video.stat().st_mtime_ns)
        shutil.copyfile(video, tmp_path / video.name)
        video.write_bytes(bytes(video.stat().st_size))
        os.utime(video, ns=times)
    try:
        assert train("pretrain", clips, model, tmp_path / "again", *cached).exit_code == 0
    finally:
        for video in clips.parent.glob("*.mp4"):
            shutil.copyfile(tmp_path / video.name, video)
    assert losses(tmp_path / "first") == losses(tmp_path / "again")
    assert losses(tmp_path / "first") == pytest.approx(losses(tmp_path / "plain"), rel=1e-2)
    assert {path: path.stat().st_mtime_ns for path in kept} == written


def test_examples_of_a_clip_in_one_row_give_the_loss_of_rows_of_their_own(
    model: Path, clips: Path, tmp_path: Path
) -> None:
    """Four clips with a question and a caption each: one step over all of them, then another."""
    more = ("--steps", "2", "--log-every", "1", "--warmup-steps", "0", "--caption-data", str(clips), *LORA)
    for name, portions in {"alone": ("8", "1"), "together": ("4", "2")}.items():
        sizes = ("--batch-size", portions[0], "--turns", portions[1])
        done = train(
            "instruct", clips, model, tmp_path / name, *more, "--pool", str(_one_instruction(tmp_path)), *sizes
        )
        assert done.exit_code == 0, done.output
    assert losses(tmp_path / "together") == pytest.approx(losses(tmp_path / "alone"), abs=1e-5)


def _one_instruction(folder: Path) -> Path:
    """So that no other is drawn in another epoch."""
    pool = folder / "pool.txt"
    pool.write_text("Describe the video.\n")
    return pool


def test_where_the_tower_learns_the_pictures_are_kept(model: Path, clips: Path, tmp_path: Path) -> None:
    more = ("--steps", "4", "--full", "--train-vision", *SHORT[:-4])
    cached = (*more, "--cache-features", str(tmp_path / "kept"))
    for name, options in {"plain": more, "first": cached, "again": cached}.items():
        done = train("pretrain", clips, model, tmp_path / name, *options)
        assert done.exit_code == 0, done.output
    kept = list((tmp_path / "kept" / "pictures").rglob("*.safetensors"))
    assert {load_file(path)["features"].dtype for path in kept} == {torch.uint8}
    assert len(kept) == 4
    assert losses(tmp_path / "plain") == losses(tmp_path / "first") == losses(tmp_path / "again")


def test_half_done_work_of_other_settings_is_not_gone_on_with(model: Path, clips: Path, tmp_path: Path) -> None:
    work = tmp_path / "mine.work"
    assert train("pretrain", clips, model, tmp_path / "other", "--steps", "1", *SHORT).exit_code == 0
    (work / "checkpoint-1").mkdir(parents=True)
    (work / "checkpoint-1" / "whole").touch()
    (work / "training.json").write_text(json.dumps({"lr": 0.5, "steps": 1}))
    done = train("pretrain", clips, model, tmp_path / "mine", "--steps", "1", *SHORT)
    assert done.exit_code == 2
    assert "lr: 0.01, was 0.5" in done.output
    assert "--no-resume" in done.output
    assert train("pretrain", clips, model, tmp_path / "mine", "--steps", "1", *SHORT, "--no-resume").exit_code == 0


def test_original_files_are_left_where_they_are_and_the_checkpoint_is_the_reference_s(
    clips: Path, tmp_path: Path
) -> None:
    start, out = tiny_sources(tmp_path / "start"), tmp_path / "mine"
    assert train("pretrain", clips, start, out, "--steps", "2", *SHORT).exit_code == 0
    assert sorted(path.name for path in out.iterdir()) == ["sources.json", "video_checkpoint.pth"]
    theirs, ours = (read_torch_file(folder / "video_checkpoint.pth")["model"] for folder in (start, out))
    assert {name: t.shape for name, t in ours.items()} == {name: t.shape for name, t in theirs.items()}
    assert {t.dtype for t in ours.values()} == {torch.float32}
    assert not torch.equal(ours["llama_proj.weight"], theirs["llama_proj.weight"])
    again = train("instruct", clips, out, tmp_path / "next", "--steps", "1", *SHORT)  # and it can be gone on with
    assert again.exit_code == 0, again.output


@pytest.mark.parametrize("variant", ["llama_small", "mistral_small"])
def test_exported_and_converted_back_every_bit_is_as_before(variant: str, tmp_path: Path) -> None:
    own = tiny_model(tmp_path / "own", variant)
    for words in (
        [str(own), "--to", "reference", "--out", str(tmp_path / "reference")],
        [str(tmp_path / "reference"), "--out", str(tmp_path / "back")],
    ):
        done = CliRunner().invoke(app, ["models", "convert", *words])
        assert done.exit_code == 0, done.output
    files = [path.relative_to(own) for path in own.rglob("*.safetensors")]
    assert len(files) >= 3
    for file in files:
        ours, theirs = load_file(tmp_path / "back" / file), load_file(own / file)
        assert set(ours) == set(theirs)
        for name, tensor in theirs.items():
            assert ours[name].dtype == tensor.dtype
            assert torch.equal(ours[name], tensor), name


def test_the_released_checkpoint_comes_out_of_a_converted_model_again(tmp_path: Path) -> None:
    start = tiny_sources(tmp_path / "start")
    own = tmp_path / "own"
    for words in ([str(start), "--out", str(own)], [str(own), "--to", "reference", "--out", str(tmp_path / "back")]):
        assert CliRunner().invoke(app, ["models", "convert", *words]).exit_code == 0
    ours, theirs = (read_torch_file(f / "video_checkpoint.pth")["model"] for f in (tmp_path / "back", start))
    assert set(ours) == set(theirs)
    assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())
    assert read_checkpoint(tmp_path / "back" / "video_checkpoint.pth").lora.keys() == read_adapter(own).keys()


def test_full_training_writes_a_whole_model_without_an_adapter(model: Path, clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine"
    more = ("--steps", "2", "--full", "--train-vision", "--checkpointing", "--batch-size", "2", "--warmup-steps", "0")
    done = train("pretrain", clips, model, out, *more)
    assert done.exit_code == 0, done.output
    assert not (out / "adapter.safetensors").exists()
    before, after = (load_file(folder / "model.safetensors") for folder in (model, out))
    assert all(not torch.equal(before[name].float(), after[name].float()) for name in before if "qkv" in name)


def test_new_weights_are_written_in_the_type_that_is_asked_for(model: Path, clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine"
    more = ("--steps", "1", "--full", "--save-dtype", "fp16", "--batch-size", "2", "--warmup-steps", "0")
    done = train("pretrain", clips, model, out, *more)
    assert done.exit_code == 0, done.output
    files = [out / "model.safetensors", *(out / "language_model").glob("*.safetensors")]
    assert {tensor.dtype for file in files for tensor in load_file(file).values()} == {torch.float16}


def test_single_frames_align_the_projection_and_leave_the_adapter(model: Path, clips: Path, tmp_path: Path) -> None:
    from PIL import Image

    for colour in ("red", "blue"):
        Image.new("RGB", (40, 30), colour).save(tmp_path / f"{colour}.png")
        (tmp_path / f"{colour}.txt").write_text(f"All {colour}.")
    out = tmp_path / "mine"
    done = train("align", tmp_path, model, out, "--steps", "2", "--batch-size", "2", "--frames", "1")
    assert done.exit_code == 0, done.output
    ours, theirs = (load_file(folder / "adapter.safetensors") for folder in (out, model))
    assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())
    assert json.loads((out / "config.json").read_text())["num_frames"] == 45


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--from", "echo"), "--from echo: has no weights"),
        (("--eval-share", "2"), "--eval-share 2.0: is between 0 and 1"),
        (("--warmup-steps", "9", "--steps", "3"), "--warmup-steps 9: the run has only 3 steps"),
        (("--lora-r", "4"), "--lora-r 4: the adapter of --from has rank 8"),
        (("--turns", "2", "--prompt-form", "reference"), "--turns 2: the reference's form has one question a row"),
        (("--dtype", "fp16"), "a CPU trains in fp32 or bf16"),
        (("--max-answer-tokens", "9000"), "leaves no room for a prompt"),
        (("--pool", "nothing"), "no such pool"),
        (("--save-dtype", "fp16"), "--save-dtype fp16: belongs to --full or --train-vision"),
    ],
)
def test_what_cannot_be_is_one_line_that_names_the_option(
    more: tuple[str, ...], message: str, model: Path, clips: Path, tmp_path: Path
) -> None:
    done = train("pretrain", clips, model, tmp_path / "mine", *more)
    assert done.exit_code == 2, done.output
    assert message in done.output
    assert not (tmp_path / "mine").exists()


def test_a_projection_that_met_no_language_model_before_is_aligned_without_lora(clips: Path, tmp_path: Path) -> None:
    """The two that were given are left where they are; the checkpoint says that it has no adapter."""
    sources, config = golden_sources("llama_small"), golden_config("llama_small")
    begun = untrained(sources.vision, sources.language_model, config, dtype=torch.float32, seed=1)
    settings = TrainSettings("align", lora=False)
    get_ready(begun.model, Learning("frozen"), begun.lora, seed=1)
    with torch.no_grad():
        begun.model.llama_proj.weight += 0.25
    save_trained(tmp_path / "mine", begun, settings, dtype="float32", on_gpu=False)
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == ["sources.json", "video_checkpoint.pth"]
    found, _ = load_sources(read_sources(tmp_path / "mine"), read_sources_config(tmp_path / "mine"))
    assert torch.equal(found.llama_proj.weight, begun.model.llama_proj.weight)
    after = train("pretrain", clips, tmp_path / "mine", tmp_path / "next", "--steps", "1", "--batch-size", "2")
    assert after.exit_code == 0, after.output
    assert read_checkpoint(tmp_path / "next" / "video_checkpoint.pth").lora
