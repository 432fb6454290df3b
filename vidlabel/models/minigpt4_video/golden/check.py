"""All golden cases against one model, in float32 on the CPU."""

from __future__ import annotations

from pathlib import Path

import torch

from vidlabel.errors import InputError
from vidlabel.models.minigpt4_video.golden.answers import check_answers, check_prefill, check_sampled_scores
from vidlabel.models.minigpt4_video.golden.compare import CaseResult
from vidlabel.models.minigpt4_video.golden.folder import load_for_golden, read_golden
from vidlabel.models.minigpt4_video.golden.images import check_preprocessing, check_probes, check_vision
from vidlabel.models.minigpt4_video.golden.text import check_sampling, check_tokenizer
from vidlabel.models.minigpt4_video.golden.training import check_training
from vidlabel.models.minigpt4_video.tokenizer import SentencePieceTokenizer


def check_golden(folder: Path, golden_folder: Path) -> list[CaseResult]:
    """Recomputes every case of a golden folder with the model in `folder`: one of our own folders, or one with the
    three original sources. Sizes, limits and names come from the golden folder's config.json."""
    golden = read_golden(golden_folder)
    model, tokenizer, llm_folder = load_for_golden(folder, golden)
    if not isinstance(tokenizer, SentencePieceTokenizer):
        raise InputError(f"{llm_folder}: golden data needs a tokenizer.model")
    try:
        with torch.inference_mode():
            return [
                *check_preprocessing(golden),
                *check_vision(model, golden),
                *check_probes(model, golden),
                *check_tokenizer(tokenizer, llm_folder, golden),
                *check_answers(model, tokenizer, golden),
                *check_prefill(model, golden),
                *check_sampled_scores(model, golden),
                *check_training(model, tokenizer, golden),
                *check_sampling(golden),
            ]
    except KeyError as error:
        raise InputError(f"{golden_folder}: entry {error} is missing") from error
