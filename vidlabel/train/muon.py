"""Two optimizers as one: Muon for the matrices inside, AdamW for embeddings, norms, biases and the rest.

Small models that learn everything from the beginning need a third fewer steps so.
Muon: Jordan et al. 2024; its rates are matched to AdamW's by Liu et al. 2025 (arXiv 2502.16982).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn


class MuonAndAdamW(torch.optim.Optimizer):
    """`groups`: parameter groups as AdamW takes them. Each is parted into matrices of linear layers, for Muon, and the
    rest; who changes the rate of one of `param_groups` changes it for the part that works with it."""

    def __init__(self, model: nn.Module, groups: Sequence[Mapping[str, Any]], *, beta2: float) -> None:
        inner = _linear_weights(model)
        self._parts: list[torch.optim.Optimizer] = []
        matrices = [_only(group, lambda one: id(one) in inner) for group in groups]
        others = [_only(group, lambda one: id(one) not in inner) for group in groups]
        if any(group["params"] for group in others):
            self._parts.append(torch.optim.AdamW([group for group in others if group["params"]], betas=(0.9, beta2)))
        if any(group["params"] for group in matrices):
            self._parts.append(
                torch.optim.Muon([group for group in matrices if group["params"]], adjust_lr_fn="match_rms_adamw")
            )
        super().__init__([group for part in self._parts for group in part.param_groups], {})
        # the very same dictionaries: a schedule writes its rates into these
        self.param_groups = [group for part in self._parts for group in part.param_groups]

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        loss = None if closure is None else closure()
        for part in self._parts:
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        return {"parts": [part.state_dict() for part in self._parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for part, state in zip(self._parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self.param_groups = [group for part in self._parts for group in part.param_groups]


def _linear_weights(model: nn.Module) -> set[int]:
    """Ids of the weights of linear layers, but for a head that is the embedding."""
    embeddings = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    weights = {id(module.weight) for module in model.modules() if isinstance(module, nn.Linear)}
    return weights - embeddings


def _only(group: Mapping[str, Any], wanted: Callable[[nn.Parameter], bool]) -> dict[str, Any]:
    return {**group, "params": [one for one in group["params"] if wanted(one)]}
