"""Naive Monte Carlo: both estimators, the right one's slow way to the truth, and the other's blindness for z."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch

import gencore
from tests.plugins.default_sampler import draws_nearer
from tests.plugins.vae import linear_gaussian as truth
from tests.plugins.vae.vae_digits import grey, train


def test_naive_monte_carlo_in_both_estimators() -> None:
    """Mean log p(x | z), and log of the mean p(x | z) over many z, which is larger."""
    losses = {}
    for estimator in ("mean of logs", "log of mean"):
        recipe = gencore.recipe("naive-monte-carlo", estimator=estimator, num_samples=500, hidden=(8,), latent_dim=2)
        torch.manual_seed(0)
        model = recipe.model(recipe.config)
        losses[estimator] = recipe.stages[0].objective.loss(model, "autoencoder", {"x": torch.zeros(4, 1, 8, 8)})
    assert set(losses["mean of logs"].metrics) == {"log_likelihood", "kl"}
    assert set(losses["log of mean"].metrics) == {"effective_samples"}
    assert losses["log of mean"].total < losses["mean of logs"].total


@pytest.mark.parametrize(("argument", "value"), [("estimator", "median")])
def test_bad_arguments(argument: str, value: object) -> None:
    with pytest.raises(gencore.GencoreError, match=argument):
        gencore.recipe("naive-monte-carlo", **{argument: value})


def test_prior_as_proposal_reaches_the_truth_slowly() -> None:
    """The right naive estimator rises with k, and is within 0.1 nats at k = 10,000 in two latent dimensions."""
    made = truth.recipe("naive-monte-carlo")
    model = made.model(made.config).eval()
    truth.set_true_decoder(model)
    gaps = [truth.gap(model, k, 50) for k in (10, 100, 10_000)]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[0] > 1
    assert -0.05 < gaps[-1] < 0.1, gaps


@functools.cache
def spread(system: str, steps: int, **arguments: Any) -> tuple[float, float]:
    """Var of the trained decoder's mean over z over the data's, and the squared distance of its average from theirs."""
    model = train(gencore.recipe(system, steps=steps, **arguments), grey("train"))
    draws_nearer(model, grey("test"))
    with torch.no_grad():
        images = model.generate(torch.randn(2000, 8, generator=torch.Generator().manual_seed(0))).mean
    off = (images.mean(0) - grey("train").mean(0)).square().sum().item()
    return images.var(0).sum().item() / grey("train").var(0).sum().item(), off


@pytest.mark.behaviour
def test_naive_objective_ignores_z(measured) -> None:
    """After 400 steps variance 0.4 % of the data's, 0.05 from the data's mean. Right objectives use z:
    62 % with an encoder; the twin's log of a mean over the prior also uses it (36 % at k = 16), badly."""
    share, off = spread("naive-monte-carlo", 400)
    twin, _ = spread("naive-monte-carlo", 200, estimator="log of mean", num_samples=16)
    assert off < 0.2
    assert twin > 0.1
    assert spread("vae", 200)[0] > 0.1
    measured(
        "naive-monte-carlo",
        "share of the digits' variance that z explains; twin: the log of a mean",
        figure=share,
        twin=twin,
        bar=0.02,
        better="lower",
    )
