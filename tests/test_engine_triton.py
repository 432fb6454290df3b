"""The Triton decode step against float64: on a GPU, or on a CPU in Triton's interpreter (`make test-triton`)."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from tests.engine_paths import same_as_generate
from tests.slot_cases import Case, check_score, exact_step, make_case

pytest.importorskip("triton", reason="Triton is not installed; `make test-triton` runs these in its interpreter")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
IS_INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
if DEVICE == "cpu" and not IS_INTERPRETED:
    pytest.skip("no GPU here; `make test-triton` runs these in Triton's interpreter", allow_module_level=True)
if IS_INTERPRETED and np.lib.NumpyVersion(np.__version__) >= "2.3.0":
    pytest.skip(f"Triton's interpreter needs numpy < 2.3, this is {np.__version__}", allow_module_level=True)

from vidlabel.engine.choice import triton_problem  # noqa: E402  after the skips
from vidlabel.engine.maths import MathsKernels  # noqa: E402
from vidlabel.engine.triton_decode import Tile, TritonKernels, num_splits_for, tile_for  # noqa: E402

# of the interpreter of Triton 3.6 itself
pytestmark = pytest.mark.filterwarnings("ignore:Conversion of an array with ndim > 0:DeprecationWarning")
SMALL = Tile(block=16)
TOLERANCE = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}


def check(case: Case, kernels: TritonKernels) -> None:
    q = case.queries(len(case.suffix_lengths))
    out = kernels.step(q, *case.layer, case.step_work(), case.scale)
    assert (out.shape, out.dtype) == (q.shape, q.dtype)
    assert not out[~case.live].any()
    tolerance = TOLERANCE[q.dtype]
    want = exact_step(case, q)[case.live]
    torch.testing.assert_close(out[case.live].double(), want, atol=tolerance, rtol=tolerance)


def kernels(num_splits: int | None = None, tile: Tile | None = SMALL) -> TritonKernels:
    return TritonKernels(MathsKernels(), num_splits=num_splits, tile=tile)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("head_dim", [16, 64, 80, 96, 128, 256])
def test_every_head_size_and_number_format(head_dim: int, dtype: torch.dtype) -> None:
    if IS_INTERPRETED and dtype == torch.bfloat16:
        pytest.skip("Triton's interpreter multiplies the bits of bfloat16 as integers")
    case = make_case((35, 17), (3, 20), heads=(2, 1), head_dim=head_dim, dtype=dtype, device=DEVICE)
    check(case, kernels(2))


def test_answers_are_scored_by_the_path_that_prefills() -> None:
    check_score(kernels(), (5, 3), ((1, 4), (2,)), heads=(4, 2), device=DEVICE)


@pytest.mark.parametrize("rows", [1, 3, 8])
@pytest.mark.parametrize("group", [1, 4, 8])
def test_rows_and_grouped_heads_share_one_prefix(group: int, rows: int) -> None:
    suffixes = tuple(1 + (5 * row) % 19 for row in range(2 * rows))
    check(make_case((33, 50), suffixes, heads=(2 * group, 2), device=DEVICE), kernels(3))


@pytest.mark.parametrize(("rows", "group"), [(9, 8), (16, 8), (65, 1)])
def test_more_rows_than_a_tile_holds(rows: int, group: int) -> None:
    suffixes = tuple(row % 7 for row in range(rows))
    check(make_case((21,), suffixes, heads=(group, 1), device=DEVICE), kernels(2))


@pytest.mark.parametrize("num_splits", [1, 2, 7, 32])
def test_more_splits_than_keys_and_odd_lengths(num_splits: int) -> None:
    case = make_case((1, 16, 17, 47), (1, 2, 16, 17, 5, 33, 1, 1), heads=(4, 2), device=DEVICE)
    check(case, kernels(num_splits))


@pytest.mark.parametrize(
    ("prefixes", "suffixes"),
    [
        ((0, 20), (0, 0, 3, 1)),  # an empty slot
        ((0, 20), (2, 1, 3, 1)),  # rows without a prefix
        ((20, 30), (0, 4, 0, 0)),  # dead rows beside live ones, and a slot of dead rows
        ((20, 30), (0, 0, 0, 0)),  # nothing alive
    ],
)
def test_dead_rows_and_empty_slots(prefixes: tuple[int, ...], suffixes: tuple[int, ...]) -> None:
    check(make_case(prefixes, suffixes, device=DEVICE), kernels(2))


def test_what_is_not_needed_is_not_read() -> None:
    case = make_case((20, 18), (0, 0, 2, 0), device=DEVICE)
    for tensor in case.layer[:2]:
        tensor[0] = float("nan")  # of a slot whose rows are dead
        tensor[1, 18:] = float("nan")  # beyond its length
    for tensor in case.layer[2:]:
        tensor[[0, 1, 3]] = float("nan")
        tensor[2, 2:] = float("nan")
    check(case, kernels(2))


def test_workspace_lasts_and_holds_nothing_over() -> None:
    ours = kernels(4)
    check(make_case((60, 50), (9, 8, 7, 6), device=DEVICE), ours)
    check(make_case((3, 0), (1, 0, 0, 2), device=DEVICE), ours)
    assert len(ours._workspaces) == 1


def test_defaults_of_tile_and_splits_work() -> None:
    check(make_case((150, 70), (9, 70), heads=(4, 2), head_dim=64, device=DEVICE), kernels(None, None))
    assert triton_problem(torch.device(DEVICE)) is None


@pytest.mark.parametrize(
    ("num_programs", "multiprocessors", "tokens", "splits"),
    [
        (56 * 32, 132, 3072, 2),  # Llama-2 on an H200
        (64 * 8, 132, 6144, 5),  # Mistral
        (1 * 8, 132, 6144, 32),  # one clip: as many chunks as are allowed
        (1 * 8, 132, 200, 2),  # a chunk is worth its program
        (10_000, 24, 6144, 1),
        (8, 132, 1, 1),
    ],
)
def test_splits_fill_the_device(num_programs: int, multiprocessors: int, tokens: int, splits: int) -> None:
    assert num_splits_for(num_programs, multiprocessors, tokens, 64) == splits


def test_tile_fits_every_card_and_checks_itself() -> None:
    for dtype, head_dim in ((torch.float16, 128), (torch.float32, 128), (torch.bfloat16, 256), (torch.float32, 64)):
        tile = tile_for(dtype, head_dim)
        assert 2 * tile.num_stages * tile.block * head_dim * dtype.itemsize <= 64 * 1024
    with pytest.raises(ValueError, match="power of two"):
        Tile(block=48)


def test_the_engine_with_this_step_says_what_generate_says() -> None:
    for kind in ("llama", "mistral"):
        same_as_generate(kind, TritonKernels(MathsKernels(), tile=SMALL), device=DEVICE, max_new_tokens=4)


# the programs themselves, compiled for chips that need not be here
COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from vidlabel.engine import triton_programs

element, head_dim, capability = {element!r}, {head_dim}, {capability}
pointers = dict.fromkeys("q prefix_keys prefix_values suffix_keys suffix_values".split(), "*" + element)
pointers |= dict.fromkeys("prefix_lengths suffix_lengths".split(), "*i32")
pointers |= dict.fromkeys("sums tops totals".split(), "*fp32")
strides = "q_row q_head prefix_slot prefix_token prefix_head suffix_row suffix_token suffix_head num_splits".split()
sizes = dict(rows_per_slot=8, group=4, num_kv_heads=8, head_dim=head_dim, padded_dim=128, prefix_tile=32, num_tiles=1,
             suffix_tile=16, padded_rows=8, block=64 if element != "fp32" else 32)
whole = {{"tt.divisibility": 16}}


def compiled(program, signature, sizes, options):
    at = {{name: i for i, name in enumerate(program.arg_names)}}
    signature = signature | dict.fromkeys(sizes, "constexpr")
    signature = {{name: signature[name] for name in program.arg_names}}
    even = [n for n, kind in signature.items() if kind[0] == "*" or n.startswith(("q_", "prefix_", "suffix_"))]
    attrs = {{(at[name],): [["tt.divisibility", 16]] for name in even if signature[name] != "constexpr"}}
    source = ASTSource(program, signature, {{(at[name],): value for name, value in sizes.items()}}, attrs)
    return triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)


made = compiled(triton_programs.decode_parts, pointers | {{"scale": "fp32"}} | dict.fromkeys(strides, "i32"), sizes,
                dict(num_warps=4, num_stages=2, enable_fp_fusion=True))
assert made.metadata.shared <= 100 * 1024, made.metadata.shared
assert "ld.global" in made.asm["ptx"] or "cp.async" in made.asm["ptx"]
print(element, capability, "shared", made.metadata.shared, "cubin", len(made.asm["cubin"]))
parts = dict(num_heads=32, head_dim=head_dim, padded_dim=128, padded_parts=8)
pointers = dict(sums="*fp32", tops="*fp32", totals="*fp32", suffix_lengths="*i32", out="*" + element, num_parts="i32")
compiled(triton_programs.combine, pointers, parts, dict(num_warps=2, enable_fp_fusion=True))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("element", "head_dim", "capability"),
    [("fp16", 128, 90), ("bf16", 96, 90), ("fp32", 128, 90), ("fp16", 128, 80), ("fp16", 128, 89), ("fp16", 128, 120)],
)
def test_programs_compile_for_a_chip_that_is_not_here(element: str, head_dim: int, capability: int) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    code = COMPILE.format(element=element, head_dim=head_dim, capability=capability)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
