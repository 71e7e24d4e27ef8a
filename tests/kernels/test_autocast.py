"""Under torch.autocast every operation gives the bits and dtypes that it gives without it, gradients included."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from gencore_kernels import (
    ddpm_table,
    diffusion_step,
    minibatch_discrimination,
    minibatch_stddev,
    nearest_code,
    prepare_codebook,
    quantile_abs,
)
from gencore_kernels.nearest_code import torch_path

BACKENDS = ["reference", "torch", "triton", "compiled"]
ALL = ("distance", "code", "counts", "sums")


def close_codes(device: torch.device) -> tuple[Tensor, Tensor]:
    """Rows between pairs of codes 1e-3 apart: a product in bfloat16 cannot tell which of two is nearer."""
    codes = torch.randn(60, 32, device=device)
    return codes + 0.1 * torch.randn_like(codes), torch.cat([codes, codes + 1e-3 * torch.randn_like(codes)])


def same(run: Callable[[], tuple[Tensor, ...]], device: torch.device) -> None:
    expected = run()
    with torch.autocast(device.type, torch.bfloat16):
        assert (torch.ones(2, 2, device=device) @ torch.ones(2, 2, device=device)).dtype == torch.bfloat16
        found = run()
        assert torch.is_autocast_enabled(device.type)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)


def with_gradient(function: Callable[[Tensor], Tensor], x: Tensor) -> Callable[[], tuple[Tensor, ...]]:
    def run() -> tuple[Tensor, ...]:
        leaf = x.clone().requires_grad_()
        value = function(leaf)
        (first,) = torch.autograd.grad(value.square().sum(), leaf, create_graph=True)
        return value, first, torch.autograd.grad(first.square().sum(), leaf)[0]

    return run


@pytest.mark.parametrize("backend", BACKENDS)
def test_nearest_code(backend: str, device: torch.device) -> None:
    x, codebook = close_codes(device)
    same(lambda: nearest_code(x, codebook, returns=ALL, backend=backend), device)
    same(with_gradient(lambda x: nearest_code(x, codebook, backend=backend).distance, x), device)


@pytest.mark.parametrize("onednn", [True, False])
def test_nearest_code_is_exact_with_either_product(onednn: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not onednn:
        monkeypatch.setattr(torch_path, "_has_onednn", lambda: False)
    x, codebook = close_codes(torch.device("cpu"))
    expected = nearest_code(x, codebook, backend="reference").index
    with torch.autocast("cpu", torch.bfloat16):
        prepared = prepare_codebook(codebook, backend="torch")
        assert torch.equal(nearest_code(x, codebook, backend="torch").index, expected)
        assert torch.equal(nearest_code(x, codebook, prepared=prepared).index, expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_minibatch_statistics(backend: str, device: torch.device) -> None:
    m, x = torch.randn(8, 4, 3, device=device), torch.randn(4, 6, 3, 3, device=device)
    same(with_gradient(lambda m: minibatch_discrimination(m, backend=backend), m), device)
    same(with_gradient(lambda x: minibatch_stddev(x, backend=backend), x), device)


@pytest.mark.parametrize("backend", BACKENDS)
def test_diffusion(backend: str, device: torch.device) -> None:
    x, out, noise = torch.randn(3, 2, 3, 5, 5, device=device)
    table = ddpm_table(torch.linspace(0.99, 0.01, 10, dtype=torch.float64), [9, 5, 0]).to(device)
    same(lambda: (diffusion_step(x, out, table, 1, noise=noise, backend=backend),), device)
    same(lambda: (quantile_abs(x, 0.9, backend=backend),), device)
