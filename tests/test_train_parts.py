"""The parts of a training that need no model: rates, recipes, who is asked what in which epoch, who is held back."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from benchmarks.curves import main as draw_curves
from benchmarks.curves import read_losses
from benchmarks.train_new_things import new_scene
from vidlabel.cli import app
from vidlabel.data import Video
from vidlabel.errors import InputError
from vidlabel.prompts import load_pool
from vidlabel.train.dataset import Schedule, Teaching
from vidlabel.train.examples import Example
from vidlabel.train.rates import Rates, make_optimizer
from vidlabel.train.settings import settle
from vidlabel.train.shapes_text import caption
from vidlabel.train.shapes_world import render
from vidlabel.train.splitting import apart, split_off
from vidlabel.train.turns import in_rows

RECIPES = Path(__file__).parent.parent / "examples" / "recipes"


def example(number: int, video: str, *, question: str | None = "What?") -> Example:
    return Example(f"e{number}", Video(video, video, f"/{video}"), None, question, "A cat.")


def test_the_rate_is_the_reference_s_at_every_step() -> None:
    rates = Rates(1e-4, 8e-5, 1e-6, 10, 1e-4, 0.05, 0.999)
    assert rates.at(0, 100) == 1e-6
    assert rates.at(5, 100) == pytest.approx(1e-6 + 0.5 * (1e-4 - 1e-6))
    for step in (10, 50, 99):  # a cosine over all steps, the warm-up's counted
        assert rates.at(step, 100) == pytest.approx(8e-5 + 2e-5 * 0.5 * (1 + math.cos(math.pi * step / 100)))


def test_biases_and_norms_do_not_decay() -> None:
    module = torch.nn.ModuleDict({"one": torch.nn.Linear(2, 3), "norm": torch.nn.LayerNorm(3)})
    groups = make_optimizer(module, Rates(1e-4, 0, 0, 0, 1e-4, 0.05, 0.98)).param_groups
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    assert {name: decay[id(p)] for name, p in module.named_parameters()} == {
        "one.weight": 0.05, "one.bias": 0.0, "norm.weight": 0.0, "norm.bias": 0.0
    }  # fmt: skip
    assert {group["betas"] for group in groups} == {(0.9, 0.98)}


@pytest.mark.parametrize("stage", ["align", "pretrain", "instruct"])
def test_the_shipped_recipes_are_the_reference_s_numbers(stage: str) -> None:
    for base, steps in {"llama2": 50_000, "mistral": 43_750}.items():
        made = settle(stage, RECIPES / f"{stage}-{base}.toml", {})  # type: ignore[arg-type]
        assert (made.lr, made.min_lr, made.warmup_lr, made.weight_decay) == (1e-4, 8e-5, 1e-6, 0.05)
        assert made.language == ("frozen" if stage == "align" else "lora")
        assert made.steps == (20_000 if stage == "align" else steps)
        if stage != "align":
            assert (made.lora_r, made.lora_alpha, made.lora_dropout) == (64, 16, 0.05)
            assert made.frames == {"llama2": 45, "mistral": 90}[base]


def test_what_is_typed_wins_over_the_recipe() -> None:
    recipe = RECIPES / "pretrain-llama2.toml"
    made = settle("pretrain", recipe, {"lr": 5e-5, "epochs": 2.0, "full": True, "seed": None})
    assert (made.lr, made.epochs, made.steps, made.seed) == (5e-5, 2.0, None, 42)
    assert made.language == "full"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rate = 1", "unknown key 'learning_rate'"),
        ('lr = "fast"', "lr should be float, got 'fast'"),
        ("steps = 1.5", "steps should be int, got 1.5"),
        ('stage = "align"', "is for align, not for pretrain"),
        ("lr = ", "not TOML"),
    ],
)
def test_a_wrong_recipe_is_one_line(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(text)
    with pytest.raises(InputError, match=message):
        settle("pretrain", tmp_path / "recipe.toml", {})


def test_every_epoch_takes_all_rows_once_and_rows_hold_one_clip() -> None:
    examples = [example(number, f"v{number % 3}.mp4") for number in range(11)]
    rows = in_rows(examples, 3)
    assert sorted(one.example_id for row in rows for one in row) == sorted(one.example_id for one in examples)
    assert all(len({one.source for one in row}) == 1 for row in rows)
    assert max(map(len, rows)) == 3
    drawn = list(Schedule(len(rows), total=2 * len(rows) + 2, seed=1))
    first, second = drawn[: len(rows)], drawn[len(rows) : 2 * len(rows)]
    assert sorted(first) == [(0, index) for index in range(len(rows))]
    assert sorted(second) == [(1, index) for index in range(len(rows))]
    assert [index for _, index in first] != [index for _, index in second]
    assert len(drawn) == 2 * len(rows) + 2


def test_an_instruction_is_drawn_by_example_and_epoch() -> None:
    teaching = Teaching(None, None, None, None, load_pool("caption"), 3)  # type: ignore[arg-type]
    one, other = example(1, "a.mp4", question=None), example(2, "a.mp4", question=None)
    drawn = [[teaching.question(asked, epoch) for epoch in range(12)] for asked in (one, other)]
    assert drawn[0] == [teaching.question(one, epoch) for epoch in range(12)]
    assert drawn[0] != drawn[1]
    assert len(set(drawn[0])) > 3
    assert teaching.question(example(1, "a.mp4"), 5) == "What?"


def test_evaluation_has_videos_of_its_own() -> None:
    examples = [example(number, f"v{number % 10}.mp4") for number in range(40)]
    learnt, held = split_off(examples, 0.2)
    assert len(learnt) + len(held) == 40
    assert len({one.source for one in held}) == 2
    assert {one.source for one in held}.isdisjoint(one.source for one in learnt)
    assert {one.source for one in split_off(examples[::-1], 0.2)[1]} == {one.source for one in held}
    assert apart(examples, held) == learnt
    with pytest.raises(InputError, match="there is one video only"):
        split_off([example(1, "a.mp4"), example(2, "a.mp4")], 0.5)


def test_new_things_to_teach_are_drawn_and_told_of() -> None:
    for number, words in enumerate([("pink",), ("cross",), ("pink", "cross")]):
        scene = new_scene("train", number)
        told = caption(scene, "plain")
        assert all(word in told for word in words), told
        old = replace(scene, things=(*scene.things[:-1], replace(scene.things[-1], shape="circle", rgb=(0, 0, 0))))
        # at the first moment or at the last, whatever appears or disappears
        assert (render(scene, [0.0, 1.0], 64, 64) != render(old, [0.0, 1.0], 64, 64)).any()


def test_curves_show_what_the_log_of_a_training_holds(tmp_path: Path) -> None:
    logs = tmp_path / "mine.logs"
    logs.mkdir()
    rows = (
        {"step": 10, "loss": 2.0, "lr": 0.1},
        {"step": 10, "video": "a.mp4", "says": "x"},
        {"step": 20, "loss": 1.0},
    )
    (logs / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in (*rows, {"step": 20, "eval_loss": 1.5})))
    assert read_losses(logs) == {"loss": [(10, 2.0), (20, 1.0)], "eval_loss": [(20, 1.5)]}
    for name in ("one", "two"):
        assert draw_curves([str(logs), "--out", str(tmp_path / f"{name}.svg")]) == 0
    drawn = (tmp_path / "one.svg").read_text()
    assert "<svg" in drawn
    assert drawn == (tmp_path / "two.svg").read_text()


def test_help_names_the_stages() -> None:
    told = CliRunner().invoke(app, ["train", "--help"])
    assert told.exit_code == 0
    assert all(word in told.output for word in ("align", "pretrain", "instruct", "--recipe", "--turns"))
