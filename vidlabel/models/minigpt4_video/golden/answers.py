"""Golden cases of the whole way from prompt text and frames to answers, and of the language model inside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from vidlabel.models.minigpt4_video.decoding import TokenChooser, penalise, warp
from vidlabel.models.minigpt4_video.generate import generate_ids
from vidlabel.models.minigpt4_video.golden.compare import (
    EMBEDDING_TOLERANCE,
    LOGIT_TOLERANCE,
    CaseResult,
    compare,
    compare_exact,
)
from vidlabel.models.minigpt4_video.golden.folder import Golden
from vidlabel.models.minigpt4_video.golden.text import reference_answer
from vidlabel.models.minigpt4_video.model import MiniGPT4Video, pad_left, positions
from vidlabel.models.minigpt4_video.tokenizer import SentencePieceTokenizer

IMAGE = "<ImageHere>"


def check_answers(model: MiniGPT4Video, tokenizer: SentencePieceTokenizer, golden: Golden) -> Iterator[CaseResult]:
    """All generation cases: ids of each segment, embeddings, logits, greedy ids, answers."""
    images = model.encode_images(golden.tensors["pool.pixels"])
    for name, case in golden.read_json("cases.json").items():
        if not name.startswith("_"):
            yield from _check_case(model, tokenizer, golden, images, name, case)


def embed_prompt(
    model: MiniGPT4Video, tokenizer: SentencePieceTokenizer, text: str, images: Tensor, *, bos: bool
) -> tuple[list[list[int]], Tensor]:
    """The reference's way: cut at the image marks, each piece tokenised by itself, control tokens in text honoured."""
    segments = [tokenizer.encode_reference(part, bos=bos and i == 0) for i, part in enumerate(text.split(IMAGE))]
    return segments, model.embed_segments(segments, images)


def _check_case(
    model: MiniGPT4Video,
    tokenizer: SentencePieceTokenizer,
    golden: Golden,
    images: Tensor,
    name: str,
    case: dict[str, Any],
) -> Iterator[CaseResult]:
    rows, segments = [], []
    for prompt, frames, length in zip(case["prompts"], case["frames"], case["lengths"], strict=True):
        ids, embeds = embed_prompt(model, tokenizer, prompt, images[frames[:length]], bos=True)
        segments += ids
        rows.append(embeds)
    expected_ids = [segment["ids"] for row in case["segments"] for segment in row]
    yield compare_exact(f"{name}.segments", segments, expected_ids)
    embeds, mask = pad_left(rows)
    window = golden.config["limits"]["context_window"]
    embeds, mask = embeds[:, -window:], mask[:, -window:]  # too long a batch keeps its tail
    for what, found in (("inputs_embeds", embeds), ("attention_mask", mask)):
        if golden.has(f"{name}.{what}"):
            tolerance = EMBEDDING_TOLERANCE if what == "inputs_embeds" else 0.0
            yield compare(f"{name}.{what}", found, golden.tensors[f"{name}.{what}"], tolerance)
    yield from _check_generated(model, tokenizer, golden, name, case, embeds, mask)


def _check_generated(
    model: MiniGPT4Video,
    tokenizer: SentencePieceTokenizer,
    golden: Golden,
    name: str,
    case: dict[str, Any],
    embeds: Tensor,
    mask: Tensor,
) -> Iterator[CaseResult]:
    settings = case["generate_kwargs"]
    chooser = _TracingChooser(settings["repetition_penalty"], num_rows=len(embeds))
    generated = generate_ids(
        model,
        embeds,
        mask,
        chooser,
        max_new_tokens=settings["max_new_tokens"],
        stop_ids=tokenizer.eos_ids,
        pad_id=golden.config.get("llm_generation_config", {}).get("pad_token_id", tokenizer.pad_id),
    ).tolist()
    for what, found in (
        ("logits_step0", chooser.logits[0]),
        ("logits_last_step", chooser.logits[-1]),
        ("scores_last_step", chooser.scores[-1]),
    ):
        if golden.has(f"{name}.{what}"):
            yield compare(f"{name}.{what}", found, golden.tensors[f"{name}.{what}"], LOGIT_TOLERANCE)
    for what, traced in (("logits_top4", chooser.logits), ("scores_top4", chooser.scores)):
        if "steps" in case:
            yield _compare_steps(f"{name}.{what}", traced, [step[what] for step in case["steps"]])
    flat = [token for row in generated for token in row]
    yield compare_exact(f"{name}.output_ids", flat, [token for row in case["output_ids"] for token in row])
    pad_id = golden.config["tokenizer"].get("pad_token_id")
    answers = [reference_answer(tokenizer, row, pad_id) for row in generated]
    yield compare_exact(f"{name}.answers", answers, case["answers"])


