"""PixelVAE: its decoder's causality, normalisation and sampling, the masks, and real digits beside both parents."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

import gencore
from gencore.nn.masked import MaskedConv2d, raster_mask
from gencore_vae.pixel_vae import PixelNetwork, PixelVAE, PixelVAEConfig
from tests.plugins.default_sampler import draws_nearer
from tests.plugins.vae.vae_digits import bernoulli_vae, binary, mean_bound, train

pytestmark = pytest.mark.xdist_group("bernoulli-vae")  # its tests share what they train


def test_masks() -> None:
    assert raster_mask(3, sees_centre=False).tolist() == [[1, 1, 1], [1, 0, 0], [0, 0, 0]]
    assert raster_mask(3, sees_centre=True).tolist() == [[1, 1, 1], [1, 1, 0], [0, 0, 0]]


@pytest.mark.parametrize("channels", [1, 2])
def test_a_pixel_sees_only_earlier_pixels(channels: int) -> None:
    """Zero Jacobian, exactly, for the pixel itself and all later ones; not zero for its left neighbour."""
    torch.manual_seed(0)
    config = PixelVAEConfig(data_shape=(channels, 4, 4), pixel_layers=3, pixel_width=8, feature_maps=2)
    network = PixelNetwork(config).double()
    x = torch.randn(1, channels, 4, 4).double()
    features = torch.randn(1, 2 * channels, 4, 4).double()
    jacobian = torch.autograd.functional.jacobian(lambda x: network(x, features), x)
    seen = jacobian.abs().sum((0, 1, 4, 5)).view(16, 16)
    assert torch.equal(seen, seen.tril(-1))
    assert all(seen[i, i - 1] > 0 for i in range(1, 16) if i % 4)


def test_kind_b_sees_the_place_itself() -> None:
    layer = MaskedConv2d("B", 1, 1, 3)
    x = torch.zeros(1, 1, 3, 3)
    moved = layer(x + torch.eye(3)[1][:, None] * torch.eye(3)[1]) - layer(x)
    assert moved[0, 0, 1, 1] != 0
    assert moved[0, 0, 0].abs().sum() == 0


def made() -> gencore.Model:
    torch.manual_seed(0)
    model = gencore.create("pixel-vae", data_shape=(1, 3, 3), latent_dim=2, hidden=(8,)).eval()
    for parameter in model.parameters():
        parameter.data.add_(0.3 * torch.randn_like(parameter))
    return model


@torch.no_grad()
def test_the_conditional_sums_to_one_for_each_z() -> None:
    model, x = made(), torch.tensor(list(itertools.product((-1.0, 1.0), repeat=9))).view(-1, 1, 3, 3)
    for z in torch.randn(3, 2):
        probabilities = model.generate(z.expand(512, 2)).log_prob(x).exp()
        assert probabilities.sum().item() == pytest.approx(1, abs=1e-5)


def test_samples_and_reconstructions_are_binary() -> None:
    model = made()
    x = torch.where(torch.rand(4, 1, 3, 3) < 0.5, -1.0, 1.0)
    assert model.sample(5).abs().unique().tolist() == [1.0]
    assert model.reconstruct(x).shape == x.shape
    assert torch.equal(model.reconstruct(x), model.reconstruct(x))


def test_bad_configs() -> None:
    with pytest.raises(gencore.GencoreError, match="binary"):
        PixelVAEConfig(data_shape=(1, 8, 8), likelihood="gaussian")
    with pytest.raises(gencore.GencoreError, match="channels, height, width"):
        PixelVAEConfig(data_shape=(8,))


class BlindPixelVAE(PixelVAE):
    """The twin: masked convolutions alone, z never reaches them."""

    def generate(self, z: Tensor, *, condition: Tensor | None = None) -> Any:
        return super().generate(torch.zeros_like(z))


@pytest.mark.behaviour
def test_pixel_vae_beats_both_its_parents(measured) -> None:
    """At k = 50, two seeds: PixelVAE -16.86 with a KL of 2.2 and 2.4 (less than the VAE's 6.4), VAE -17.2 to -17.3,
    masked convolutions -18.05 and -17.88. (The first 100 images alone are easy for the VAE: -16.6.)"""
    recipe = gencore.recipe("pixel-vae", steps=900, binarization="none", learning_rate=2e-3)
    x = binary("test")
    both = train(recipe, binary("train"))
    blind = train(dataclasses.replace(recipe, model=BlindPixelVAE), binary("train"))
    page, twin = mean_bound(both, x, 50), mean_bound(blind, x, 50)
    assert page > mean_bound(bernoulli_vae(), x, 50) + 0.2
    draws_nearer(both, x)
    with torch.no_grad():
        assert 0.5 < both.encode(x).kl_to_standard_normal().mean() < 4.5
        assert blind.encode(x).kl_to_standard_normal().mean() < 0.1
    measured(
        "pixel-vae",
        "bound at k = 50 on held-out binary digits, nats; bar: the twin's and 0.4",
        figure=page,
        twin=twin,
        bar=twin + 0.4,
        better="higher",
    )
