"""Spectral normalisation against the singular value decomposition."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gencore_gan.parts.spectral import SpectralConv2d, SpectralLinear, iterate, power_iteration, spectrally_normalised


def largest_singular_value(weight: torch.Tensor) -> float:
    return torch.linalg.svdvals(weight.detach().flatten(1).double())[0].item()


@pytest.mark.parametrize("layer", [SpectralConv2d(3, 5, 4), SpectralLinear(7, 9)], ids=["conv", "linear"])
def test_after_fifty_rounds_the_weights_norm_is_one(layer: nn.Module) -> None:
    """Miyato et al., Algorithm 1: within 1 % of the decomposition's largest singular value."""
    torch.manual_seed(0)
    nn.init.normal_(layer.weight)
    iterate(nn.Sequential(layer), rounds=50)
    normalised = spectrally_normalised(layer.weight, layer.u)
    assert largest_singular_value(normalised) == pytest.approx(1, rel=0.01)
    ratio = (layer.weight / normalised).mean().item()
    assert ratio == pytest.approx(largest_singular_value(layer.weight), rel=0.01)


def test_one_round_by_hand() -> None:
    """diag(3, 4) from u = (1, 0): v = (1, 0), u' = (1, 0), sigma = 3. From (0.6, 0.8): v = (1.8, 3.2) / 3.67."""
    matrix = torch.diag(torch.tensor([3.0, 4.0]))
    u, v = power_iteration(matrix.clone().requires_grad_(), torch.tensor([1.0, 0.0]))
    assert not any(vector.requires_grad for vector in (u, v))
    assert (u.tolist(), v.tolist()) == ([1, 0], [1, 0])
    assert spectrally_normalised(matrix, torch.tensor([1.0, 0.0]))[1, 1].item() == pytest.approx(4 / 3)
    _, v = power_iteration(matrix, torch.tensor([0.6, 0.8]))
    torch.testing.assert_close(v, torch.tensor([1.8, 3.2]) / (1.8**2 + 3.2**2) ** 0.5)


def test_the_gradient_takes_the_singular_vectors_for_constants() -> None:
    """With u, v the first pair, the gradient of <G, W / sigma> is (G - <G, W / sigma> u v^T) / sigma (equation 12)."""
    torch.manual_seed(0)
    weight = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    left, values, right = torch.linalg.svd(weight.detach())
    outer, direction = torch.outer(left[:, 0], right[0]), torch.randn(4, 3, dtype=torch.float64)
    normalised = spectrally_normalised(weight, left[:, 0])
    (gradient,) = torch.autograd.grad((direction * normalised).sum(), weight)
    share = (direction * weight.detach()).sum() / values[0]
    torch.testing.assert_close(gradient, (direction - share * outer) / values[0])


def test_a_forward_pass_keeps_the_stored_vector() -> None:
    layer = SpectralConv2d(1, 2, 3, 1, 1)
    before = layer.u.clone()
    layer(torch.randn(2, 1, 4, 4))
    assert torch.equal(layer.u, before)
    iterate(layer)
    assert not torch.equal(layer.u, before)


def test_layers_apply_the_normalised_weight() -> None:
    torch.manual_seed(0)
    linear, conv = SpectralLinear(3, 4), SpectralConv2d(2, 3, 3, 2, 1)
    x, image = torch.randn(5, 3), torch.randn(5, 2, 4, 4)
    expected = x @ spectrally_normalised(linear.weight, linear.u).T + linear.bias
    torch.testing.assert_close(linear(x), expected)
    weight = spectrally_normalised(conv.weight, conv.u)
    torch.testing.assert_close(conv(image), torch.nn.functional.conv2d(image, weight, conv.bias, 2, 1))
