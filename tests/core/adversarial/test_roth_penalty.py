"""Roth's penalty against numbers worked out by hand, and its cheap cousins."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gencore.adversarial.penalties import R1, R2, Roth
from gencore.errors import GencoreError


def test_linear_critic_by_hand() -> None:
    """D(x) = 3 x1 + 4 x2: the squared slope is 25 everywhere; each example weighs s of the other side, squared."""
    slope = torch.tensor([3.0, 4.0], dtype=torch.float64)
    real = torch.tensor([[0.1, 0.2], [0.0, -0.5]], dtype=torch.float64)  # D = 1.1, -2
    fake = torch.tensor([[1.0, -1.0], [0.0, 0.25]], dtype=torch.float64)  # D = -1, 1
    weights = [1 / (1 + math.exp(1.1)), 1 / (1 + math.exp(-2)), 1 / (1 + math.exp(1)), 1 / (1 + math.exp(-1))]
    squares = [w * w * 25 for w in weights]
    expected = 0.7 / 2 * ((squares[0] + squares[1]) / 2 + (squares[2] + squares[3]) / 2)
    loss = Roth(weight=0.7)(lambda x: x @ slope, real, fake)
    assert loss.total.item() == pytest.approx(expected, rel=1e-12)
    assert loss.metrics["roth"].item() == pytest.approx(2 / 0.7 * expected, rel=1e-12)


def test_a_quarter_of_r1_and_r2_where_the_critic_cannot_tell() -> None:
    def judge(x: Tensor) -> Tensor:
        return (x * torch.arange(1.0, 4.0, dtype=x.dtype)).sum(1) - 6 * x[:, 0]

    x = torch.ones(5, 3, dtype=torch.float64)  # D = 1 + 2 + 3 - 6 = 0
    both = R1(weight=2.0)(judge, x, x).total + R2(weight=2.0)(judge, x, x).total
    torch.testing.assert_close(Roth(weight=2.0)(judge, x, x).total, both / 4)


def test_gradient_flows_through_the_sigmoid_too() -> None:
    """With D(x) = a x at real x = 1, fake x = 0: gamma / 2 {(1 - s(a))^2 a^2 + a^2 / 4}, whose slope in a is known."""
    a = torch.tensor(0.8, dtype=torch.float64, requires_grad=True)
    real, fake = torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    (slope,) = torch.autograd.grad(Roth(weight=1.0)(lambda x: a * x[:, 0], real, fake).total, a)
    s = 1 / (1 + math.exp(-0.8))
    expected = 0.5 * (2 * 0.8 * (1 - s) ** 2 - 2 * (1 - s) * s * (1 - s) * 0.64 + 2 * 0.8 / 4)
    assert slope.item() == pytest.approx(expected, rel=1e-12)


def test_negative_weight_is_refused() -> None:
    with pytest.raises(GencoreError, match="weight is -1"):
        Roth(weight=-1.0)
