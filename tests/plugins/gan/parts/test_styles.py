"""Mixing, truncation, noise inputs and the mapping network, by hand."""

from __future__ import annotations

import pytest
import torch

from gencore_gan.parts.equalised import pixel_norm
from gencore_gan.parts.styles import NoiseInput, for_layers, mapping_network, mixed, truncated


def test_mixing() -> None:
    """Layers before the crossover are the first code's; at L there is no mixing, at 0 nothing is left of the first."""
    first, second = for_layers(torch.tensor([[1.0], [2.0], [3.0]]), 4), for_layers(torch.full((3, 1), 9.0), 4)
    out = mixed(first, second, torch.tensor([4, 1, 0]))[:, :, 0]
    assert out.tolist() == [[1.0, 1.0, 1.0, 1.0], [2.0, 9.0, 9.0, 9.0], [9.0, 9.0, 9.0, 9.0]]


def test_truncation() -> None:
    w, average = torch.tensor([[[3.0, -1.0]]]), torch.tensor([1.0, 1.0])
    assert torch.equal(truncated(w, average, 1.0), w)
    assert truncated(w, average, 0.0).flatten().tolist() == [1.0, 1.0]
    assert truncated(w, average, 0.5).flatten().tolist() == [2.0, 0.0]
    assert truncated(w, average, -1.0).flatten().tolist() == [-1.0, 3.0]


def test_noise_is_scaled_by_channel_and_off_at_first() -> None:
    layer, x, noise = NoiseInput(2), torch.randn(3, 2, 4, 4), torch.randn(3, 1, 4, 4)
    assert torch.equal(layer(x, noise), x)
    with torch.no_grad():
        layer.scale.copy_(torch.tensor([1.0, -2.0]).reshape(2, 1, 1))
    torch.testing.assert_close(layer(x, noise), torch.stack([x[:, 0] + noise[:, 0], x[:, 1] - 2 * noise[:, 0]], 1))


@pytest.mark.parametrize("layers", [1, 3])
def test_mapping_sees_directions_only(layers: int) -> None:
    torch.manual_seed(0)
    network, z = mapping_network(6, 4, layers), torch.randn(5, 6)
    torch.testing.assert_close(network(3 * z), network(z))
    assert network(z).shape == (5, 4)
    x = pixel_norm(z)
    for layer in network[1::2]:
        x = torch.nn.functional.leaky_relu(x @ (layer.weight * layer.scale).T + 0.01 * layer.bias, 0.2)
    torch.testing.assert_close(network(z), x)
