"""Bias, leaky_relu, gain and clamp behind a convolution, forward and backward, against one operation after another."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from gencore_kernels.bias_activation import bias_activation

GAIN, CLAMP = 2.0**0.5, 256.0
SHAPES = [(8, 128, 32, 32), (4, 512, 8, 8), (2, 64, 128, 128)]


def textbook(x: Tensor, bias: Tensor) -> Tensor:
    return (functional.leaky_relu(x + bias[:, None, None], 0.2) * GAIN).clamp(-CLAMP, CLAMP)


def ours(x: Tensor, bias: Tensor) -> Tensor:
    return bias_activation(x, bias, clamp=CLAMP)


def forward_of(form: Callable[[Tensor, Tensor], Tensor], x: Tensor, bias: Tensor) -> Callable[[], list[Tensor]]:
    def run() -> list[Tensor]:
        with torch.no_grad():
            return [form(x, bias)]

    return run


def gradients_of(form: Callable[[Tensor, Tensor], Tensor], x: Tensor, bias: Tensor) -> Callable[[], list[Tensor]]:
    g = torch.ones_like(x)

    def run() -> list[Tensor]:
        leaves = x.detach().requires_grad_(), bias.detach().requires_grad_()
        return list(torch.autograd.grad(form(*leaves), leaves, g))

    return run


@pytest.mark.parametrize("way", [forward_of, gradients_of], ids=["forward", "forward and backward"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_leaky_relu(race, shape, way) -> None:
    x, bias = torch.randn(shape), torch.randn(shape[1])
    forms = {"gencore": ours, "textbook form": textbook, "torch.compile of it": torch.compile(textbook)}
    exact = way(textbook, x.double(), bias.double())()

    def error(found: list[Tensor]) -> float:
        pairs = zip(found, exact, strict=True)
        return max(((one.double() - other).abs().max() / other.abs().max()).item() for one, other in pairs)

    case = f"{'forward' if way is forward_of else 'forward and backward'}, {'x'.join(map(str, shape))}"
    contestants = {name: way(form, x, bias) for name, form in forms.items()}
    race("bias_activation", case, contestants, error=error, error_unit="rel. to largest")
