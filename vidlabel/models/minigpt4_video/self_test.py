"""A known answer kept beside the weights. Run at every start, it catches weights, tokenizer or library that changed.

The frames are made by a formula, so nothing but this file and the model is needed. One forward pass over prompt and
recorded answer gives every step's logits: cheap enough for each start.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vidlabel.data import Cue
from vidlabel.errors import InputError
from vidlabel.models.minigpt4_video.model import MiniGPT4Video
from vidlabel.models.minigpt4_video.prompt import Prefix, build_prefix, build_suffix, captions_of_frames
from vidlabel.models.minigpt4_video.tokenizer import PromptTokenizer

FILE = "self_test.json"
_VERSION = 1
_NUM_FRAMES = 3
_NUM_STEPS = 8
_NUM_LOGITS = 16  # spread over the vocabulary, of every step
_QUESTION = "What happens in this video?"
_CUES = (Cue(0.0, 1.0, "hello there"), Cue(1.5, 2.0, "and goodbye"))
# Largest difference of a logit, as a share of the recorded logits' spread: measured, with room for other kernels
_TOLERANCES = {torch.float32: 2e-3, torch.float16: 0.1, torch.bfloat16: 0.5}


@dataclass(frozen=True, slots=True)
class SelfTestResult:
    """`problems` empty: the model answers as recorded."""

    problems: tuple[str, ...]
    largest_difference: float  # of the recorded logits, in units of their spread
    tolerance: float

    @property
    def passed(self) -> bool:
        return not self.problems


def write_self_test(folder: Path, *, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32) -> None:
    """Records the known answer of an own folder. `dtype` half only where float32 does not fit into memory."""
    from vidlabel.models.minigpt4_video.loading import load_model

    model, tokenizer = load_model(folder, device=device, dtype=dtype)
    prefix, suffix = _prompt(model, tokenizer)
    ids: list[int] = []
    for _ in range(_NUM_STEPS):
        ids.append(int(_step_logits(model, prefix, suffix, ids)[-1].argmax()))
    logits = _step_logits(model, prefix, suffix, ids[:-1])
    top = logits.topk(2).values
    recorded = {
        "version": _VERSION,
        "dtype": str(dtype).removeprefix("torch."),
        "prompt_ids": [list(segment) for segment in prefix.segments] + [list(suffix)],
        "greedy_ids": ids,
        "margins": (top[:, 0] - top[:, 1]).tolist(),
        "spread": float(logits.std()),
        "logits": logits[:, _sampled_columns(logits.shape[1])].tolist(),
    }
    (folder / FILE).write_text(json.dumps(recorded) + "\n", encoding="utf-8")


def run_self_test(folder: Path, model: MiniGPT4Video, tokenizer: PromptTokenizer) -> SelfTestResult:
    """Compares a loaded model with what its folder has recorded."""
    recorded = _read(folder / FILE)
    tolerance = max(_TOLERANCES[model.dtype], _TOLERANCES[getattr(torch, recorded["dtype"])])
    prefix, suffix = _prompt(model, tokenizer)
    prompt_ids = [list(segment) for segment in prefix.segments] + [list(suffix)]
    if len(prompt_ids) != len(recorded["prompt_ids"]):
        raise InputError(f"{folder / FILE}: damaged (prompt segments differ)")
    if prompt_ids != recorded["prompt_ids"]:
        at = next(i for i, ids in enumerate(recorded["prompt_ids"]) if ids != prompt_ids[i])
        problem = (
            f"the tokenizer gives {prompt_ids[at]} for prompt segment {at}, recorded is {recorded['prompt_ids'][at]}"
        )
        return SelfTestResult((problem,), float("inf"), tolerance)
    expected = torch.tensor(recorded["logits"])
    logits = _step_logits(model, prefix, suffix, recorded["greedy_ids"][:-1])
    if logits.shape[0] != expected.shape[0]:
        raise InputError(f"{folder / FILE}: damaged (steps differ)")
    worst = float((logits[:, _sampled_columns(logits.shape[1])] - expected).abs().max()) / recorded["spread"]
    problems = []
    if not worst <= tolerance:  # also when it is not a number
        problems.append(f"logits differ by {worst:.2g} of their spread, {tolerance:.2g} is allowed")
    for step, (want, margin) in enumerate(zip(recorded["greedy_ids"], recorded["margins"], strict=True)):
        found = int(logits[step].argmax())
        if found != want and margin > 2 * tolerance * recorded["spread"]:
            problems.append(f"token {step} is {found}, recorded is {want}")
    return SelfTestResult(tuple(problems), worst, tolerance)


def synthetic_frames(num_frames: int, size: int) -> npt.NDArray[np.uint8]:
    """Moving ramps, from a formula rather than a random generator, whose numbers may change with its version."""
    t, y, x, c = np.indices((num_frames, size, size, 3))
    frames: npt.NDArray[np.uint8] = ((x * (2 + t) + y * (3 + c) + 61 * t + 85 * c) % 256).astype(np.uint8)
    return frames


def _prompt(model: MiniGPT4Video, tokenizer: PromptTokenizer) -> tuple[Prefix, tuple[int, ...]]:
    captions = captions_of_frames([float(i) for i in range(_NUM_FRAMES)], _CUES)
    prefix = build_prefix(tokenizer, model.config, captions, max_tokens=model.max_positions)
    return prefix, build_suffix(tokenizer, model.config, _QUESTION)


def _step_logits(model: MiniGPT4Video, prefix: Prefix, suffix: tuple[int, ...], answer: list[int]) -> Tensor:
    """Logits (1 + len(answer), vocabulary) after the prompt and after each token of the answer, float32 on the CPU."""
    with torch.inference_mode():
        frames = synthetic_frames(prefix.num_frames, model.config.vision.image_size)
        images = model.encode_images(model.preprocess(frames))
        embeds = torch.cat([model.embed_prefix(prefix, images), model.embed_ids([*suffix, *answer])])
        out = model.llama_model(inputs_embeds=embeds[None], logits_to_keep=len(answer) + 1, use_cache=False)
    logits: Tensor = out.logits[0].float().cpu()
    return logits


def _sampled_columns(vocab_size: int) -> Tensor:
    return torch.linspace(0, vocab_size - 1, _NUM_LOGITS).long()


def _read(path: Path) -> dict[str, Any]:
    try:
        recorded = json.loads(path.read_text(encoding="utf-8"))
        if recorded["version"] != _VERSION or len(recorded["margins"]) != len(recorded["greedy_ids"]):
            raise InputError(f"{path}: of another version or damaged")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: cannot be read ({error!r})") from error
    assert isinstance(recorded, dict)
    return recorded
