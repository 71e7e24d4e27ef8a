"""PixelCNN++: the mixture of discretised logistics, and channels that follow each other. See test_densities.py."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

import gencore
from gencore.nn.levels import from_levels
from gencore_autoregressive.parts.ancestral import choose
from gencore_autoregressive.pixelcnn_plus_plus import LogisticMixture, level_log_prob
from tests.plugins.autoregressive.densities import fresh, nats, trained, trained_model
from tests.plugins.default_sampler import draws_nearer


def everything(codes: int) -> Tensor:
    """(1, 1, K, 1, 1): all levels."""
    return torch.arange(codes)[None, None, :, None, None]


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_the_logistic_sums_to_one(levels: int) -> None:
    """Of scales from far below a level to far beyond the range, and means outside it."""
    torch.manual_seed(0)
    mean, log_scale = torch.randn(2, 500, 3, 1, 1, 1, dtype=torch.float64) * torch.tensor([2.0, 4.0]).view(2, *[1] * 5)
    mass = level_log_prob(everything(levels), levels, mean, log_scale.clamp_min(-7)).exp()
    torch.testing.assert_close(mass.sum(2), torch.ones_like(mass[:, :, 0]), atol=1e-8, rtol=0)


def test_the_logistic_is_the_difference_of_two_sigmoids() -> None:
    mean, log_scale = torch.tensor(0.13, dtype=torch.float64), torch.tensor(-1.2, dtype=torch.float64)
    found = level_log_prob(torch.arange(5), 5, mean, log_scale).exp()
    scale = log_scale.exp()
    edges = torch.sigmoid((torch.tensor([-0.75, -0.25, 0.25, 0.75]).double() - mean) / scale)
    padded = torch.cat([torch.zeros(1).double(), edges, torch.ones(1).double()])
    torch.testing.assert_close(found, padded.diff())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_far_from_the_mean_it_is_finite_and_has_a_gradient(dtype: torch.dtype) -> None:
    """Scale e^-7 and a mean 255 levels away: log p = -(distance - half a level) / scale."""
    mean = torch.tensor(-1.0, dtype=dtype, requires_grad=True)
    nats = level_log_prob(torch.tensor([254]), 256, mean, torch.tensor(-7.0, dtype=dtype))
    nats.sum().backward()
    scale = torch.exp(torch.tensor(-7.0, dtype=torch.float64))
    expected = -(253.5 * 2 / 255) / scale + torch.log(-torch.expm1(-2 / 255 / scale))
    torch.testing.assert_close(nats[0].double(), expected, rtol=1e-5, atol=0)
    assert mean.grad is not None
    assert mean.grad.item() == pytest.approx(1 / scale.item(), rel=1e-4)


def test_draws_follow_the_mass() -> None:
    """Chi-square of 100,000 draws over 17 levels; the likeliest level is what temperature 0 draws."""
    torch.manual_seed(0)
    head = LogisticMixture(17, 3)
    out, codes = torch.randn(1, head.outputs(1), 1, 1), torch.zeros(1, 1, 1, 1, dtype=torch.int64)
    logits = head.conditional(out, codes, 0)[:, :, 0, 0]
    count = 100_000
    drawn = torch.cat([choose(logits.expand(1000, -1), gencore.Noise(0, i * 1000, 1000), 1.0) for i in range(100)])
    mass = torch.stack([head.log_prob(out, torch.full((1, 1, 1, 1), level)).exp() for level in range(17)])[:, 0]
    assert mass.sum().item() == pytest.approx(1, abs=1e-5)
    seen = torch.bincount(drawn, minlength=17)
    chi_square = ((seen - count * mass).square() / (count * mass)).sum().item()
    assert chi_square < 45  # 16 degrees of freedom: above once in 10,000
    assert choose(logits, gencore.Noise(0, 0, 1), 0.0).item() == mass.argmax().item()


def test_colours_move_with_those_before() -> None:
    """Red's mass does not depend on the others; green's mean moves with red and not with blue; blue's with both."""
    torch.manual_seed(0)
    head = LogisticMixture(9, 2)
    out = torch.randn(1, head.outputs(3), 1, 1).double()

    def said(red: int, green: int, blue: int, channel: int) -> Tensor:
        codes = torch.tensor([red, green, blue]).view(1, 3, 1, 1)
        return head.component(out, codes, channel, everything(9))

    base = [said(2, 3, 4, channel) for channel in range(3)]
    changes = {"red": (5, 3, 4), "green": (2, 6, 4), "blue": (2, 3, 7)}
    moved = {
        name: [not torch.equal(said(*codes, channel), base[channel]) for channel in range(3)]
        for name, codes in changes.items()
    }
    assert moved == {"red": [False, True, True], "green": [False, False, True], "blue": [False, False, False]}


def test_the_means_by_hand() -> None:
    """One component, scale 1: green's mean is m + tanh(alpha) red."""
    head = LogisticMixture(5, 1)
    out = torch.tensor([0.0, 0.0, 0.3, 0.0, 0.0, 0.0, 0.0, 0.7, 0.0, 0.0], dtype=torch.float64).view(1, 10, 1, 1)
    codes = torch.tensor([4, 1, 0]).view(1, 3, 1, 1)
    found = head.component(out, codes, 1, everything(5))
    mean = 0.3 + torch.tanh(torch.tensor(0.7, dtype=torch.float64)) * 1.0
    expected = level_log_prob(torch.arange(5), 5, mean, torch.zeros((), dtype=torch.float64))
    torch.testing.assert_close(found.flatten(), expected)


def test_bad_configs() -> None:
    with pytest.raises(gencore.GencoreError, match="multiples of 4"):
        gencore.recipe("pixelcnn-plus-plus", data_shape=(1, 6, 8), downsamplings=2)
    with pytest.raises(gencore.GencoreError, match="dropout"):
        gencore.recipe("pixelcnn-plus-plus", dropout=1.0)


@pytest.mark.behaviour
def test_plus_plus_moves_later_channels_with_earlier_ones(measured: Any) -> None:
    """Red is one of 17 levels, green is red and blue its negative: ln 17 = 2.83 nats a pixel. Twin: no slopes (alpha,
    beta and gamma 0). Nats lost at seed 0: 0.07, twin 3.52."""
    generator = torch.Generator().manual_seed(0)

    def data(count: int) -> Tensor:
        red = from_levels(torch.randint(17, (count, 1, 4, 4), generator=generator), 17)
        return torch.cat([red, red, -red], 1)

    arguments: dict[str, Any] = {"data_shape": (3, 4, 4), "levels": 17, "width": 8, "blocks": 1, "mixtures": 4}
    x, y, name = data(1000), data(200), "pixelcnn-plus-plus"
    page = trained(name, x, steps=150, seed=0, **arguments, learning_rate=1e-2)
    draws_nearer(page, y)
    figure = nats(page, y) / 16 - math.log(17)
    without = fresh(name, 0, **arguments)

    def no_slopes(module: Any, given: Any, out: Tensor) -> Tensor:
        return torch.cat([out[:, : 4 * 7], torch.zeros_like(out[:, 4 * 7 :])], 1)

    without.network.output.register_forward_hook(no_slopes)
    twin = nats(trained_model(without, x, steps=150, seed=0, learning_rate=1e-2), y) / 16 - math.log(17)
    measured(name, "nats a pixel lost on green and blue", figure=figure, twin=twin, bar=1.0, better="lower", seed=0)
