"""Muon and AdamW as one optimizer: both learn, both follow the schedule, and what they remember comes back."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.test_train import losses
from tests.training import colour_clips, tiny_model, train
from vidlabel.train.muon import MuonAndAdamW


class Tied(nn.Module):
    """An embedding that is also the head, as in small language models."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.inner = nn.Embedding(7, 4), nn.Linear(4, 4)
        self.head = nn.Linear(4, 7, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        told: torch.Tensor = self.head(torch.relu(self.inner(self.embedding(ids))))
        return told


def optimizer_of(model: nn.Module) -> MuonAndAdamW:
    groups = [{"params": list(model.parameters()), "lr": 0.02, "weight_decay": 0.0}]
    return MuonAndAdamW(model, groups, beta2=0.99)


def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> float:
    ids = torch.arange(7)
    loss = nn.functional.cross_entropy(model(ids), ids.roll(1))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def test_matrices_inside_go_to_muon_and_a_tied_head_does_not() -> None:
    model = Tied()
    adam, muon = optimizer_of(model).param_groups
    assert [one.shape for one in muon["params"]] == [(4, 4)]
    assert {id(one) for one in adam["params"]} == {id(model.embedding.weight), id(model.inner.bias)}


def test_it_learns_and_goes_on_as_if_it_had_not_been_interrupted() -> None:
    model = Tied()
    optimizer = optimizer_of(model)
    losses = [step(model, optimizer) for _ in range(40)]
    assert losses[-1] < 0.7 * losses[0]
    other = Tied()
    other.load_state_dict(model.state_dict())
    resumed = optimizer_of(other)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))  # as through a file: tensors are not shared
    assert [step(other, resumed) for _ in range(5)] == [step(model, optimizer) for _ in range(5)]


def test_a_schedule_moves_both_rates_also_after_loading() -> None:
    model = Tied()
    optimizer = optimizer_of(model)
    optimizer.load_state_dict(optimizer_of(model).state_dict())
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 0.0)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert schedule.get_last_lr() == [0.0, 0.0]
    step(model, optimizer)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_a_whole_model_learns_with_either(optimizer: str, tmp_path: Path) -> None:
    clips, model = colour_clips(tmp_path / "clips"), tiny_model(tmp_path / "tiny")
    more = ("--steps", "16", "--full", "--log-every", "1", "--warmup-steps", "0", "--optimizer", optimizer)
    done = train("instruct", clips, model, tmp_path / "mine", *more)
    assert done.exit_code == 0, done.output
    found = losses(tmp_path / "mine")
    assert sum(found[step] for step in (14, 15, 16)) < 1.5 * found[1]
