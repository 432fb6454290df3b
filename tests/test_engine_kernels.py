"""The GPU paths of the engine's attention: which is chosen, and that each gives what float64 gives."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.cuda import needs_cuda
from tests.slot_cases import (
    Case,
    check_score,
    exact_extend,
    exact_row,
    exact_step,
    make_case,
    packed_attention,
)
from vidlabel.engine.attention import Kernels, StepWork, starts_of
from vidlabel.engine.choice import Choice, MachineFacts, build_kernels, choose, read_facts
from vidlabel.engine.flash import FlashKernels, merge_parts
from vidlabel.engine.graph import GraphError, capture
from vidlabel.engine.maths import MathsKernels
from vidlabel.errors import InputError

H200 = MachineFacts("cuda", "float16", 128, capability=(9, 0), triton="3.6.0", has_compiler=True)


GROUPS = [(4, 4), (8, 2), (8, 1)]


@pytest.mark.parametrize("heads", GROUPS)
def test_flash_prefill_keeps_packed_prefixes_apart(heads: tuple[int, int]) -> None:
    lengths = (5, 1, 7)
    q, k, v = (torch.randn(sum(lengths), n, 16) for n in (heads[0], heads[1], heads[1]))
    out = FlashKernels(packed_attention).prefill(q, k, v, lengths, starts_of(lengths, q.device), 0.25)
    start = 0
    for length in lengths:
        for i in range(start, start + length):
            want = exact_row(q[i], k[start : i + 1], v[start : i + 1], 0.25)
            torch.testing.assert_close(out[i].double(), want, atol=1e-5, rtol=1e-5)
        start += length


@pytest.mark.parametrize("heads", GROUPS)
def test_flash_extend_sees_the_slots_prefix_and_its_own_row(heads: tuple[int, int]) -> None:
    case = make_case((9, 4, 17), (3, 0, 1, 2, 0, 5), heads=heads)
    work = case.extend_work()
    num_tokens = sum(work.lengths)
    q, k, v = case.queries(num_tokens), *(torch.randn(num_tokens, heads[1], 16) for _ in range(2))
    out = FlashKernels(packed_attention).extend(q, k, v, *case.layer[:2], work, case.scale)
    torch.testing.assert_close(out.double(), exact_extend(case, work, q, k, v), atol=1e-5, rtol=1e-5)


def test_flash_extend_of_some_slots_finds_their_prefixes() -> None:
    case = make_case((9, 4, 17, 6), (0, 0, 1, 2, 0, 0, 2, 0), heads=(4, 2))
    work = case.extend_work()
    assert work.slot_ids == (1, 3)
    q, k, v = case.queries(5), *(torch.randn(5, 2, 16) for _ in range(2))
    out = FlashKernels(packed_attention).extend(q, k, v, *case.layer[:2], work, case.scale)
    torch.testing.assert_close(out.double(), exact_extend(case, work, q, k, v), atol=1e-5, rtol=1e-5)


PATHS = [FlashKernels(packed_attention), MathsKernels()]


@pytest.mark.parametrize("kernels", PATHS, ids=["flash", "maths"])
@settings(max_examples=15, deadline=None, derandomize=True)
@given(data=st.data())
def test_answers_see_their_own_prompt_and_no_other_answer(kernels: Kernels, data: st.DataObject) -> None:
    lengths = st.integers(1, 7)
    groups = data.draw(st.lists(st.tuples(lengths, st.lists(lengths, max_size=3)), min_size=1, max_size=4))
    groups.sort(key=lambda group: not group[1])  # prompts of which nothing follows stand last
    prompts, answers = tuple(prompt for prompt, _ in groups), tuple(tuple(group) for _, group in groups)
    check_score(kernels, prompts, answers, heads=data.draw(st.sampled_from(GROUPS)))


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.data())
def test_flash_step_equals_float64_for_any_lengths(data: st.DataObject) -> None:
    num_slots, rows = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    prefixes = tuple(data.draw(st.lists(st.integers(0, 12), min_size=num_slots, max_size=num_slots)))
    suffixes = tuple(data.draw(st.lists(st.integers(0, 6), min_size=num_slots * rows, max_size=num_slots * rows)))
    case = make_case(prefixes, suffixes, heads=data.draw(st.sampled_from(GROUPS)))
    check_step(case, FlashKernels(packed_attention))


def check_step(case: Case, kernels: FlashKernels, tolerance: float = 1e-5) -> None:
    q = case.queries(len(case.suffix_lengths))
    out = kernels.step(q, *case.layer, case.step_work(), case.scale)
    assert out.shape == q.shape
    assert torch.isfinite(out).all()
    live = case.live
    torch.testing.assert_close(out[live].double(), exact_step(case, q)[live], atol=tolerance, rtol=tolerance)


def test_flash_step_reads_no_prefix_of_a_slot_whose_rows_are_dead() -> None:
    case = make_case((6, 5), (0, 0, 2, 3))
    case.layer[0][0] = math.nan
    case.layer[1][0] = math.nan
    check_step(case, FlashKernels(packed_attention))


def test_flash_step_refuses_a_choice_of_rows() -> None:
    case = make_case((6,), (1, 2))
    work = StepWork(case.slots, (1,), torch.tensor([1]))
    with pytest.raises(ValueError, match="all rows"):
        FlashKernels(packed_attention).step(case.queries(1), *case.layer, work, case.scale)


@pytest.mark.parametrize("spread", [1.0, 30.0, 300.0])
def test_merged_parts_equal_attention_over_all_keys(spread: float) -> None:
    torch.manual_seed(0)
    scores, values = torch.randn(50, 12, dtype=torch.float64) * spread, torch.randn(12, 8, dtype=torch.float64)
    parts: list[Tensor] = []
    for some in (slice(0, 5), slice(5, 12)):
        parts += [torch.softmax(scores[:, some], -1) @ values[some], scores[:, some].logsumexp(-1)]
    want = torch.softmax(scores, -1) @ values
    torch.testing.assert_close(merge_parts(*parts), want, atol=1e-12, rtol=1e-12)
    single = merge_parts(*(part.float() for part in parts))
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), want, atol=3e-5, rtol=3e-5)


@pytest.mark.parametrize("none", [math.inf, -math.inf])
def test_a_part_without_keys_has_no_weight(none: float) -> None:
    out, lse = torch.tensor([[1.0, -2.0]]), torch.tensor([-3.0])
    empty, no_lse = torch.zeros(1, 2), torch.tensor([none])
    assert torch.equal(merge_parts(out, lse, empty, no_lse), out)
    assert torch.equal(merge_parts(empty, no_lse, out, lse), out)
    assert torch.isfinite(merge_parts(empty, no_lse, empty, no_lse)).all()


@pytest.mark.parametrize(
    ("facts", "kernels", "why"),
    [
        (H200, "triton", "3.6.0"),
        (replace(H200, dtype="bfloat16", capability=(12, 0)), "triton", "Triton"),
        (replace(H200, triton=None), "flash", "not installed"),
        (replace(H200, triton="2.3.1"), "flash", "older than 3.2"),
        (replace(H200, has_compiler=False), "flash", "C compiler"),
        (replace(H200, dtype="float32"), "maths", "no float32; --dtype"),
        (replace(H200, capability=(7, 5)), "maths", "capability 7.5"),
        (replace(H200, capability=None), "maths", "NVIDIA"),
        (replace(H200, head_dim=320), "maths", "320"),
        (replace(H200, head_dim=20), "maths", "20"),
        (MachineFacts("cpu", "float32", 128), "maths", "runs on cpu"),
    ],
)
def test_each_machine_gets_the_fastest_path_it_can_have(facts: MachineFacts, kernels: str, why: str) -> None:
    choice = choose(facts)
    assert (choice.kernels, choice.use_graph) == (kernels, kernels != "maths")
    assert why in choice.why


@pytest.mark.parametrize("wanted", ["maths", "flash", "triton"])
def test_the_variable_takes_another_path(wanted: str) -> None:
    assert choose(H200, wanted).kernels == wanted
    assert choose(H200, "").kernels == "triton"


@pytest.mark.parametrize(
    ("facts", "wanted", "message"),
    [
        (MachineFacts("cpu", "float32", 128), "flash", "runs on cpu"),
        (replace(H200, triton=None), "triton", "not installed"),
        (H200, "fast", "maths, flash or triton"),
    ],
)
def test_a_path_that_cannot_be_had_is_refused(facts: MachineFacts, wanted: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        choose(facts, wanted)


def test_facts_of_this_machine_choose_maths_on_a_cpu() -> None:
    facts = read_facts(torch.device("cpu"), torch.float32, 64)
    assert (facts.device, facts.dtype, facts.capability) == ("cpu", "float32", None)
    choice = choose(facts)
    assert build_kernels(choice, torch.device("cpu")).name == "maths"
    assert build_kernels(Choice("flash", "", use_graph=True), torch.device("cpu")).name == "flash"


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_capture_refuses_and_runs_nothing() -> None:
    ran: list[int] = []
    with pytest.raises(GraphError, match="no GPU"):
        capture(lambda: ran.append(1))
    assert ran == []


def test_capture_wants_a_warm_up() -> None:
    with pytest.raises(ValueError, match="at least once"):
        capture(lambda: None, warmup=0)


@needs_cuda
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("heads", "head_dim"), [((8, 8), 128), ((8, 2), 128), ((8, 1), 64)])
def test_torch_flash_on_a_gpu_equals_float64(dtype: torch.dtype, heads: tuple[int, int], head_dim: int) -> None:
    tolerance = 2e-3 if dtype == torch.float16 else 2e-2
    options = {"heads": heads, "head_dim": head_dim, "dtype": dtype, "device": "cuda"}
    case = make_case((300, 0, 131, 64), (1, 17, 0, 0, 40, 0, 3, 64), **options)  # type: ignore[arg-type]
    check_step(case, FlashKernels(), tolerance)
    alone = make_case((300, 7), (1, 1), **options)  # type: ignore[arg-type]
    check_step(alone, FlashKernels(), tolerance)
    for lengths in ((1, 17, 0, 0, 40, 0, 3, 64), (1, 1, 1, 0, 1, 0, 0, 1)):
        case = make_case((300, 9, 131, 64), lengths, **options)  # type: ignore[arg-type]
        work = case.extend_work()
        num_tokens = sum(work.lengths)
        q = case.queries(num_tokens)
        k, v = (torch.randn(num_tokens, heads[1], head_dim, dtype=dtype, device="cuda") for _ in range(2))
        out = FlashKernels().extend(q, k, v, *case.layer[:2], work, case.scale)
        want = exact_extend(case, work, q, k, v)
        torch.testing.assert_close(out.double(), want, atol=tolerance, rtol=tolerance)
    given = {"heads": heads, "head_dim": head_dim, "dtype": dtype, "device": "cuda", "tolerance": tolerance}
    for prompts, answers in (((33, 5, 140), ((1, 200, 64), (7,), ())), ((12,), ((1,),)), ((12, 3), ((), ()))):
        check_score(FlashKernels(), prompts, answers, **given)  # type: ignore[arg-type]


@needs_cuda
@pytest.mark.parametrize("name", ["flash", "triton"])
def test_a_captured_step_equals_the_eager_one_when_lengths_change(name: str) -> None:
    choice = Choice("flash" if name == "flash" else "triton", "", use_graph=True)
    kernels = build_kernels(choice, torch.device("cuda"))
    assert kernels.name == name
    case = make_case((300, 9), (0, 0, 0, 0), heads=(8, 2), head_dim=128, spare=40, dtype=torch.float16, device="cuda")
    q, work = case.queries(4), case.step_work()
    out = torch.empty_like(q)
    replay = capture(lambda: out.copy_(kernels.step(q, *case.layer, work, case.scale)))  # type: ignore[arg-type,return-value]
    for lengths in ((5, 0, 1, 30), (6, 1, 0, 31), (0, 0, 0, 0)):
        case.slots.suffix_lengths.copy_(torch.tensor(lengths))
        replay()
        eager = kernels.step(q, *case.layer, work, case.scale)
        assert torch.equal(out, eager)
