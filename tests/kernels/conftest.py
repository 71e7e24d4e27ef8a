"""Kernel tests run without a GPU, in Triton's interpreter (tests/conftest.py switches it on).

With GENCORE_TEST_GPU=1 the same tests run the compiled kernels on CUDA tensors.
"""

from __future__ import annotations

import os

import pytest
import torch

ON_GPU = os.environ.get("GENCORE_TEST_GPU") == "1"

torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    skip = pytest.mark.skip(reason="needs a CUDA device; none here (nothing of this package was timed on a GPU)")
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(skip)


@pytest.fixture
def device(request: pytest.FixtureRequest) -> torch.device:
    """Where kernel tests put their tensors."""
    callspec = getattr(request.node, "callspec", None)
    if ON_GPU and callspec is not None and callspec.params.get("backend") == "compiled":
        pytest.skip("the compiled kernels are for the CPU")
    return torch.device("cuda" if ON_GPU else "cpu")


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)