class _TracingChooser(TokenChooser):
    """The captioner's own greedy choice, with every step kept."""

    def __init__(self, repetition_penalty: float, *, num_rows: int) -> None:
        super().__init__(repetition_penalty=repetition_penalty, temperature=0.0, top_p=1.0, seeds=range(num_rows))
        self.logits: list[Tensor] = []
        self.scores: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        chosen = super().__call__(input_ids, scores)
        self.logits.append(self.last_logits)
        self.scores.append(self.last_scores)
        return chosen


def _compare_steps(name: str, found: Sequence[Tensor], expected: Sequence[Sequence[Any]]) -> CaseResult:
    """The four largest values of each row at each step, by their token."""
    if len(found) != len(expected):
        return CaseResult(name, float("inf"), LOGIT_TOLERANCE)
    worst = max(
        (
            abs(float(values[row, token]) - value)
            for values, rows in zip(found, expected, strict=True)
            for row, top in enumerate(rows)
            for token, value in top
        ),
        default=0.0,
    )
    return CaseResult(name, worst, LOGIT_TOLERANCE)


def check_prefill(model: MiniGPT4Video, golden: Golden) -> Iterator[CaseResult]:
    """Positions and every layer's hidden states of one padded batch: the one whose embeddings are `hidden0`."""
    if not golden.has("llm_prefill.hidden0"):
        return
    embeds = golden.tensors["llm_prefill.hidden0"]
    mask = next(
        (
            golden.tensors[f"{name}.attention_mask"]
            for name in golden.read_json("cases.json")
            if golden.has(f"{name}.inputs_embeds", f"{name}.attention_mask")
            and torch.equal(golden.tensors[f"{name}.inputs_embeds"], embeds)
        ),
        (embeds.abs().amax(-1) > 0).int(),  # padding is zeros
    )
    places = positions(mask)
    if golden.has("llm_prefill.position_ids"):
        yield compare("llm_prefill.position_ids", places, golden.tensors["llm_prefill.position_ids"], 0.0)
    out = model.llama_model(inputs_embeds=embeds, attention_mask=mask, position_ids=places, output_hidden_states=True)
    for i, hidden in enumerate(out.hidden_states):
        if golden.has(f"llm_prefill.hidden{i}"):
            real = mask[..., None].bool()  # what stands on a pad is seen by no one
            expected = golden.tensors[f"llm_prefill.hidden{i}"]
            yield compare(f"llm_prefill.hidden{i}", hidden * real, expected * real, LOGIT_TOLERANCE)


def check_sampled_scores(model: MiniGPT4Video, golden: Golden) -> Iterator[CaseResult]:
    """Penalty, temperature, top k and top p in the reference's order, over two steps of one case."""
    drawn = golden.read_json("cases.json").get("_sampling")
    if drawn is None or not golden.has("sampling.step0_processed_scores"):
        return
    first = drawn["first_token_drawn"]
    top_p = golden.config.get("llm_generation_config", {}).get("top_p", 1.0)
    expected = _with_infinities(golden.tensors["sampling.step0_processed_scores"])
    kept = torch.isfinite(expected)
    # the data does not say which case it was: it is the one whose raw logits are the kept scores
    name = min(
        (name.removesuffix(".logits_step0") for name in golden.tensors if name.endswith(".logits_step0")),
        key=lambda name: _distance(golden.tensors[f"{name}.logits_step0"], expected, kept),
    )
    embeds, mask = golden.tensors[f"{name}.inputs_embeds"], golden.tensors[f"{name}.attention_mask"]
    logits = _last_logits(model, embeds, mask)
    found = warp(logits, temperature=1.0, top_k=50, top_p=top_p)
    yield compare("sampling.step0_processed_scores", found, expected, LOGIT_TOLERANCE)
    embeds = torch.cat([embeds, model.embed_ids([first])[None]], dim=1)
    mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
    logits = _last_logits(model, embeds, mask)
    yield compare("sampling.step1_raw_logits", logits, golden.tensors["sampling.step1_raw_logits"], LOGIT_TOLERANCE)
    found = warp(penalise(logits, torch.tensor([[first]]), 1.5), temperature=1.0, top_k=50, top_p=top_p)
    expected = _with_infinities(golden.tensors["sampling.step1_processed_scores"])
    yield compare("sampling.step1_processed_scores", found, expected, LOGIT_TOLERANCE)


def _last_logits(model: MiniGPT4Video, embeds: Tensor, mask: Tensor) -> Tensor:
    out = model.llama_model(
        inputs_embeds=embeds, attention_mask=mask, position_ids=positions(mask), logits_to_keep=1, use_cache=False
    )
    logits: Tensor = out.logits[:, -1]
    return logits


def _with_infinities(scores: Tensor) -> Tensor:
    """The data has -1e30 for a token that was ruled out."""
    return scores.masked_fill(scores <= -1e29, -torch.inf)


def _distance(logits: Tensor, expected: Tensor, kept: Tensor) -> float:
    return float((logits - expected)[kept].abs().max()) if logits.shape == expected.shape else float("inf")
