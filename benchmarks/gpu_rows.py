"""Where a section of the GPU session runs, until when, and the rows of figures it leaves behind."""

from __future__ import annotations

import gc
import json
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.engine_floor import Rates, Shape, shape_of
from benchmarks.engine_machine import best_seconds, measure_rates, seconds_of
from benchmarks.random_models import configs, random_model
from vidlabel.engine.graph import capture
from vidlabel.models.minigpt4_video.model import MiniGPT4Video

MODELS = ("llama2", "mistral")
PREFIX = {"llama2": 3066, "mistral": 6126}  # positions of 45 and of 90 frames with the released tokenizers


@dataclass(frozen=True, slots=True)
class Session:
    """Settings of the whole session; they cross to each section's process."""

    device: str
    tiny: bool
    minutes: float
    clips: int
    out: str

    @property
    def size(self) -> str:
        return "tiny" if self.tiny else "7b"

    @property
    def dtype(self) -> torch.dtype:
        return torch.float16 if self.device == "cuda" else torch.float32


class Section:
    """One section at work. Whatever breaks in it becomes a row that says so."""

    def __init__(self, session: Session, name: str, deadline: float, sink: Path) -> None:
        self.session, self.name, self.deadline, self.sink = session, name, deadline, sink
        self.device = torch.device(session.device)
        self.on_gpu = self.device.type == "cuda"
        known = [row for row in read_rows(sink) if "rates" in row]
        self.rates = Rates(**known[-1]["rates"]) if known else self._measure_rates()

    def prefix(self, model: str) -> int:
        return 90 if self.session.tiny else PREFIX[model]

    def shape(self, model: str) -> Shape:
        return shape_of(*configs(self.session.size, model))

    def model(self, model: str, *, num_layers: int | None = None, dtype: torch.dtype | None = None) -> MiniGPT4Video:
        """With random weights; `num_layers` fewer where the language model's depth does not matter."""
        config, llm_config = configs(self.session.size, model)
        llm_config.num_hidden_layers = num_layers or llm_config.num_hidden_layers
        return random_model(config, llm_config, self.session.device, dtype or self.session.dtype)

    def attempt(self, what: str, work: Callable[[], None]) -> None:
        """Does it unless the time is up."""
        if time.time() > self.deadline:
            self.row(what, note="skipped: out of time")
            return
        try:
            work()
        except Exception as error:  # noqa: BLE001 - whatever breaks, the next figure can still be had
            traceback.print_exc(limit=-6, file=sys.stderr)
            self.row(what, note=f"FAILED {type(error).__name__}: " + " ".join(str(error).split())[:160])
        gc.collect()
        if self.on_gpu:
            torch.cuda.empty_cache()

    def seconds(self, work: Callable[[], object], *, budget_seconds: float = 1.0) -> float:
        return best_seconds(work, self.device, budget_seconds=budget_seconds)

    def seconds_once(self, work: Callable[[], object]) -> float:
        return seconds_of(work, self.device)

    def recorded(self, work: Callable[[], object]) -> Callable[[], object]:
        """As a CUDA graph where there is a GPU, so that launching does not count."""
        return capture(lambda: (work(), None)[1]) if self.on_gpu else work

    def row(
        self,
        what: str,
        seconds: float | None = None,
        *,
        flops: float | None = None,
        num_bytes: float | None = None,
        note: str = "",
        **more: Any,
    ) -> None:
        row: dict[str, Any] = {"section": self.name, "what": what, "note": note, **more}
        if seconds is not None:
            row["ms"] = 1e3 * seconds
            if flops is not None:
                row |= {"tflops_per_second": flops / seconds / 1e12, "share": flops / seconds / self.rates.flops}
            if num_bytes is not None:
                row |= {"gb_per_second": num_bytes / seconds / 1e9, "share": num_bytes / seconds / self.rates.bytes}
        print(text_of(row), flush=True)
        with self.sink.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def _measure_rates(self) -> Rates:
        rates = measure_rates(self.device, self.session.dtype, tiny=self.session.tiny)
        note = f"{rates.flops / 1e12:.4g} TFLOP/s, {rates.bytes / 1e9:.4g} GB/s: shares below are of these"
        self.rates = rates
        self.row("products and copies, best", note=note, rates=asdict(rates))
        return rates


def read_rows(sink: Path) -> list[dict[str, Any]]:
    """Whole lines only: a section that was killed may have left half of one."""
    if not sink.exists():
        return []
    lines = sink.read_text(encoding="utf-8").split("\n")[:-1]
    return [json.loads(line) for line in lines if line]


def text_of(row: dict[str, Any]) -> str:
    return "  ".join(part for part in (f"{row['what']:<52}", *cells(row)) if part)


def cells(row: dict[str, Any]) -> tuple[str, str, str, str]:
    """Time, rate, share of what the machine can do, and remarks."""
    rate = ""
    if "tflops_per_second" in row:
        rate = f"{row['tflops_per_second']:.1f} TFLOP/s"
    elif "gb_per_second" in row:
        rate = f"{row['gb_per_second']:.0f} GB/s"
    elif "clips_per_second" in row:
        rate = f"{row['clips_per_second']:.3f} clips/s"
    time_text = f"{row['ms']:.3f} ms" if "ms" in row else ""
    return time_text, rate, f"{row['share']:.0%}" if "share" in row else "", str(row.get("note", ""))


def markdown(title: str, rows: Sequence[dict[str, Any]], problems: Sequence[str]) -> str:
    """A table for each section."""
    lines = [f"# {title}", ""]
    for section in dict.fromkeys(row["section"] for row in rows):
        lines += [f"## {section}", "", "| what | time | rate | share | remarks |", "|---|---|---|---|---|"]
        for row in rows:
            if row["section"] == section:
                lines.append("| " + " | ".join((row["what"], *cells(row))).replace("\n", " ") + " |")
        lines.append("")
    lines += [f"- {problem}" for problem in problems]
    return "\n".join(lines) + "\n"
