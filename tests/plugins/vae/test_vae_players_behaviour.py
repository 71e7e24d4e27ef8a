"""AAE and VAE/GAN on real digits, each beside the twin without its game. Figures are those measured here, one seed."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor
from vae_digits import grey, train

import gencore

pytestmark = pytest.mark.behaviour


def without_the_game(recipe: gencore.Recipe) -> gencore.Recipe:
    """The first phase alone."""
    stage = recipe.stages[0]
    return dataclasses.replace(recipe, stages=(dataclasses.replace(stage, phases=stage.phases[:1]),))


@torch.no_grad()
def codes_and_error(model: Any) -> tuple[float, float]:
    """Largest Kolmogorov-Smirnov distance of a latent from N(0, 1), and the squared error of an image."""
    codes = model.encode(grey("test"))
    levels = (torch.arange(len(codes)) + 0.5) / len(codes)
    normal = torch.distributions.Normal(0.0, 1.0)
    distance = (normal.cdf(codes.sort(0).values) - levels[:, None]).abs().max().item()
    return distance, (model.reconstruct(grey("test")) - grey("test")).square().flatten(1).sum(1).mean().item()


def test_aae_makes_the_codes_normal(measured) -> None:
    """KS 0.086 at an error of 3.4; the autoencoder 0.24 at 3.0."""
    recipe = gencore.recipe("aae", steps=1500)
    distance, error = codes_and_error(train(recipe, grey("train")))
    twin_distance, twin_error = codes_and_error(train(without_the_game(recipe), grey("train")))
    assert twin_distance > 0.18
    assert error < 1.4 * twin_error
    measured(
        "aae",
        "largest distance of a latent's distribution from the prior's",
        figure=distance,
        twin=twin_distance,
        bar=0.15,
        better="lower",
    )


def sharpness(x: Tensor) -> float:
    """Mean squared discrete Laplacian."""
    kernel = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])[None, None]
    return torch.nn.functional.conv2d(x, kernel).square().mean().item()


@torch.no_grad()
def rebuilt(model: Any) -> tuple[float, float]:
    """Sharpness of reconstructions over that of the digits, and the squared error of an image."""
    images = model.reconstruct(grey("test"))
    return sharpness(images) / sharpness(grey("test")), (images - grey("test")).square().flatten(1).sum(1).mean().item()


def test_vae_gan_is_sharp(measured) -> None:
    """Sharpness of reconstructions 0.85 with the learned similarity; 0.22 for the twin with unit pixel variance."""
    recipe = gencore.recipe("vae-gan", steps=1000, width=16, learning_rate=1e-3)
    sharp, error = rebuilt(train(recipe, grey("train")))
    twin = gencore.recipe("conv-vae", steps=800, width=16, decoder_std=1.0)
    twin_sharp, _ = rebuilt(train(twin, grey("train")))
    assert sharp < 2.0
    assert twin_sharp < 0.5
    assert error < 18.8 / 2, "half the variance of the digits: these are reconstructions, not any digits"
    measured(
        "vae-gan",
        "sharpness of reconstructions over that of digits",
        figure=sharp,
        twin=twin_sharp,
        bar=0.6,
        better="higher",
    )
