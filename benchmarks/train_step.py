"""Steps of `vidlabel train pretrain` at the size of the released models, with random weights and clips of noise:
`python -m benchmarks.train_step` on a GPU, `--size tiny --device cpu` to try it without one.

Printed are the seconds of a step, tokens a second, the memory at its peak, and MFU: the multiplications that a step
needs (the tower forwards; the language model forwards, and backwards as far as LoRA and the projection need it; nothing
twice for checkpointing) over what the same machine does in a large matrix product in that time.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PrinterCallback, TrainerCallback

from benchmarks.engine_floor import Shape, shape_of
from benchmarks.engine_machine import describe, measure_rates, wait
from benchmarks.random_models import configs, random_model, tokenizer_of
from vidlabel.config import FrameSettings
from vidlabel.data import Frames, Video
from vidlabel.models.minigpt4_video.model import MiniGPT4Video
from vidlabel.models.minigpt4_video.prompt import prompt_budget
from vidlabel.models.minigpt4_video.tokenizer import PromptTokenizer
from vidlabel.prompts import load_pool
from vidlabel.train.batches import IGNORED, collate
from vidlabel.train.dataset import ExampleSet, Teaching
from vidlabel.train.decoding import Decoding
from vidlabel.train.examples import Example
from vidlabel.train.lessons import LessonForm
from vidlabel.train.objective import Objective
from vidlabel.train.rates import Rates
from vidlabel.train.running import keep_few_activations
from vidlabel.train.stages import Learning, get_ready
from vidlabel.train.trainer import Course, LabellerTrainer

WARM_STEPS = 2
LONGEST = 256  # tokens of an answer
ANSWER = "A person walks along a street and looks at the houses on both sides. " * 4


def noise_frames(example: Example, settings: FrameSettings) -> Frames:
    """In place of a decoder: what is in the pictures does not matter to speed."""
    size, count = settings.image_size, settings.num_frames
    random = np.random.default_rng(int(example.example_id))
    images = random.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    return Frames(images, np.linspace(0, 9.9, count))


class Watch(TrainerCallback):
    """Seconds of every step after the first few."""

    def __init__(self, device: torch.device) -> None:
        self.seconds: list[float] = []
        self._device, self._started = device, 0.0

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == WARM_STEPS and self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        wait(self._device)
        self._started = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        wait(self._device)
        if state.global_step > WARM_STEPS:
            self.seconds.append(time.perf_counter() - self._started)


def step_flops(shape: Shape, *, clips: int, frames: int, tokens: int, answer: int) -> float:
    """Of one step over rows of `tokens` positions each, `answer` of them learnt. Weights of the language model are
    frozen, so backwards costs as much as forwards in its matrices, and twice as much in its attention."""
    matrices = 2.0 * tokens * shape.num_layers * shape.layer_weights
    attention = shape.prefill_flops(tokens) - matrices
    words = 2.0 * answer * shape.hidden * shape.vocab
    return clips * (frames * shape.frame_flops() + 2 * matrices + 3 * attention + 2 * words)


@dataclass(frozen=True, slots=True)
class Measured:
    seconds: Sequence[float]  # of each timed step
    num_tokens: int  # of one step, in all rows
    num_learnt: int  # of them


def measure(model: MiniGPT4Video, tokenizer: PromptTokenizer, *, clips: int, num_frames: int, steps: int) -> Measured:
    """Through the Trainer of `vidlabel train`; the model has been made ready."""
    device, dtype = model.device, model.llama_model.dtype
    frames = FrameSettings(num_frames, model.config.vision.image_size)
    form = LessonForm("inference", prompt_budget(model.config, model.max_positions, LONGEST), LONGEST)
    teaching = Teaching(tokenizer, form.applied(model.config), form, frames, load_pool("caption"), seed=0)
    examples = [
        Example(str(number), Video(f"clip{number}", "-", f"clip{number}"), None, None, ANSWER)
        for number in range(clips)
    ]
    learnt = ExampleSet([(one,) for one in examples], teaching, Decoding("noise", frames, None, decode=noise_frames))
    num_steps = WARM_STEPS + steps
    course = Course(
        num_steps=num_steps,
        batch_size=clips,
        accumulate=1,
        seed=0,
        rates=Rates(1e-4, 1e-5, 1e-6, 1, 1e-4, 0.05, 0.999),
        max_grad_norm=1.0,
        dtype=str(dtype).removeprefix("torch."),
        on_cpu=device.type == "cpu",
        log_every=num_steps,
        eval_every=num_steps,
        save_every=10 * num_steps,
    )
    watch = Watch(device)
    with tempfile.TemporaryDirectory() as work:
        trainer = LabellerTrainer(
            Objective(model), course, Path(work), learnt, None, callbacks=[watch], on_failure=_fail
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    batch = collate([learnt[0, number] for number in range(clips)])
    return Measured(watch.seconds, int(batch["mask"].sum()), int((batch["labels"] != IGNORED).sum()))


def main(args: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=["tiny", "small", "7b"], default="7b")
    parser.add_argument("--model", choices=["llama2", "mistral"], default="llama2")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--batch-size", type=int, default=4, help="clips in a step")
    parser.add_argument("--frames", type=int, default=45, help="a clip")
    parser.add_argument("--steps", type=int, default=8, help=f"that are timed, after {WARM_STEPS} others")
    parser.add_argument("--checkpointing", action="store_true", help="less memory for more time")
    options = parser.parse_args(args)
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch sees no GPU here; --size tiny --device cpu tries it without one")
    device = torch.device(options.device)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    print(", ".join(describe(device, str(dtype).removeprefix("torch.")).values()))
    rates = measure_rates(device, dtype, tiny=options.size == "tiny")
    config, llm_config = configs(options.size, options.model)
    model = random_model(config, llm_config, options.device, dtype)
    get_ready(model, Learning("lora"), {}, seed=0)
    if options.checkpointing:
        keep_few_activations(model)
    clips, num_frames = options.batch_size, options.frames
    found = measure(model, tokenizer_of(options.model), clips=clips, num_frames=num_frames, steps=options.steps)
    flops = step_flops(
        shape_of(config, llm_config),
        clips=clips,
        frames=num_frames,
        tokens=found.num_tokens // clips,
        answer=found.num_learnt // clips,
    )
    seconds = statistics.median(found.seconds)
    again = "activations computed again" if options.checkpointing else "activations kept"
    print(f"{options.size} {options.model}, {clips} x {num_frames} frames, LoRA, {again}")
    print(
        f"step {seconds:.3f} s (median of {len(found.seconds)}), {found.num_tokens} tokens, {found.num_learnt} learnt"
    )
    print(f"{found.num_tokens / seconds:.0f} tokens/s, {clips * num_frames / seconds:.0f} frames/s")
    if device.type == "cuda":
        print(f"peak memory {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")
    print(f"MFU {flops / seconds / rates.flops:.1%} of {rates.flops / 1e12:.1f} TFLOP/s in a large matrix product")
    return 0


def _fail(failure: object) -> None:
    raise AssertionError(failure)


if __name__ == "__main__":
    raise SystemExit(main())
