"""The optimizer and its learning rate, as the reference has them: AdamW, no decay of biases and norms (or Muon); a
linear warm-up, then a cosine from the rate's top to its bottom, reckoned over all steps."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from vidlabel.train.muon import MuonAndAdamW

_VISION = ("model.visual_encoder.", "model.ln_vision.")


@dataclass(frozen=True, slots=True)
class Rates:
    """`warmup_lr` is where the warm-up begins, `min_lr` where the cosine ends."""

    lr: float
    min_lr: float
    warmup_lr: float
    warmup_steps: int
    vision_lr: float  # of the tower, where it learns
    weight_decay: float
    beta2: float
    muon: bool = False  # for the matrices

    def __post_init__(self) -> None:
        if self.lr <= 0 or self.vision_lr <= 0 or min(self.min_lr, self.warmup_lr, self.weight_decay) < 0:
            raise ValueError(
                "rates are above 0, got "
                f"{self.lr = }, {self.vision_lr = }, {self.min_lr = }, {self.warmup_lr = }, {self.weight_decay = }"
            )
        if self.warmup_steps < 0 or not 0 < self.beta2 < 1:
            raise ValueError(f"warm-up is 0 or more, beta2 in (0, 1), got {self.warmup_steps = }, {self.beta2 = }")

    def at(self, step: int, num_steps: int) -> float:
        """The rate of a step, the first being 0."""
        if step < self.warmup_steps:
            return min(self.lr, self.warmup_lr + (self.lr - self.warmup_lr) * step / self.warmup_steps)
        return self.min_lr + (self.lr - self.min_lr) * 0.5 * (1 + math.cos(math.pi * step / num_steps))


def make_optimizer(model: nn.Module, rates: Rates) -> torch.optim.Optimizer:
    """AdamW over what learns, or Muon over its matrices. The groups' rates are the tops; the schedule is a factor for
    all."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            lr = rates.vision_lr if name.startswith(_VISION) else rates.lr
            decays = parameter.ndim > 1 and "bias" not in name
            groups.setdefault((lr, rates.weight_decay if decays else 0.0), []).append(parameter)
    listed = [{"params": found, "lr": lr, "weight_decay": decay} for (lr, decay), found in groups.items()]
    if rates.muon:
        return MuonAndAdamW(model, listed, beta2=rates.beta2)
    return torch.optim.AdamW(listed, betas=(0.9, rates.beta2))


def make_schedule(optimizer: torch.optim.Optimizer, rates: Rates, num_steps: int) -> torch.optim.lr_scheduler.LambdaLR:
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rates.at(step, num_steps) / rates.lr)
