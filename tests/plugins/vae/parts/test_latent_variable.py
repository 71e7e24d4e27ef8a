"""What latent-variable models share: samplers' outputs, and code lengths, which a density at stored levels is not."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

import gencore
from gencore.data import digits
from gencore.nn.likelihood import PROBABILITY, bits_per_dim


def test_sampler_outputs() -> None:
    from gencore_vae.parts.latent_variable import PriorThenDecoder

    model = gencore.create("bernoulli-vae", data_shape=(1, 4, 4), hidden=(8,))
    assert model.sample(3).abs().max() < 1
    drawn = model.sample(3, sampler=PriorThenDecoder(output="sample"))
    assert drawn.abs().unique().tolist() == [1.0]
    noisy = gencore.create("vae", data_shape=(2,), hidden=(8,), decoder_std=5.0)
    spread = noisy.sample(2000, sampler=PriorThenDecoder(output="sample")).std().item()
    assert spread == pytest.approx(5, rel=0.1)


def normal_model(mean: float, std: float, levels: int) -> gencore.Model:
    """p(x) = N(mean, std^2) whatever z, and q(z | x) the prior: every bound is log p(x) itself."""
    model = gencore.create("vae", data_shape=[1], latent_dim=1, hidden=[], decoder_std=std, levels=levels).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        list(model.decoder.parameters())[-1].fill_(mean)
    return model


def masses(mean: float, std: float, levels: int) -> tuple[Tensor, Tensor]:
    """The levels (L,) in float64 and the probability of each one's bin."""
    x = torch.linspace(-1, 1, levels, dtype=torch.float64)
    half = 1 / (levels - 1)
    return x, torch.special.ndtr((x + half - mean) / std) - torch.special.ndtr((x - half - mean) / std)


@pytest.mark.parametrize("std", [0.02, 0.1, 1.0])
def test_code_length_bounds_the_bins_mass_and_the_density_does_not(std: float) -> None:
    """17 levels, bins of 1/8: at a standard deviation of 0.02 the density at the level claims -2.7 bits; the bin holds
    all the mass, 0 bits; dequantised it is 0.5 u^2 / std^2 more, far above."""
    model = normal_model(0.0, std, 17)
    level, mass = masses(0.0, std, 17)
    x = level[8].float().expand(4000, 1)
    true = -math.log2(mass[8].item())
    bits = model.code_length(x)
    error = bits.std().item() / math.sqrt(len(bits))
    assert bits.mean().item() > true - 3 * error
    reported = bits_per_dim(model.bound(x[:1]), 1, model.likelihood_scale).item()
    assert reported < true
    # E over the bin of -log2(p w), worked out by hand: u uniform has the variance w^2 / 12
    width = 1 / 8
    expected = (0.5 * math.log(2 * math.pi * std**2) + width**2 / (24 * std**2) - math.log(width)) / math.log(2)
    assert bits.mean().item() == pytest.approx(expected, abs=4 * error + 1e-4)


def test_codes_of_all_levels_obey_kraft() -> None:
    """sum 2^-bits over all values is at most 1 for a code. The density's is more: nobody could decode it."""
    model = normal_model(0.125, 0.03, 17)
    x = torch.linspace(-1, 1, 17)[:, None].repeat_interleave(500, 0)
    lengths = model.code_length(x).view(17, 500).double().mean(1)
    assert (2**-lengths).sum().item() <= 1
    density = bits_per_dim(model.bound(x), 1, model.likelihood_scale).view(17, 500)[:, 0].double()
    assert (2**-density).sum().item() > 1.5


def test_more_samples_tighten_and_pictures_work() -> None:
    torch.manual_seed(0)
    model = gencore.create("vae", data_shape=[1, 8, 8], hidden=[16], levels=17).eval()
    x = digits("test").x[:20]
    few, many = model.code_length(x, 1).mean(), model.code_length(x, 64).mean()
    assert few.isfinite()
    assert many < few
    assert torch.equal(model.code_length(x, seed=3), model.code_length(x, seed=3))
    assert not torch.equal(model.code_length(x, seed=3), model.code_length(x))


def test_probabilities_are_code_lengths_as_they_are() -> None:
    model = gencore.create("bernoulli-vae", data_shape=(1, 4, 4), hidden=(8,)).eval()
    x = torch.randint(0, 2, (5, 1, 4, 4)) * 2.0 - 1
    torch.testing.assert_close(model.code_length(x, 3), bits_per_dim(model.bound(x, 3), 16, PROBABILITY))
