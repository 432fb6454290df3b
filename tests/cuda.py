"""Where a test needs a GPU: `@needs_cuda` skips it without one, and lets it fail when FAIL_WITHOUT_CUDA=1."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
import torch

Test = TypeVar("Test", bound=Callable[..., Any])


def needs_cuda(test: Test) -> Test:
    skip = not torch.cuda.is_available() and os.environ.get("FAIL_WITHOUT_CUDA") != "1"
    skipping = pytest.mark.skipif(skip, reason="no GPU here; FAIL_WITHOUT_CUDA=1 makes this a failure")
    return pytest.mark.needs_cuda(skipping(test))
