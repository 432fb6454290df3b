"""Slots and workspaces by arithmetic: what fits on which card, and what is said when nothing does."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vidlabel.engine.memory import Widths, available_memory, free_bytes, most_slots, slot_budget, workspace
from vidlabel.engine.slots import SlotShape
from vidlabel.errors import InputError

MISTRAL = Widths(hidden=4096, intermediate=14336, vocab=32000, vision=1408, vision_mlp=6144, vision_tokens=257)
LLAMA = Widths(hidden=4096, intermediate=11008, vocab=32000, vision=1408, vision_mlp=6144, vision_tokens=257)
PROMPTS = {"mistral": 8012 - 256, "llama2": 4096 - 256}  # positions that a prompt may take beside 256 new tokens
# parameters of the language model, the vision tower (patches to tokens, without a final norm) and the projection
WEIGHT_BYTES = {"mistral": 2 * (7.242e9 + 0.986e9 + 0.023e9), "llama2": 2 * (6.738e9 + 0.986e9 + 0.023e9)}
CONTEXT_BYTES = 0.6e9  # of CUDA itself


def slots_on(model: str, card_gib: float, *, rows: int, requested: int | None = None, suffix: int = 320) -> int:
    """As the captioner asks: sizes of the real models in half precision."""
    free = int(card_gib * 2**30 - CONTEXT_BYTES - WEIGHT_BYTES[model])
    widths, num_kv_heads = (MISTRAL, 8) if model == "mistral" else (LLAMA, 32)
    prompt = PROMPTS[model]
    shape = SlotShape(
        num_layers=32, num_kv_heads=num_kv_heads, head_dim=128, num_slots=1, rows_per_slot=rows,
        prefix_length=prompt, suffix_length=suffix,
    )  # fmt: skip
    room = workspace(free, widths, bytes_per_element=2, longest_prompt=prompt, num_rows=64 * rows)
    return slot_budget(
        free, shape_of_one=shape, bytes_per_element=2, workspace_bytes=room.num_bytes, requested=requested
    )


@pytest.mark.parametrize(
    ("model", "card_gib", "rows", "least", "most"),
    [
        ("mistral", 24, 1, 5, 7),  # the promise of the issue: 90 frames on a 24 GB card
        ("mistral", 24, 8, 4, 6),
        ("mistral", 80, 1, 55, 64),
        ("mistral", 80, 8, 40, 50),
        ("mistral", 141, 1, 64, 64),
        ("mistral", 141, 8, 64, 64),
        ("llama2", 24, 1, 2, 4),
        ("llama2", 80, 1, 28, 33),
        ("llama2", 141, 1, 58, 64),
        ("llama2", 141, 8, 36, 45),
    ],
)
def test_cards_get_the_slots_that_fit_them(model: str, card_gib: float, rows: int, least: int, most: int) -> None:
    assert least <= slots_on(model, card_gib, rows=rows) <= most


@pytest.mark.parametrize("requested", [0, -3])
def test_fewer_than_one_slot_is_refused(requested: int) -> None:
    with pytest.raises(InputError, match=rf"--slots {requested}: at least 1"):
        slots_on("mistral", 80, rows=1, requested=requested)


def test_more_slots_than_fit_are_lowered_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    fitting = slots_on("mistral", 24, rows=1)
    with caplog.at_level(logging.WARNING):
        assert slots_on("mistral", 24, rows=1, requested=fitting) == fitting
        assert not caplog.records
        assert slots_on("mistral", 24, rows=1, requested=50) == fitting
    assert [record.getMessage() for record in caplog.records] == [
        f"--slots 50: only {fitting} fit into the free memory; going on with {fitting}"
    ]


def test_a_request_may_exceed_what_is_worth_having_but_not_what_fits() -> None:
    assert slots_on("mistral", 141, rows=1, requested=80) == 80


def test_not_even_one_slot_names_the_options_that_help() -> None:
    with pytest.raises(InputError) as caught:
        slots_on("llama2", 16, rows=1)
    message = str(caught.value)
    assert "not one clip fits" in message
    for option in ("--frames", "--max-new-tokens", "--quantize"):
        assert option in message
    assert "\n" not in message


@given(
    free=st.integers(0, 200 << 30),
    reserved=st.integers(0, 20 << 30),
    requested=st.none() | st.integers(1, 300),
    prefix=st.integers(1, 8000),
    rows=st.integers(1, 8),
)
def test_slots_and_workspace_never_exceed_free_memory(
    free: int, reserved: int, requested: int | None, prefix: int, rows: int
) -> None:
    shape = SlotShape(32, 8, 128, 1, rows, prefix, 300)
    try:
        num_slots = slot_budget(
            free, shape_of_one=shape, bytes_per_element=2, workspace_bytes=reserved, requested=requested
        )
    except InputError:
        assert free < reserved + shape.num_bytes(2)
        return
    assert 1 <= num_slots <= (requested or 64)
    assert num_slots * shape.num_bytes(2) + reserved <= free


@given(free=st.integers(1 << 20, 200 << 30), prompt=st.integers(1, 8000), rows=st.integers(1, 512))
def test_a_workspace_passes_the_longest_prompt_and_says_what_it_needs(free: int, prompt: int, rows: int) -> None:
    room = workspace(free, MISTRAL, bytes_per_element=2, longest_prompt=prompt, num_rows=rows)
    assert room.prefill_tokens >= prompt
    assert room.vision_frames >= 1
    assert room.num_bytes >= room.prefill_tokens * MISTRAL.prefill_token_bytes(2)
    assert room.num_bytes >= room.vision_frames * MISTRAL.frame_bytes(2)
    assert room.num_bytes >= rows * MISTRAL.choice_bytes()
    assert room.num_bytes <= max(
        free // 4, prompt * MISTRAL.prefill_token_bytes(2), MISTRAL.frame_bytes(2), rows * MISTRAL.choice_bytes()
    )


def test_a_large_card_gets_passes_that_fill_it() -> None:
    room = workspace(120 << 30, MISTRAL, bytes_per_element=2, longest_prompt=7000, num_rows=64)
    assert (room.prefill_tokens, room.vision_frames) == (16_384, 180)


def test_a_cpu_gets_few_slots_and_half_of_the_memory() -> None:
    cpu = torch.device("cpu")
    assert (most_slots(cpu), most_slots(torch.device("cuda"))) == (8, 64)
    before, free, after = available_memory() // 2, free_bytes(cpu), available_memory() // 2
    assert min(before, after) * 0.5 <= free <= max(before, after) * 2


def test_a_containers_limit_is_heeded(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 64000000 kB\nMemAvailable:   32000000 kB\n")
    assert available_memory(tmp_path, tmp_path) == 32_000_000 * 1024
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("3000000000\n")
    assert available_memory(tmp_path, tmp_path) == 32_000_000 * 1024
    (tmp_path / "memory.max").write_text("8000000000\n")
    assert available_memory(tmp_path, tmp_path) == 5_000_000_000
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 1000000000\n")
    assert available_memory(tmp_path, tmp_path) == 6_000_000_000
    (tmp_path / "memory.current").write_text("9500000000\n")
    assert available_memory(tmp_path, tmp_path) == 0


def test_a_system_that_does_not_say_gets_a_guess_above_nothing(tmp_path: Path) -> None:
    assert available_memory(tmp_path / "absent", tmp_path / "absent") > 1 << 28
