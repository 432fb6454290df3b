"""MiniGPT4-video models of several sizes with random weights, and clips of noise to ask about: for speed they do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import LlamaConfig, MistralConfig

from vidlabel.data import AskedClip, Clip, Frames, Question, Video, VideoInfo
from vidlabel.models.minigpt4_video.config import EVA_VIT_G, ModelConfig, VisionConfig
from vidlabel.models.minigpt4_video.loading import assemble, build_empty
from vidlabel.models.minigpt4_video.model import MiniGPT4Video
from vidlabel.models.minigpt4_video.prompt import stop_ids
from vidlabel.models.minigpt4_video.tokenizer import PromptTokenizer, load_tokenizer

GOLDEN = Path(__file__).parent.parent / "tests" / "data" / "golden"
# small tokenizers: their ids are valid in any larger vocabulary
TOKENIZERS = {
    "llama2": GOLDEN / "llama_small" / "Llama-2-tiny-chat-hf",
    "mistral": GOLDEN / "mistral_small" / "Mistral-tiny-Instruct",
}
VISION = {
    "tiny": VisionConfig(image_size=56, patch_size=14, embed_dim=32, depth=3, num_heads=4, mlp_hidden=139),
    "small": VisionConfig(image_size=112, patch_size=14, embed_dim=384, depth=6, num_heads=6, mlp_hidden=1536),
    "7b": EVA_VIT_G,
}
# of the language models; `small` has about 100 million parameters
WIDTHS: dict[str, dict[str, int]] = {
    "tiny": {"vocab_size": 640, "hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4},
    "small": {"vocab_size": 8000, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12},
    "7b": {"vocab_size": 32000, "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32},
}
INTERMEDIATE = {
    ("tiny", "llama2"): 112, ("tiny", "mistral"): 112, ("small", "llama2"): 2048, ("small", "mistral"): 2048,
    ("7b", "llama2"): 11008, ("7b", "mistral"): 14336,
}  # fmt: skip
KV_HEADS = {"tiny": 2, "small": 4, "7b": 8}  # of Mistral; Llama-2 has as many as query heads


def configs(size: str, model: str) -> tuple[ModelConfig, Any]:
    """Our config and the language model's: the released window and frames, at each size."""
    widths = WIDTHS[size] | {"intermediate_size": INTERMEDIATE[size, model]}
    num_frames, window = (45, 4096) if model == "llama2" else (90, 8012)
    if size != "7b":
        num_frames = 45
    config = ModelConfig(VISION[size], context_window=window, num_frames=num_frames)
    if model == "llama2":
        return config, LlamaConfig(**widths, max_position_embeddings=4096, rms_norm_eps=1e-5)
    grouped = {"num_key_value_heads": KV_HEADS[size], "sliding_window": None}
    return config, MistralConfig(**widths, **grouped, max_position_embeddings=32768, rms_norm_eps=1e-5)


def random_model(config: ModelConfig, llm_config: Any, device: str, dtype: torch.dtype) -> MiniGPT4Video:
    """Made tensor by tensor on the device: two copies of the model never exist."""
    generator = torch.Generator(device).manual_seed(0)

    def tensors() -> Iterator[tuple[str, Tensor]]:
        for name, value in build_empty(config, llm_config).state_dict().items():
            if value.ndim == 1:
                yield name, torch.ones(value.shape, device=device, dtype=dtype)
            else:
                yield name, torch.empty(value.shape, device=device, dtype=dtype).normal_(0, 0.02, generator=generator)

    return assemble(config, llm_config, tensors(), source="random weights", device=device, dtype=dtype)


def tokenizer_of(model: str) -> PromptTokenizer:
    return load_tokenizer(TOKENIZERS[model])


def never_stop(model: MiniGPT4Video, tokenizer: PromptTokenizer) -> None:
    """End tokens get the score 0, above which there is always another: every answer takes all its tokens."""
    with torch.no_grad():
        model.llama_model.lm_head.weight[list(stop_ids(tokenizer, model.config))] = 0.0


def asked_clips(
    config: ModelConfig,
    count: int,
    *,
    num_questions: int = 1,
    num_frames: int | None = None,
    distinct: int | None = None,
) -> list[AskedClip]:
    """Clips of noise. Questions differ in their words and lengths, as those of a pool do. `distinct`: so many sets of
    frames in all, used in turn, so that hundreds of clips do not fill the memory."""
    size, num_frames = config.vision.image_size, num_frames or config.num_frames
    random = np.random.default_rng(0)
    info = VideoInfo(size, size, 25.0, 10.0, "h264")
    endings = ["", " Be brief.", " What happens first, and what then?", " Name the colours."]
    questions = tuple(
        Question(f"{number + 1}. Describe this video in detail.{endings[number % 4]}", "benchmark")
        for number in range(num_questions)
    )
    pictures = [
        random.integers(0, 256, (num_frames, size, size, 3), dtype=np.uint8)
        for _ in range(min(count, distinct or count))
    ]
    made = []
    for number in range(count):
        clip = Clip(f"clip{number}", Video(f"video{number}", "-", "-"), info, 0.0, 10.0)
        images = pictures[number % len(pictures)]
        made.append(AskedClip(clip, Frames(images, np.linspace(0, 9.9, num_frames)), questions))
    return made
