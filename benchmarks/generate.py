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

import torch

from benchmarks.random_models import asked_clips, configs, random_model, tokenizer_of
from vidlabel.config import AnswerSettings
from vidlabel.data import AskedClip
from vidlabel.models.minigpt4_video.generate import GenerateCaptioner


class Bench:
    """One loaded model, timed with several settings."""

    def __init__(self, name: str, device: str, dtype: str) -> None:
        family = "llama2" if name == "tiny" else name
        self.config, llm_config = configs("tiny" if name == "tiny" else "7b", family)
        self.model = random_model(self.config, llm_config, device, getattr(torch, dtype))
        self.tokenizer = tokenizer_of(family)

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
