"""AAE: who gets which gradient, the mixture prior, and codes of real digits beside the twin without the game."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch

import gencore
from gencore_vae.aae import AAEConfig, mixture_of_gaussians
from tests.plugins.default_sampler import draws_nearer
from tests.plugins.vae.vae_digits import grey, train
from tests.plugins.vae.vae_models import gradients


def test_aae_routing() -> None:
    recipe = gencore.recipe("aae", hidden=(8,), latent_dim=3, critic_hidden=(8,))
    assert gradients(recipe, "reconstruction") == {"encoder": True, "decoder": True, "critic": False}
    assert gradients(recipe, "critic") == {"encoder": False, "decoder": False, "critic": True}
    assert gradients(recipe, "fool")["encoder"]
    assert not gradients(recipe, "fool")["decoder"]
    assert [phase.parts for phase in recipe.stages[0].phases] == [("encoder", "decoder"), ("critic",), ("encoder",)]


def test_aae_labels_the_prior_as_real() -> None:
    """A critic whose logit falls with |z|, on codes far out: little to pay for the critic, much for the encoder."""
    recipe = gencore.recipe("aae", latent_dim=2, hidden=(8,))
    model, objective = recipe.model(recipe.config), recipe.stages[0].objective
    model.judge_codes = lambda z: 10 - z.square().sum(1)
    model.encode = lambda x: torch.full((len(x), 2), 5.0)
    batch = {"x": torch.zeros(4, 1, 8, 8)}
    assert objective.loss(model, "critic", batch).total < 0.1
    assert objective.loss(model, "fool", batch).total.item() == pytest.approx(40, abs=0.01)


def test_mixture_of_gaussians() -> None:
    """Ten clusters at radius 2, each 0.5 long and 0.1 wide."""
    torch.manual_seed(0)
    points = mixture_of_gaussians(torch.zeros(50_000), torch.randn(50_000, 2))
    torch.testing.assert_close(points.mean(0), torch.tensor([2.0, 0.0]), atol=0.01, rtol=0)
    torch.testing.assert_close(points.std(0), torch.tensor([0.5, 0.1]), rtol=0.02, atol=0)
    turned = mixture_of_gaussians(torch.full((1,), 2.5), torch.tensor([[0.0, 1.0]]))
    torch.testing.assert_close(turned, torch.tensor([[-0.1, 2.0]]), atol=1e-5, rtol=0)
    model = gencore.create("aae", prior="mixture", latent_dim=2)
    codes = model.draw_prior(gencore.Noise(0, 0, 2000))
    sectors = (torch.atan2(codes[:, 1], codes[:, 0]) / (2 * math.pi / 10)).round().long() % 10
    assert sectors.bincount(minlength=10).min() > 120


def test_the_mixture_lies_in_the_plane() -> None:
    with pytest.raises(gencore.GencoreError, match="latent_dim"):
        gencore.recipe("aae", prior="mixture", latent_dim=3)


def test_bad_configs() -> None:
    with pytest.raises(gencore.GencoreError, match="2 for a mixture"):
        AAEConfig(data_shape=(1, 8, 8), prior="mixture", latent_dim=8)


@pytest.mark.parametrize(("argument", "value"), [("prior", "uniform"), ("latent_dim", 0), ("critic_hidden", (8, 0))])
def test_bad_arguments(argument: str, value: object) -> None:
    with pytest.raises(gencore.GencoreError, match=argument):
        gencore.recipe("aae", **{argument: value})


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


@pytest.mark.behaviour
def test_aae_makes_the_codes_normal(measured) -> None:
    """Seeds 0, 1: KS 0.098, 0.111 at an error of 3.5, 3.6; the autoencoder 0.23, 0.35 at 3.2, 3.1."""
    recipe = gencore.recipe("aae", steps=1000)
    page = train(recipe, grey("train"))
    draws_nearer(page, grey("test"))
    distance, error = codes_and_error(page)
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
