"""The layers that see the batch: they tell a collapsed batch, and a gradient penalty goes through them."""

from __future__ import annotations

import torch

from gencore.nn.minibatch import MinibatchDiscrimination, MinibatchStddev


def test_discrimination_tells_a_collapsed_batch() -> None:
    torch.manual_seed(0)
    layer = MinibatchDiscrimination(6, kernels=4, kernel_dim=3)
    diverse, collapsed = torch.randn(8, 6), torch.randn(1, 6).expand(8, 6)
    assert layer(diverse).shape == (8, 10)
    torch.testing.assert_close(layer(collapsed)[:, 6:], torch.full((8, 4), 8.0))
    assert layer(diverse)[:, 6:].max() < 4
    order = torch.randperm(8)
    torch.testing.assert_close(layer(diverse[order]), layer(diverse)[order])


def test_stddev_is_zero_for_identical_images() -> None:
    layer = MinibatchStddev(group_size=4)
    image = torch.randn(1, 3, 5, 5)
    out = layer(image.expand(8, -1, -1, -1).contiguous())
    assert out.shape == (8, 4, 5, 5)
    assert out[:, 3].abs().max() < 1e-3
    assert layer(torch.randn(8, 3, 5, 5))[:, 3].min() > 0.3


def test_a_gradient_penalty_goes_through_both() -> None:
    for layer, shape in ((MinibatchDiscrimination(6, kernels=4), (8, 6)), (MinibatchStddev(), (8, 3, 4, 4))):
        x = torch.randn(*shape, requires_grad=True)
        weight = torch.ones((), requires_grad=True)
        (slope,) = torch.autograd.grad((weight * layer(x)).square().sum(), x, create_graph=True)
        slope.square().sum().backward()
        assert weight.grad.isfinite()
        assert weight.grad != 0
