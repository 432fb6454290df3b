"""Speed of the `generate` captioner at full size with random weights: `python -m benchmarks.generate --model mistral`.

Random weights do: speed does not depend on them. Prints, for a batch of clips, seconds of vision and prefill together
(answers of one token), milliseconds a decoding step, clips per second, peak memory; and the ratio to the named
baseline of the same run: the same clips one at a time (`--batch-size 1`), as MiniGPT4-video's own script runs them.
This is what a faster engine has to beat. `--model tiny` runs anywhere, to see that the script does.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import LlamaConfig, MistralConfig

from vidlabel.config import AnswerSettings
from vidlabel.data import AskedClip, Clip, Frames, Question, Video, VideoInfo
from vidlabel.models.minigpt4_video.config import EVA_VIT_G, ModelConfig, VisionConfig
from vidlabel.models.minigpt4_video.generate import GenerateCaptioner
from vidlabel.models.minigpt4_video.loading import assemble, build_empty
from vidlabel.models.minigpt4_video.model import MiniGPT4Video
from vidlabel.models.minigpt4_video.tokenizer import load_tokenizer

TOKENIZERS = Path(__file__).parent.parent / "tests" / "data" / "golden"
TINY_VISION = VisionConfig(image_size=56, patch_size=14, embed_dim=32, depth=3, num_heads=4, mlp_hidden=139)


def sizes(name: str) -> tuple[ModelConfig, Any, Path]:
    """Model and language model configs, and a tokenizer (a small one: its ids are valid in the large vocabulary)."""
    llama = TOKENIZERS / "llama_small" / "Llama-2-tiny-chat-hf"
    mistral = TOKENIZERS / "mistral_small" / "Mistral-tiny-Instruct"
    if name == "llama2":
        llm = LlamaConfig(vocab_size=32000, hidden_size=4096, intermediate_size=11008, num_hidden_layers=32,
                          num_attention_heads=32, max_position_embeddings=4096, rms_norm_eps=1e-5)  # fmt: skip
        return ModelConfig(EVA_VIT_G, context_window=4096, num_frames=45), llm, llama
    if name == "mistral":
        mistral_llm = MistralConfig(vocab_size=32000, hidden_size=4096, intermediate_size=14336, num_hidden_layers=32,
                                    num_attention_heads=32, num_key_value_heads=8, max_position_embeddings=32768,
                                    rms_norm_eps=1e-5, sliding_window=None)  # fmt: skip
        return ModelConfig(EVA_VIT_G, context_window=8012, num_frames=90), mistral_llm, mistral
    tiny = LlamaConfig(vocab_size=640, hidden_size=48, intermediate_size=112, num_hidden_layers=2,
                       num_attention_heads=4, max_position_embeddings=4096, rms_norm_eps=1e-5)  # fmt: skip
    return ModelConfig(TINY_VISION, context_window=4096, num_frames=45), tiny, llama


def random_model(config: ModelConfig, llm_config: Any, device: str, dtype: torch.dtype) -> MiniGPT4Video:
    """Made tensor by tensor on the device: two copies of the model never exist."""

    def tensors() -> Iterator[tuple[str, Tensor]]:
        for name, value in build_empty(config, llm_config).state_dict().items():
            if value.ndim == 1:
                yield name, torch.ones(value.shape, device=device, dtype=dtype)
            else:
                yield name, torch.randn(value.shape, device=device, dtype=dtype) * 0.02

    return assemble(config, llm_config, tensors(), source="random weights", device=device, dtype=dtype)


def asked_clips(config: ModelConfig, count: int) -> list[AskedClip]:
    size, num_frames = config.vision.image_size, config.num_frames
    random = np.random.default_rng(0)
    info = VideoInfo(size, size, 25.0, 10.0, "h264")
    question = Question("Describe this video in detail.", "benchmark")
    made = []
    for number in range(count):
        clip = Clip(f"clip{number}", Video(f"video{number}", "-", "-"), info, 0.0, 10.0)
        images = random.integers(0, 256, (num_frames, size, size, 3), dtype=np.uint8)
        made.append(AskedClip(clip, Frames(images, np.linspace(0, 9.9, num_frames)), (question,)))
    return made


class Bench:
    """One loaded model, timed with several settings."""

    def __init__(self, name: str, device: str, dtype: str) -> None:
        self.config, llm_config, tokenizer_folder = sizes(name)
        self.model = random_model(self.config, llm_config, device, getattr(torch, dtype))
        self.tokenizer = load_tokenizer(tokenizer_folder)

    def seconds(self, clips: list[AskedClip], *, batch_size: int, new_tokens: int) -> tuple[float, int]:
        """Wall seconds to answer all clips, and the tokens generated."""
        settings = AnswerSettings("random", "random", "benchmark", "", max_new_tokens=new_tokens)
        captioner = GenerateCaptioner(self.model, self.tokenizer, settings, batch_size=batch_size)
        started = time.perf_counter()
        answers = list(captioner.answer(clips))
        if self.model.device.type == "cuda":
            torch.cuda.synchronize()
        failed = [answer.error for answer in answers if answer.error]
        assert not failed, failed[0]
        return time.perf_counter() - started, sum(answer.num_tokens for answer in answers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=["tiny", "llama2", "mistral"], default="tiny")
    parser.add_argument("--clips", type=int, default=16)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--new-tokens", type=int, default=200)
    parser.add_argument("--pairs", type=int, default=2)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", default="float16" if torch.cuda.is_available() else "float32")
    options = parser.parse_args()
    bench = Bench(options.model, options.device, options.dtype)
    clips = asked_clips(bench.config, options.clips)
    bench.seconds(clips[: options.batch_size], batch_size=options.batch_size, new_tokens=4)  # warm
    batched, single, first = [], [], []
    num_tokens = 0
    for _ in range(options.pairs):
        first.append(bench.seconds(clips, batch_size=options.batch_size, new_tokens=1)[0])
        seconds, num_tokens = bench.seconds(clips, batch_size=options.batch_size, new_tokens=options.new_tokens)
        batched.append(seconds)
        few = clips[: max(1, options.clips // 8)]
        single.append(bench.seconds(few, batch_size=1, new_tokens=options.new_tokens)[0] / len(few))
    whole, prefill, alone = map(statistics.median, (batched, first, single))
    steps = -(-options.clips // options.batch_size) * (options.new_tokens - 1)
    print(f"{options.model}, random weights, {options.dtype} on {options.device}, torch {torch.__version__}")
    print(f"{options.clips} clips of {bench.config.num_frames} frames, batches of {options.batch_size}")
    print(f"tokens generated     {num_tokens:10}")
    print(f"vision and prefill   {prefill / options.clips * 1000:10.1f} ms a clip")
    print(f"decoding             {(whole - prefill) / steps * 1000:10.1f} ms a step of the batch")
    print(f"batched              {options.clips / whole:10.3f} clips/s")
    print(f"one at a time        {1 / alone:10.3f} clips/s   (baseline)")
    print(f"ratio                {options.clips / whole * alone:10.2f}")
    if bench.model.device.type == "cuda":
        print(f"peak memory          {torch.cuda.max_memory_allocated() / 2**30:10.1f} GiB")


if __name__ == "__main__":
    main()
