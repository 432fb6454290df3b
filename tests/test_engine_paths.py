"""The engine says what `generate` says on every attention path, not on plain maths alone."""

from __future__ import annotations

import pytest
import torch

from tests.cuda import needs_cuda
from tests.engine_models import KINDS, Kind
from tests.engine_paths import same_as_generate
from tests.slot_cases import packed_attention
from vidlabel.engine.flash import FlashKernels
from vidlabel.engine.maths import MathsKernels


@pytest.mark.parametrize("kind", KINDS)
def test_packed_attention_with_a_step_over_all_rows(kind: Kind) -> None:
    same_as_generate(kind, FlashKernels(packed_attention))


@needs_cuda
@pytest.mark.parametrize("kind", KINDS)
def test_plain_maths_on_a_gpu(kind: Kind) -> None:
    assert torch.cuda.is_available()
    same_as_generate(kind, MathsKernels(), device="cuda")


@needs_cuda
@pytest.mark.parametrize("kind", KINDS)
def test_the_triton_step_as_a_captured_graph(kind: Kind, caplog: pytest.LogCaptureFixture) -> None:
    from vidlabel.engine.triton_decode import TritonKernels

    same_as_generate(kind, TritonKernels(MathsKernels()), device="cuda")
    assert caplog.records == []  # it was captured
