"""Optimisers step as their papers say, in one pass over memory where torch has it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gencore import Adam, AdamW
from gencore.optimizers import OptimizerConfig

GRADIENTS = [torch.tensor([1.0, -2.0, 0.0]), torch.tensor([0.5, 3.0, -1.0]), torch.tensor([-4.0, 0.1, 2.0])]


def adam(start: Tensor, *, rate: float, first: float, second: float, eps: float, decay: float = 0.0) -> Tensor:
    """Algorithm 1 of Kingma & Ba, with Loshchilov & Hutter's decay (Algorithm 2), in float64."""
    x, m, v = start.double(), torch.zeros(3).double(), torch.zeros(3).double()
    for t, gradient in enumerate(GRADIENTS, start=1):
        x = x - rate * decay * x
        m, v = first * m + (1 - first) * gradient, second * v + (1 - second) * gradient.double().square()
        x = x - rate * (m / (1 - first**t)) / ((v / (1 - second**t)).sqrt() + eps)
    return x


@pytest.mark.parametrize(
    ("config", "numbers"),
    [
        (
            Adam(learning_rate=0.1, betas=(0.5, 0.9), eps=1e-3),
            {"rate": 0.1, "first": 0.5, "second": 0.9, "eps": 1e-3},
        ),
        (
            AdamW(learning_rate=0.1, betas=(0.5, 0.9), weight_decay=0.2),
            {"rate": 0.1, "first": 0.5, "second": 0.9, "eps": 1e-8, "decay": 0.2},
        ),
    ],
)
def test_adam_is_its_papers(config: OptimizerConfig, numbers: dict[str, float]) -> None:
    parameter = nn.Parameter(torch.tensor([1.0, 2.0, -3.0]))
    expected = adam(parameter.detach(), **numbers)
    optimizer = config.build(iter([parameter]))
    assert optimizer.defaults["fused"]
    for gradient in GRADIENTS:
        parameter.grad = gradient.clone()
        optimizer.step()
    torch.testing.assert_close(parameter.detach().double(), expected, rtol=1e-5, atol=1e-6)


def test_on_a_device_without_such_a_pass() -> None:
    assert not Adam().build([nn.Parameter(torch.empty(3, device="meta"))]).defaults["fused"]
