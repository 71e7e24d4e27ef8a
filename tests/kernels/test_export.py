"""torch.export takes every operation, with a batch size left open, and the exported program does the same."""

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
    quantile_abs,
)

CODEBOOK = torch.randn(13, 6, generator=torch.Generator().manual_seed(1))
TABLE = ddpm_table(torch.linspace(0.99, 0.01, 10, dtype=torch.float64), [9, 5, 0])
CASES: dict[str, tuple[Callable[[Tensor], Tensor], tuple[int, ...]]] = {
    "nearest_code": (lambda x: nearest_code(x, CODEBOOK).index, (6,)),
    "nearest_code distance": (lambda x: nearest_code(x, CODEBOOK).distance, (6,)),
    "nearest_code sums": (lambda x: nearest_code(x, CODEBOOK, returns=("sums",)).sums, (6,)),
    "minibatch_discrimination": (minibatch_discrimination, (3, 2)),
    "minibatch_stddev": (minibatch_stddev, (5, 2, 2)),
    "diffusion_step": (lambda x: diffusion_step(x, x * 0.5, TABLE, 2), (3, 4, 4)),
    "quantile_abs": (lambda x: quantile_abs(x, 0.9), (3, 4, 4)),
}


class Call(torch.nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


@pytest.mark.parametrize("name", CASES)
def test_exports(name: str) -> None:
    function, shape = CASES[name]
    x = torch.randn(8, *shape)
    program = torch.export.export(Call(function), (x,))
    one_node = any("gencore" in str(node.target) for node in program.graph.nodes)
    assert one_node != (name == "diffusion_step"), "diffusion_step alone is traced through, so that compilers fuse it"
    torch.testing.assert_close(program.module()(x), function(x))
    assert not any("compiled" in node.args for node in program.graph.nodes), "a program runs without C++ kernels, too"


@pytest.mark.parametrize("name", CASES)
def test_exports_with_any_batch_size(name: str) -> None:
    function, shape = CASES[name]
    groups = torch.export.Dim("groups", min=1, max=64)
    program = torch.export.export(Call(function), (torch.randn(8, *shape),), dynamic_shapes=({0: 4 * groups},))
    x = torch.randn(20, *shape)
    torch.testing.assert_close(program.module()(x), function(x))
