"""Trains the shipped `shapes` model from nothing: `python -m vidlabel.train.shapes --out DIR`. Seeded; under an hour on
2 cores. A run that was stopped goes on after the last stage that it finished."""

from __future__ import annotations

import argparse
import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from vidlabel.models.minigpt4_video.model import MiniGPT4Video
from vidlabel.models.minigpt4_video.saving import save_tensors
from vidlabel.models.minigpt4_video.tokenizer import load_tokenizer
from vidlabel.train.shapes_parts import REPEATING_STEPS, SEEING_STEPS, new_model
from vidlabel.train.shapes_stages import learn_to_repeat, learn_to_see, learn_to_tell_apart, learn_together
from vidlabel.train.shapes_tokenizer import write_tokenizer

logger = logging.getLogger(__name__)

_LAST = 0.12  # of the time, for the last stage


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps of each stage, and how often the longest is checked."""

    seeing: int = SEEING_STEPS
    repeating: int = REPEATING_STEPS
    together: int = 5600
    telling_apart: int = 800
    check_every: int = 500

    def shortened(self, share: float) -> Plan:
        def part(steps: int) -> int:
            return max(1, round(steps * share))

        return Plan(
            part(self.seeing), part(self.repeating), part(self.together), part(self.telling_apart), self.check_every
        )


def train(out: Path, plan: Plan, seed: int, *, seconds: float) -> None:
    """Learns, and writes the model folder `out`. What is finished on the way lies in `out.work` until then."""
    work = out.with_name(out.name + ".work")
    write_tokenizer(work)
    model = learn(work, plan, seed, seconds=seconds)
    halves = {name: tensor.detach().half() for name, tensor in model.state_dict().items()}
    out.parent.mkdir(parents=True, exist_ok=True)
    save_tensors(out, model.config, model.llama_model.config, halves, work, overwrite=True)
    shutil.rmtree(work)


def learn(work: Path, plan: Plan, seed: int, *, seconds: float) -> MiniGPT4Video:
    """The four stages, each kept in `work` when it is done. On a slow machine the last two are cut short to `seconds`
    in all; otherwise it depends on the seed alone."""
    started = time.monotonic()
    torch.manual_seed(seed)
    tokenizer = load_tokenizer(work)
    model = new_model()
    logger.info("%d parameters", sum(parameter.numel() for parameter in model.parameters()))
    stages: dict[str, Callable[[], None]] = {
        "seeing": lambda: learn_to_see(model, plan.seeing, seed),
        "repeating": lambda: learn_to_repeat(model, tokenizer, plan.repeating, seed),
        "together": lambda: learn_together(
            model,
            tokenizer,
            plan.together,
            seed,
            seconds=max(1.0, started + (1 - _LAST) * seconds - time.monotonic()),
            check_every=plan.check_every,
        ),
        "telling_apart": lambda: learn_to_tell_apart(
            model, tokenizer, plan.telling_apart, seed, seconds=max(1.0, started + seconds - time.monotonic())
        ),
    }
    for name, stage in stages.items():
        finished = work / f"{name}-{seed}.pt"
        if finished.exists():
            logger.info("%s: done before", name)
            model.load_state_dict(torch.load(finished, weights_only=True))
            continue
        stage()
        torch.save(model.state_dict(), finished)
    return model.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the model folder to write")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--minutes", type=float, default=58.0, help="at most this long: a slow machine does fewer steps"
    )
    parser.add_argument("--share", type=float, default=1.0, help="of all steps; less is a quick try")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    train(options.out, Plan().shortened(options.share), options.seed, seconds=60 * options.minutes)


if __name__ == "__main__":
    main()
