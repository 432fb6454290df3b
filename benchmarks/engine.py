"""Speed of the slot engine beside its floor and `generate`, with random weights: `python -m benchmarks.engine`.

    python -m benchmarks.engine --size small --compare-k 1,8          on a CPU, some minutes
    python -m benchmarks.engine --size 7b --model mistral --k 8 --clips 128 --lengths mix    on a GPU

The floor is the least time for the same useful work at the matrix and copy rates measured in this very run. Padding and
finished rows never count. No end token is ever said, so every answer takes all its tokens. Baselines are described in
`engine_baselines.py`; they run on `--baseline-clips` of the same clips and are compared by clips per second.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.engine_baselines import Baseline, pass_per_question, shipped_captioner
from benchmarks.engine_floor import Rates, Shape, answer_lengths, shape_of
from benchmarks.engine_machine import describe, measure_rates
from benchmarks.engine_run import figures, load_of, run_engine
from benchmarks.random_models import asked_clips, configs, never_stop, random_model, tokenizer_of
from vidlabel.config import AnswerSettings
from vidlabel.data import AskedClip
from vidlabel.models.minigpt4_video.model import MiniGPT4Video
from vidlabel.models.minigpt4_video.tokenizer import PromptTokenizer

PENALTY = 1.1
BATCH = 8  # of the baselines


class Bench:
    """One random model and the machine's rates, for runs with several numbers of questions."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        device, dtype = torch.device(options.device), getattr(torch, options.dtype)
        self.bytes_per_element: int = dtype.itemsize
        self.rates: Rates = measure_rates(device, dtype, tiny=options.size == "tiny")
        config, llm_config = configs(options.size, options.model)
        self.shape: Shape = shape_of(config, llm_config)
        self.model: MiniGPT4Video = random_model(config, llm_config, options.device, dtype)
        self.tokenizer: PromptTokenizer = tokenizer_of(options.model)
        never_stop(self.model, self.tokenizer)

    def clips(self, num_questions: int, count: int) -> list[AskedClip]:
        return asked_clips(
            self.model.config, count, num_questions=num_questions, num_frames=self.options.frames, distinct=16
        )

    def answers(self, num_questions: int) -> tuple[int, ...]:
        return answer_lengths(self.options.lengths, num_questions, self.options.new_tokens)

    def engine(self, num_questions: int) -> dict[str, Any]:
        """On a GPU the wall time and the stages come from two runs: waiting for each stage costs time."""
        options, answers = self.options, self.answers(num_questions)
        clips = self.clips(num_questions, options.clips)
        load = load_of(self.model, self.tokenizer, clips[0], answers)

        def run(clips: Sequence[AskedClip], *, measure: bool) -> dict[str, Any]:
            found = run_engine(
                self.model, self.tokenizer, clips, answers,
                num_slots=options.slots, path=options.engine_path, repetition_penalty=PENALTY, measure=measure,
            )  # fmt: skip
            return figures(found, self.shape, load, self.rates, bytes_per_element=self.bytes_per_element)

        whole = run(clips, measure=False)
        if self.model.device.type == "cuda":
            torch.cuda.empty_cache()
            staged = run(clips[: 2 * whole["slots"]], measure=True)
            whole |= {key: staged[key] for key in ("vision", "prefill", "extend", "decode", "idle_share")}
            whole["staged_clips"] = staged["clips"]
            torch.cuda.empty_cache()
        return whole

    def baselines(self, num_questions: int) -> dict[str, Baseline]:
        options, answers = self.options, self.answers(num_questions)
        clips = self.clips(num_questions, options.baseline_clips)
        given = (self.model, self.tokenizer)
        found: dict[str, Baseline] = {}
        for name in options.baselines:
            if name == "b":
                if len(set(answers)) > 1:
                    continue  # `generate` cannot end the rows of one batch at different lengths without an end token
                settings = AnswerSettings(
                    "random", "random", "benchmark", "", max_new_tokens=answers[0], repetition_penalty=PENALTY
                )
                shipped_captioner(*given, clips[:1], settings, batch_size=BATCH)  # warm
                found[name] = shipped_captioner(*given, clips, settings, batch_size=BATCH)
                continue
            batch_size, chosen = (BATCH, clips) if name == "a" else (1, clips[: max(1, len(clips) // BATCH)])
            how: dict[str, Any] = {"batch_size": batch_size, "repetition_penalty": PENALTY}
            pass_per_question(*given, chosen[:1], (2,), **how)  # warm
            found[name] = pass_per_question(*given, chosen, answers, **how)
        return found


def report(bench: Bench, num_questions: int, *, with_baselines: bool) -> dict[str, Any]:
    found = bench.engine(num_questions)
    print_run(found)
    if with_baselines and bench.options.baselines:
        found["baselines"] = {}
        for name, baseline in bench.baselines(num_questions).items():
            ratio = found["clips_per_second"] / baseline.clips_per_second
            kept = found["clips_per_second"] / baseline.clips_per_second_without_repeated_vision
            found["baselines"][name] = asdict(baseline) | {
                "clips_per_second": baseline.clips_per_second,
                "ratio": ratio,
                "ratio_without_repeated_vision": kept,
            }
            also = f" ({kept:.2f} times, had it kept each clip's frames)" if baseline.repeated_vision_seconds else ""
            print(f"baseline {name:<11}{baseline.clips_per_second:10.3f} clips/s, engine {ratio:.2f} times{also}")
    return found


def print_run(found: dict[str, Any]) -> None:
    lengths = " ".join(map(str, found["answers"]))
    print(
        f"\nK={found['questions']}, {found['clips']} clips, prefix {found['prefix_tokens']}, answers {lengths}, ",
        end="",
    )
    print(f"{found['slots']} slots, {found['kernels']} kernels")
    for stage in ("vision", "prefill", "extend"):
        part = found[stage]
        unit = "frames" if stage == "vision" else "tokens"
        rate = part[unit] / part["seconds"] if part["seconds"] else 0.0
        print(f"{stage:<20}{part['seconds']:10.2f} s {part[unit]:9} {unit} {rate:10.0f} /s   MFU {part['mfu']:6.1%}")
    part = found["decode"]
    print(
        f"{'decode':<20}{part['seconds']:10.2f} s {part['tokens']:9} tokens {part['ms_per_step']:8.2f} ms a step ",
        end="",
    )
    print(f"{part['bytes_per_second'] / 1e9:8.2f} GB/s, {part['share_of_copy']:.1%} of a copy")
    print(f"{'occupancy':<20}{found['slot_occupancy']:10.1%} of slots, {found['row_occupancy']:.1%} of rows")
    print(f"{'idle':<20}{found['idle_share']:10.1%} of the time outside these stages")
    if found["peak_gib"]:
        print(f"{'peak memory':<20}{found['peak_gib']:10.1f} GiB")
    print(f"{'engine':<20}{found['clips_per_second']:10.3f} clips/s {found['captions_per_second']:10.3f} captions/s")
    floor = found["floor"]
    print(f"{'floor':<20}{floor['clips_per_second']:10.3f} clips/s; the engine is at {found['share_of_floor']:.1%}")


def parse(args: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    on_gpu = torch.cuda.is_available()
    parser.add_argument("--size", choices=["tiny", "small", "7b"], default="tiny")
    parser.add_argument("--model", choices=["llama2", "mistral"], default="llama2")
    parser.add_argument("--k", type=int, default=1, help="questions a clip")
    parser.add_argument("--compare-k", help="two numbers of questions, as 1,8: what the second costs beside the first")
    parser.add_argument("--slots", type=int, help="clips in flight; default: as the engine chooses")
    parser.add_argument("--clips", type=int, default=16)
    parser.add_argument("--frames", type=int, help="a clip; default: as the model was trained")
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--lengths", choices=["equal", "mix"], default="equal", help="mix: one of 200 tokens, rest 40")
    parser.add_argument("--engine-path", choices=["auto", "maths", "flash", "triton"], default="auto")
    parser.add_argument("--device", default="cuda" if on_gpu else "cpu")
    parser.add_argument("--dtype", default="float16" if on_gpu else "float32")
    parser.add_argument("--baselines", default="a,b,c", help="of a, b and c; or none")
    parser.add_argument("--baseline-clips", type=int, default=BATCH, help=f"a multiple of {BATCH} is fair")
    parser.add_argument("--json", type=Path, help="write all figures here too")
    options = parser.parse_args(args)
    options.baselines = [] if options.baselines == "none" else options.baselines.split(",")
    if set(options.baselines) - {"a", "b", "c"}:
        parser.error("--baselines: a, b and c, joined by commas, or none")
    try:
        options.ks = [int(part) for part in (options.compare_k or str(options.k)).split(",")]
    except ValueError:
        parser.error(f"--compare-k {options.compare_k}: two numbers, as 1,8")
    if min(options.ks) < 1 or (options.compare_k and len(options.ks) != 2):
        parser.error("--k and --compare-k: numbers of questions, at least 1; two of them to compare")
    return options


def main(args: Sequence[str] | None = None) -> dict[str, Any]:
    options = parse(args)
    logging.getLogger("transformers").setLevel(logging.ERROR)
    bench = Bench(options)
    machine = describe(bench.model.device, options.dtype)
    print(f"{options.size} {options.model}, random weights; " + ", ".join(machine.values()))
    print(f"measured: {bench.rates.flops / 1e12:.3g} TFLOP/s in products, {bench.rates.bytes / 1e9:.3g} GB/s in copies")
    runs = [report(bench, k, with_baselines=k == options.ks[-1]) for k in options.ks]
    result: dict[str, Any] = {
        "size": options.size, "model": options.model, "lengths": options.lengths, "machine": machine,
        "rates": asdict(bench.rates), "runs": runs,
    }  # fmt: skip
    if options.compare_k:
        result["cost"] = runs[1]["seconds"] / runs[0]["seconds"]
        print(f"\nK={options.ks[1]} costs {result['cost']:.2f} times the wall time of K={options.ks[0]}")
    if options.json:
        beside = options.json.with_name(options.json.name + ".partial")
        beside.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        beside.replace(options.json)
    return result


if __name__ == "__main__":
    main()
