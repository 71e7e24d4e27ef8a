"""torch's default dtype and device are the caller's affair: no kernel makes its own tensors by them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from gencore_kernels import (
    diffusion_step,
    minibatch_discrimination,
    minibatch_stddev,
    nearest_code,
    prepare_codebook,
    quantile_abs,
    step_table,
)

TABLE = step_table(torch.linspace(0.99, 0.01, 20), [15, 10, 5], eta=1.0, clip=1.0)


@contextmanager
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


def results(backend: str, x: Tensor, codebook: Tensor, table: Tensor, seeds: Tensor) -> list[Tensor]:
    found = nearest_code(x, codebook, returns=("distance", "code", "counts", "sums"), backend=backend)
    prepared = nearest_code(x, codebook, prepared=prepare_codebook(codebook, backend=backend))
    step = diffusion_step(x, x, table, 1, seeds=seeds, backend=backend)
    thresholded = diffusion_step(x, x, table, 1, seeds=seeds, threshold=0.9, backend=backend)
    made = [*found, prepared.index, prepared.distance, step, thresholded, quantile_abs(x, 0.9, backend=backend)]
    made.append(minibatch_discrimination(x[:, None], backend=backend))
    made.append(minibatch_stddev(x[..., None, None], backend=backend))
    return made


@pytest.mark.parametrize("backend", ["reference", "torch", "compiled"])
@pytest.mark.parametrize("default", [double, lambda: torch.device("meta")], ids=["float64", "meta"])
def test_they_do_not_follow_the_defaults(default, backend: str) -> None:
    codebook = torch.randn(40, 16)
    x = torch.cat([codebook[:8], codebook[:8] + 1e-6])
    codebook[20:] = codebook[:20] * (1 + 1e-7)
    arguments = x, codebook, TABLE, torch.arange(16)
    expected = results(backend, *arguments)
    with default():
        made = results(backend, *arguments)
    for one, other in zip(made, expected, strict=True):
        assert (one.dtype, one.device) == (other.dtype, other.device)
        assert torch.equal(one, other)
