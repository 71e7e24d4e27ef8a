"""Denoising autoencoder: the posterior mean, and noise taken away."""

from __future__ import annotations

import pytest
import torch

import gencore
from gencore.data import arrays
from gencore.errors import GencoreError
from tests.plugins.ae.judged import NOISE_ENERGY, error, fit, noisy


@pytest.mark.behaviour
@pytest.mark.parametrize(("level", "holds"), [(0.5, True), (0.0, False)])
def test_linear_denoiser_is_the_posterior_mean(level: float, holds: bool) -> None:
    """On N(0, S) it is S (S + sigma^2 I)^-1, within 2 %. Twin: trained without noise, the identity."""
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(10, 10, generator=generator) / 10**0.5
    x = torch.randn(20_000, 10, generator=generator) @ torch.linalg.cholesky(root @ root.T + 0.1 * torch.eye(10)).T
    model = fit(
        "denoising-autoencoder",
        arrays(x),
        data_shape=(10,),
        code_dim=10,
        hidden=(),
        level=level,
        steps=2000,
        batch_size=512,
        learning_rate=1e-2,
    )
    learned = (model.decoder[0].weight @ model.encoder[1].weight).detach()
    covariance = torch.cov(x.T)
    best = covariance @ torch.linalg.inv(covariance + 0.25 * torch.eye(10))
    difference = ((learned - best).norm() / best.norm()).item()
    assert (difference < 0.02) == holds, difference


@pytest.mark.behaviour
def test_denoiser_takes_noise_away(measured) -> None:
    """Held-out digits under N(0, 0.5^2): a quarter of the noise's energy is left. Twin: trained without noise."""
    page, twin = (
        error(fit("denoising-autoencoder", steps=1500, level=level), noisy()) / NOISE_ENERGY for level in (0.5, 0.0)
    )
    measured(
        "denoising-autoencoder", "share of the noise's energy left", figure=page, twin=twin, bar=0.3, better="lower"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"error": "bernoulli", "data_shape": (7,)}, "images"),
        ({"noise": "gaussian", "level": -1.0}, "level"),
        ({"noise": "masking", "level": 1.5}, "share"),
        ({"noise": "snow"}, "snow"),
    ],
)
def test_bad_arguments_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(GencoreError, match=message):
        gencore.recipe("denoising-autoencoder", **arguments)
