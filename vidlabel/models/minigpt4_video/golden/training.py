"""Golden cases of the training loss, laid out exactly as the reference's `forward` does it.

bos [INST] <Img> F0 ... question[/INST] answer </s> $$ $$ $$ ...
-100 ........................... -100   answer </s> -100 ...
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from vidlabel.models.minigpt4_video.golden.answers import embed_prompt
from vidlabel.models.minigpt4_video.golden.compare import (
    EMBEDDING_TOLERANCE,
    LOSS_TOLERANCE,
    CaseResult,
    compare,
    compare_exact,
)
from vidlabel.models.minigpt4_video.golden.folder import Golden
from vidlabel.models.minigpt4_video.model import MiniGPT4Video
from vidlabel.models.minigpt4_video.tokenizer import SentencePieceTokenizer

IGNORED = -100


def check_training(model: MiniGPT4Video, tokenizer: SentencePieceTokenizer, golden: Golden) -> Iterator[CaseResult]:
    """Embeddings, mask, labels and loss of every recorded batch."""
    if not (golden.folder / "train_cases.json").is_file():
        return
    images = model.encode_images(golden.tensors["pool.pixels"])
    for name, case in golden.read_json("train_cases.json").items():
        embeds, mask, labels, calls = lay_out(model, tokenizer, golden, images, case)
        expected_calls = [call["ids"] for call in case.get("tokenizer_calls", []) if call["ids"] is not None]
        yield compare_exact(f"train.{name}.segments", calls, expected_calls)
        for what, found, tolerance in (
            ("inputs_embeds", embeds, EMBEDDING_TOLERANCE),
            ("attention_mask", mask, 0.0),
            ("labels", labels, 0.0),
        ):
            if golden.has(f"train.{name}.{what}"):
                yield compare(f"train.{name}.{what}", found, golden.tensors[f"train.{name}.{what}"], tolerance)
        logits = model.llama_model(inputs_embeds=embeds, attention_mask=mask, use_cache=False).logits[:, :-1]
        losses = F.cross_entropy(logits.transpose(1, 2), labels[:, 1:], ignore_index=IGNORED, reduction="none")
        mean = losses.sum() / (labels[:, 1:] != IGNORED).sum()
        yield compare(f"train.{name}.loss", mean, torch.tensor(case["loss_mean"]), LOSS_TOLERANCE)
        per_sample = torch.tensor(case["loss_per_sample_reduction_none"])  # over all positions, ignored ones included
        yield compare(f"train.{name}.loss_per_sample", losses.mean(dim=1), per_sample, LOSS_TOLERANCE)


def lay_out(
    model: MiniGPT4Video, tokenizer: SentencePieceTokenizer, golden: Golden, images: Tensor, case: dict[str, Any]
) -> tuple[Tensor, Tensor, Tensor, list[list[int]]]:
    """Embeddings, mask and labels, all rows as long as bos, longest context and longest answer together."""
    total = 1 + case["max_context_len"] + case["max_txt_len"]
    pad = model.embed_ids([golden.config["tokenizer"]["pad_token_id"]])
    bos = model.embed_ids([tokenizer.control_id("bos")])
    rows, calls = [], []
    mask = torch.zeros(len(case["answer"]), total, dtype=torch.int32)
    labels = torch.full(mask.shape, IGNORED, dtype=torch.long)
    for i, (instruction, answer) in enumerate(zip(case["instruction_input"], case["answer"], strict=True)):
        frames = images[case["frames"][i][: case["length"][i]]]
        segments, context = embed_prompt(model, tokenizer, f"[INST] {instruction}[/INST]", frames, bos=False)
        calls += segments
        context = torch.cat([bos, context[: case["max_context_len"]]])
        ids = tokenizer.encode_reference(answer + "</s>", bos=False)[: case["max_txt_len"]]
        row = torch.cat([context, model.embed_ids(ids)])
        mask[i, : len(row)] = 1
        labels[i, len(context) : len(row)] = torch.tensor(ids)
        rows.append(torch.cat([row, pad.expand(total - len(row), -1)]))
    return torch.stack(rows), mask, labels, calls
