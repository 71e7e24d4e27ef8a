"""Equalised layers and pixel-wise normalisation."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gencore_gan.parts.equalised import EqualisedConv2d, EqualisedLinear, pixel_norm


def test_pixel_norm() -> None:
    """(3, 4) has the mean square 12.5; everything comes out with a mean square of 1, at each place by itself."""
    torch.testing.assert_close(pixel_norm(torch.tensor([[3.0, 4.0]])), torch.tensor([[3.0, 4.0]]) / 12.5**0.5)
    x = torch.randn(2, 5, 3, 3) * torch.arange(1.0, 10.0).reshape(3, 3)
    torch.testing.assert_close(pixel_norm(x).square().mean(1), torch.ones(2, 3, 3))


@pytest.mark.parametrize("width", [8, 64, 512])
@pytest.mark.parametrize("kind", ["linear", "convolution"])
def test_outputs_have_unit_variance_at_any_width(kind: str, width: int) -> None:
    """With gain 1, from N(0, 1); the stored weights are N(0, 1) at any width."""
    torch.manual_seed(0)
    if kind == "linear":
        layer, x = EqualisedLinear(width, 400, gain=1.0), torch.randn(200, width)
    else:
        layer, x = EqualisedConv2d(width, 400, 3, gain=1.0, padding=0), torch.randn(50, width, 4, 4)
    assert layer(x).std().item() == pytest.approx(1.0, abs=0.1)
    assert layer.weight.std().item() == pytest.approx(1.0, abs=0.05)


def test_rate_changes_learning_and_not_the_output() -> None:
    """The same function from weights that are 1 / rate times larger; a step of Adam moves the output `rate` as far."""
    moved = []
    for rate in (1.0, 0.01):
        torch.manual_seed(0)
        layer = EqualisedLinear(6, 4, rate=rate, bias=0.5)
        x = torch.ones(1, 6)
        before = layer(x).detach()
        torch.manual_seed(0)
        weight = torch.randn(4, 6) * 2**0.5 / 6**0.5
        torch.testing.assert_close(before, nn.functional.linear(x, weight, torch.full((4,), 0.5)))
        optimizer = torch.optim.Adam(layer.parameters(), lr=1e-3)
        layer(x).sum().backward()
        optimizer.step()
        moved.append((layer(x) - before).norm().item())
    assert moved[1] == pytest.approx(0.01 * moved[0], rel=1e-2)
