"""The benchmark's arithmetic: the work of the released models, and the floor on a GPU whose rates are known."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.engine_floor import Load, Rates, Shape, answer_lengths, decode_bytes, floor, occupancy, shape_of
from benchmarks.random_models import configs, random_model
from vidlabel.models.minigpt4_video.model import MiniGPT4Video

H200 = Rates(flops=790e12, bytes=4.3e12)  # measured on one
LLAMA, MISTRAL = shape_of(*configs("7b", "llama2")), shape_of(*configs("7b", "mistral"))


def load(shape: Shape, answers: tuple[int, ...]) -> Load:
    frames, prefix = (45, 3066) if shape == LLAMA else (90, 6126)
    return Load(frames, prefix, (40,) * len(answers), answers)


def test_shapes_have_the_released_models_weights() -> None:
    assert LLAMA.step_weights + 32000 * 4096 == pytest.approx(6.738e9, rel=1e-3)
    assert MISTRAL.step_weights + 32000 * 4096 == pytest.approx(7.242e9, rel=1e-3)
    assert (LLAMA.kv_bytes(2), MISTRAL.kv_bytes(2)) == (512 * 1024, 128 * 1024)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [(LLAMA, (29.8, 53.4, 9.6, 78.2)), (MISTRAL, (59.7, 120.7, 10.3, 38.2))],
    ids=["llama2", "mistral"],
)
def test_floor_of_one_question_by_stage(shape: Shape, expected: tuple[float, ...]) -> None:
    """Against figures derived by hand for 64 clips in flight."""
    found = floor(shape, load(shape, (200,)), H200, clips_in_flight=64, bytes_per_element=2)
    milliseconds = [1e3 * value for value in (found.vision, found.prefill, found.decode_weights, found.decode_kv)]
    assert milliseconds == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize(
    ("shape", "lengths", "num_questions", "clips_in_flight", "clips_per_second"),
    [
        (LLAMA, "equal", 1, 1, 1.3),
        (LLAMA, "equal", 1, 8, 4.2),
        (LLAMA, "mix", 8, 64, 5.5),
        (LLAMA, "equal", 8, 64, 4.6),
        (MISTRAL, "equal", 1, 64, 4.35),
        (MISTRAL, "mix", 8, 64, 4.2),
        (MISTRAL, "equal", 8, 64, 3.8),
    ],
)
def test_floor_of_a_clip(
    shape: Shape, lengths: str, num_questions: int, clips_in_flight: int, clips_per_second: float
) -> None:
    answers = answer_lengths(lengths, num_questions, 200)
    found = floor(shape, load(shape, answers), H200, clips_in_flight=clips_in_flight, bytes_per_element=2)
    assert 1 / found.seconds == pytest.approx(clips_per_second, rel=0.03)


def _counted(model: MiniGPT4Video, images: torch.Tensor | None, embeds: torch.Tensor | None) -> float:
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        if images is not None:
            model.encode_images(images)
        else:
            model.llama_model.model(inputs_embeds=embeds, use_cache=False)
    return float(counter.get_total_flops())


@pytest.mark.parametrize("name", ["llama2", "mistral"])
def test_formulas_count_what_torch_counts(name: str) -> None:
    config, llm = configs("tiny", name)
    shape, model = shape_of(config, llm), random_model(config, llm, "cpu", torch.float32)
    model.llama_model.set_attn_implementation("eager")  # whose attention is counted whole
    size = config.vision.image_size
    vision = _counted(model, torch.zeros(3, 3, size, size), None) / 3
    # the counter does not see inside the CPU's fused attention
    tokens = config.vision.num_patches + 1
    hidden_attention = config.vision.depth * 4 * tokens**2 * config.vision.embed_dim
    assert vision in (
        pytest.approx(shape.frame_flops(), rel=1e-6),
        pytest.approx(shape.frame_flops() - hidden_attention, rel=1e-6),
    )
    length = 50
    whole = _counted(model, None, torch.zeros(1, length, llm.hidden_size))
    attended = 4 * llm.num_hidden_layers * llm.num_attention_heads * shape.head_dim
    uncounted_half = attended * (length**2 - length * (length + 1) / 2)
    rotary = whole - shape.prefill_flops(length) - uncounted_half
    assert 0 <= rotary <= 2 * length * shape.head_dim


def test_a_prefix_and_its_suffix_cost_what_both_cost_together() -> None:
    together = LLAMA.prefill_flops(100 + 40)
    assert LLAMA.prefill_flops(100) + LLAMA.prefill_flops(40, 100) == pytest.approx(together)


def test_decoding_counts_live_rows_alone() -> None:
    one = Load(1, 100, (10, 10), (5, 3))
    assert (one.num_steps, one.row_steps) == (4, 6)
    # rows grow by one a step: 11 + 12 + 13 + 14 and 11 + 12 positions
    assert one.suffix_positions() == 50 + 23
    weights = LLAMA.step_weights * 2
    read = decode_bytes(LLAMA, one, num_clips=3, num_steps=4, bytes_per_element=2)
    assert read == 4 * weights + 3 * (4 * 100 + 73) * LLAMA.kv_bytes(2)


def test_more_questions_cost_little_where_the_prefix_is_shared() -> None:
    one, eight = (
        floor(LLAMA, load(LLAMA, answer_lengths("mix", k, 200)), H200, clips_in_flight=64, bytes_per_element=2).seconds
        for k in (1, 8)
    )
    assert 1.0 < eight / one < 1.1


def test_lengths_and_occupancy() -> None:
    assert answer_lengths("mix", 3, 64) == (200, 40, 40)
    assert answer_lengths("equal", 3, 64) == (64, 64, 64)
    assert occupancy(30, 10, 4) == 0.75
    assert occupancy(0, 0, 4) == 0.0
