"""The GPU session in one command, about ten minutes: `python -m benchmarks.gpu --out results`.

In order: what the machine can do; the decode kernel's bytes per second; the vision tower; packed prefill; the decode
step, eager and as a graph; engine against `generate` token by token; then both models end to end beside their floor
and baselines. Each section is a process with a deadline of its own, so that a crash, a hang or a broken CUDA context
costs that section alone. `gpu.json` and `gpu.md` in the folder are written anew after each section.

`--tiny --device cpu` tries the script itself.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from torch import multiprocessing

from benchmarks import gpu_sections as sections
from benchmarks.engine_machine import describe
from benchmarks.gpu_rows import MODELS, Section, Session, markdown, read_rows


@dataclass(frozen=True, slots=True)
class Planned:
    """A section and its share of the time; what one leaves, the next may use."""

    name: str
    work: Callable[[Section], None]
    weight: float


PLAN = (
    Planned("machine", sections.machine, 25),
    Planned("decode_kernel", sections.decode_kernel, 45),
    Planned("vision", sections.vision, 75),
    Planned("prefill", sections.prefill, 55),
    Planned("decode_step", sections.decode_step, 70),
    Planned("divergence", sections.divergence, 60),
    *(
        Planned(f"end_to_end {model} K={k}", partial(sections.end_to_end, name=model, num_questions=k), 65)
        for k in (8, 1)
        for model in MODELS
    ),
)


def run_section(session: Session, planned: Planned, deadline: float, sink: Path) -> None:
    """In the section's own process."""
    torch.manual_seed(0)
    section = Section(session, planned.name, deadline, sink)
    section.attempt(planned.name, lambda: planned.work(section))


def run_all(session: Session, plan: Sequence[Planned], sink: Path) -> list[str]:
    """All sections one after another; returns what went wrong with whole ones."""
    started, until, problems = time.time(), 0.0, []
    total, weights = session.minutes * 60, sum(planned.weight for planned in plan)
    for planned in plan:
        until += total * planned.weight / weights
        print(f"\n== {planned.name}, {time.time() - started:.0f} s of {until:.0f}", flush=True)
        worker = multiprocessing.get_context("spawn").Process(
            target=run_section, args=(session, planned, started + until - 5, sink), daemon=True
        )
        worker.start()
        worker.join(max(5.0, started + until + 15 - time.time()))
        if worker.is_alive():
            worker.kill()
            worker.join()
        if worker.exitcode:
            problems.append(f"{planned.name} was stopped at its deadline or died: exit code {worker.exitcode}")
        write_results(session, sink, problems, seconds=time.time() - started)
    return problems


def write_results(session: Session, sink: Path, problems: Sequence[str], *, seconds: float) -> None:
    """Each file is whole at any time."""
    rows, out = read_rows(sink), Path(session.out)
    about = describe(torch.device(session.device), str(session.dtype).removeprefix("torch."))
    values = {
        "command": sys.argv,
        "session": asdict(session),
        "machine": about,
        "seconds": seconds,
        "problems": list(problems),
        "rows": rows,
    }
    title = "GPU session, " + ", ".join(about.values()) + ", random weights"
    for name, text in (("gpu.json", json.dumps(values, indent=1)), ("gpu.md", markdown(title, rows, problems))):
        beside = out / f"{name}.partial"
        beside.write_text(text, encoding="utf-8")
        beside.replace(out / name)


def main(args: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="a folder for gpu.json and gpu.md")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--tiny", action="store_true", help="small shapes: tries the script, says nothing of speed")
    parser.add_argument("--minutes", type=float, default=9.5, help="for all chosen sections together")
    parser.add_argument("--clips", type=int, help="of each end-to-end run; default: 128")
    parser.add_argument("--sections", help="beginnings of names, joined by commas; default: all")
    options = parser.parse_args(args)
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch sees no GPU here; --tiny --device cpu tries the script without one")
    wanted = tuple(options.sections.split(",")) if options.sections else ("",)
    plan = [planned for planned in PLAN if planned.name.startswith(wanted)]
    if not plan:
        parser.error(f"--sections {options.sections}: there are {', '.join(planned.name for planned in PLAN)}")
    options.out.mkdir(parents=True, exist_ok=True)
    clips = options.clips or (4 if options.tiny else 128)
    session = Session(options.device, options.tiny, options.minutes, clips, str(options.out))
    with tempfile.TemporaryDirectory() as folder:
        problems = run_all(session, plan, Path(folder) / "rows.jsonl")
    print("\n" + (options.out / "gpu.md").read_text(encoding="utf-8"))
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
