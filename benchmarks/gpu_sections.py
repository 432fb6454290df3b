"""The sections of the GPU session, in the order in which they matter; see `benchmarks.gpu`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import benchmarks.engine
from benchmarks.engine_floor import Load, decode_kv_bytes
from benchmarks.engine_run import kernels_for
from benchmarks.gpu_rows import MODELS, Section
from vidlabel.engine.attention import Kernels, StepWork
from vidlabel.engine.choice import Choice, build_kernels
from vidlabel.engine.choosing import Choosing
from vidlabel.engine.graph import capture
from vidlabel.engine.rows import Asking, Prefilling, Rows
from vidlabel.engine.slots import Slots, SlotShape, slot_shape
from vidlabel.models.minigpt4_video.model import MiniGPT4Video

QUESTION = 24  # tokens
NEW_TOKENS = 64
WRONG_GAP = 0.05  # a reference that preferred its token by more than this was not merely rounded otherwise


def machine(section: Section) -> None:
    """The rates are measured when the first section begins; here: which attention path there is, and why."""
    from vidlabel.engine.choice import choose_for

    for name in MODELS:
        choice = choose_for(section.model(name, num_layers=1))
        section.row(f"{name}: attention path", note=f"{choice.kernels}: {choice.why}")


def decode_kernel(section: Section) -> None:
    """One layer's decode attention over full slots: what share of a copy's rate it reads keys and values at."""
    for name in MODELS:
        for num_slots, num_questions in [(3, 2)] if section.session.tiny else [(56, 1), (56, 8), (32, 8)]:
            for path in ("triton", "flash") if section.on_gpu else ("maths",):
                what = f"{name} {num_slots} clips K={num_questions} {path}"
                section.attempt(what, lambda a=(what, name, num_slots, num_questions, path): _kernel(section, *a))


def _kernel(section: Section, what: str, name: str, num_slots: int, num_questions: int, path: str) -> None:
    shape, prefix, suffix = section.shape(name), section.prefix(name), QUESTION + NEW_TOKENS
    kernels = build_kernels(Choice(path, "asked for", use_graph=True), section.device)  # type: ignore[arg-type]
    one_layer = SlotShape(1, shape.num_kv_heads, shape.head_dim, num_slots, num_questions, prefix, suffix)
    slots = Slots(one_layer, dtype=section.session.dtype, device=section.device)
    _fill(slots, prefix, suffix)
    num_rows = one_layer.num_rows
    q = torch.randn(num_rows, shape.num_heads, shape.head_dim, dtype=section.session.dtype, device=section.device)
    tensors = (slots.prefix_keys[0], slots.prefix_values[0], slots.suffix_keys[0], slots.suffix_values[0])
    work = StepWork(
        slots,
        None if kernels.fixed_rows else tuple(range(num_rows)),
        torch.arange(num_rows, device=section.device),
        (prefix,) * num_slots,
        (suffix,) * num_rows,
    )

    @torch.inference_mode()
    def step() -> Tensor:
        return kernels.step(q, *tensors, work, shape.head_dim**-0.5)

    positions = num_slots * (prefix + num_questions * suffix)
    read = positions * 2 * shape.num_kv_heads * shape.head_dim * section.session.dtype.itemsize
    section.row(what, section.seconds(section.recorded(step), budget_seconds=0.3), num_bytes=read)


def vision(section: Section) -> None:
    """The tower at several batch sizes, as it is and compiled block by block."""
    model = section.model("llama2", num_layers=1)
    sizes = (4, 8) if section.session.tiny else (90, 180, 360)
    size, flops = model.config.vision.image_size, section.shape("llama2").frame_flops()

    def measure(num_frames: int, how: str) -> None:
        frames = torch.randint(0, 256, (num_frames, size, size, 3), dtype=torch.uint8, device=section.device)

        @torch.inference_mode()
        def encode() -> Tensor:
            return model.encode_images(model.preprocess(frames))

        seconds = section.seconds(encode)
        note = f"{num_frames / seconds:.0f} frames/s"
        section.row(f"{num_frames} frames, {how}", seconds, flops=num_frames * flops, note=note)

    for num_frames in sizes:
        section.attempt(f"{num_frames} frames, eager", lambda n=num_frames: measure(n, "eager"))
    if section.on_gpu:
        for block in model.visual_encoder.blocks:
            block.compile()
        for num_frames in sizes:
            section.attempt(f"{num_frames} frames, compiled", lambda n=num_frames: measure(n, "compiled"))


def prefill(section: Section) -> None:
    """Prefixes packed without padding, as many as fit into a budget of tokens."""
    for name in MODELS:
        model, prefix = section.model(name), section.prefix(name)
        budgets = (200, 400) if section.session.tiny else (8_192, 16_384, 24_576)
        for count in dict.fromkeys(max(1, budget // prefix) for budget in budgets):
            what = f"{name} {count} x {prefix}"
            section.attempt(what, lambda a=(what, name, model, count): _prefill(section, *a))
        del model


def _prefill(section: Section, what: str, name: str, model: MiniGPT4Video, count: int) -> None:
    prefix = section.prefix(name)
    rows = _rows(model, num_slots=count, num_questions=1, prefix=prefix, kernels=kernels_for(model, "auto"))
    embeds = torch.randn(prefix, model.llama_model.config.hidden_size, device=section.device) * 0.02
    batch = [Prefilling(slot, embeds.to(section.session.dtype)) for slot in range(count)]
    seconds = section.seconds(lambda: rows.prefill(batch))
    note = f"{1e3 * seconds / count:.1f} ms a clip"
    section.row(what, seconds, flops=count * section.shape(name).prefill_flops(prefix), note=note)


def decode_step(section: Section) -> None:
    """Whole steps over full slots, launched one by one and as a graph."""
    for name in MODELS:
        model = section.model(name)
        for num_slots, num_questions in (
            [(2, 2)] if section.session.tiny else [(8, 1), (32, 1), (56, 1), (8, 8), (48, 8)]
        ):
            for how in ("eager", "graph") if section.on_gpu else ("eager",):
                what = f"{name} {num_slots} clips K={num_questions}, {how}"
                section.attempt(what, lambda a=(what, name, model, num_slots, num_questions, how): _step(section, *a))
        del model


def _step(section: Section, what: str, name: str, model: MiniGPT4Video, num_slots: int, num_k: int, how: str) -> None:
    prefix, num_steps = section.prefix(name), 4 if section.session.tiny else 24
    rows = _rows(model, num_slots=num_slots, num_questions=num_k, prefix=prefix, kernels=kernels_for(model, "auto"))
    if how == "graph":
        rows.capture(capture)
    _fill(rows.slots, prefix, 0)
    rows._prefix_lengths = [prefix] * num_slots
    rows.extend([Asking(row, tuple(range(5, 5 + QUESTION)), row) for row in range(num_slots * num_k)])
    rows.step()

    def steps() -> None:
        for _ in range(num_steps // 2):
            rows.step()

    seconds = min(section.seconds_once(steps) for _ in range(2)) / (num_steps // 2)
    shape, load = section.shape(name), Load(0, prefix, (QUESTION + num_steps // 2,) * num_k, (2,) * num_k)
    per_element = section.session.dtype.itemsize
    read = shape.step_weights * per_element + num_slots * decode_kv_bytes(shape, load, per_element)
    section.row(what, seconds, num_bytes=read, note=f"{rows.kernels.name} kernels, {num_slots * num_k} rows")


def divergence(section: Section) -> None:
    """Tokens of the engine against `generate`: alike in float32; in half precision, where they part for the first
    time, the reference must have been undecided between its two best."""
    for name in MODELS:
        for dtype in (torch.float32, section.session.dtype) if section.on_gpu else (torch.float32,):
            what = f"{name} {str(dtype).removeprefix('torch.')}"
            section.attempt(what, lambda a=(what, name, dtype): _divergence(section, *a))


@torch.inference_mode()
def _divergence(section: Section, what: str, name: str, dtype: torch.dtype) -> None:
    model = section.model(name, dtype=dtype)
    num_clips, num_k, new_tokens = (2, 2, 6) if section.session.tiny else (4, 2, 48)
    lengths = [(20 if section.session.tiny else 700) + 37 * number for number in range(num_clips)]
    hidden, generator = model.llama_model.config.hidden_size, torch.Generator(section.device).manual_seed(0)
    embeds = [
        (torch.randn(length, hidden, device=section.device, generator=generator) * 0.02).to(dtype) for length in lengths
    ]
    kernels = kernels_for(model, "auto")
    rows = _rows(model, num_slots=num_clips, num_questions=num_k, prefix=max(lengths), kernels=kernels, new=new_tokens)
    if kernels.fixed_rows and section.on_gpu:
        rows.capture(capture)
    rows.prefill([Prefilling(slot, item) for slot, item in enumerate(embeds)])
    asking = [
        Asking(row, tuple(range(5 + 7 * row, 5 + 7 * row + QUESTION - row)), row) for row in range(num_clips * num_k)
    ]
    rows.extend(asking)
    while rows.live and not (ended := rows.finished()):
        rows.step()
    said = {spoken.row: spoken.ids for spoken in ended}
    assert len(said) == num_clips * num_k, "every row says the same number of tokens"
    gaps = [
        gap
        for item in asking
        if (gap := _gap(model, embeds[item.row // num_k], item.suffix, said[item.row])) is not None
    ]
    verdict = "alike" if not gaps else f"{len(gaps)} of {len(said)} differ, largest gap there {max(gaps):.4f}"
    if gaps and (dtype == torch.float32 or max(gaps) >= WRONG_GAP):
        verdict += " WRONG"
    section.row(what, note=f"{kernels.name} kernels: {verdict}", differing=len(gaps), rows=len(said), gaps=gaps)


def _gap(model: MiniGPT4Video, prefix: Tensor, suffix: tuple[int, ...], said: tuple[int, ...]) -> float | None:
    """By how much `generate` preferred its token where it first says another; None where it never does."""
    embeds = torch.cat([prefix, model.embed_ids(suffix)])[None]
    found = model.llama_model.generate(
        inputs_embeds=embeds,
        attention_mask=torch.ones(embeds.shape[:2], dtype=torch.long, device=embeds.device),
        max_new_tokens=len(said), do_sample=False, pad_token_id=0, output_logits=True, return_dict_in_generate=True,
    )  # fmt: skip
    for step, (token, reference) in enumerate(zip(said, found.sequences[0].tolist(), strict=True)):
        if token != reference:
            best = found.logits[step][0].float().topk(2).values
            return float(best[0] - best[1])
    return None


def end_to_end(section: Section, name: str, num_questions: int) -> None:
    """All of it, with the baselines, by `benchmarks.engine`."""
    session = section.session
    file = Path(session.out) / f"engine-{name}-k{num_questions}.json"
    tokens = ["--new-tokens", "6"] if session.tiny else ["--lengths", "mix"]
    found = benchmarks.engine.main(
        ["--size", session.size, "--model", name, "--k", str(num_questions), "--clips", str(session.clips), *tokens,
         "--baselines", "a,c", "--device", session.device, "--dtype", str(session.dtype).removeprefix("torch."),
         "--json", str(file)]
    )  # fmt: skip
    run: dict[str, Any] = found["runs"][0]
    ratios = ", ".join(f"{baseline['ratio']:.1f} times {which}" for which, baseline in run["baselines"].items())
    note = (
        f"{run['captions_per_second']:.2f} captions/s, {run['slots']} slots, {run['kernels']}; {ratios}; share of floor"
    )
    rate = {"clips_per_second": run["clips_per_second"], "share": run["share_of_floor"]}
    section.row(
        f"{name} K={num_questions}, {run['clips']} clips", note=note, figures=json.loads(json.dumps(run)), **rate
    )


def _rows(
    model: MiniGPT4Video, *, num_slots: int, num_questions: int, prefix: int, kernels: Kernels, new: int = NEW_TOKENS
) -> Rows:
    shape = slot_shape(
        model.llama_model.config,
        num_slots=num_slots,
        rows_per_slot=num_questions,
        prefix_length=prefix,
        suffix_length=QUESTION + new,
    )
    slots = Slots(shape, dtype=model.dtype, device=model.device)
    greedy = Choosing(repetition_penalty=1.0, temperature=0.0, top_p=1.0)
    return Rows(model, slots, kernels, greedy, max_new_tokens=new, stop_ids=())


def _fill(slots: Slots, prefix: int, suffix: int) -> None:
    """As if clips sat in all slots."""
    for values in (*slots.prefix_keys, *slots.prefix_values, *slots.suffix_keys, *slots.suffix_values):
        values.normal_()
    slots.prefix_lengths.fill_(prefix)
    slots.suffix_lengths.fill_(suffix)
