"""The VAE: its loss and units, the bound against closed forms, and real digits beside the linear model.

Figures of the trainings are nats an image on the 397 test digits, as measured here."""

from __future__ import annotations

import pytest
import torch

import gencore
from gencore.noise import GlobalNoise
from gencore_vae.parts.latent_variable import Terms
from gencore_vae.vae import VariationalBound
from tests.plugins.default_sampler import draws_nearer
from tests.plugins.vae import linear_gaussian as truth
from tests.plugins.vae.vae_digits import grey, mean_bound, principal_components, train
from tests.plugins.vae.vae_models import DOTS, loss_of


def test_loss_is_the_negative_bound_in_nats_summed_over_pixels() -> None:
    loss = loss_of("vae", DOTS, hidden=(8,), latent_dim=2)
    torch.testing.assert_close(loss.total, loss.metrics["kl"] - loss.metrics["log_likelihood"])
    doubled = loss_of("vae", DOTS.repeat(1, 1, 2, 1), hidden=(8,), latent_dim=2)
    assert doubled.metrics["log_likelihood"].item() == pytest.approx(2 * loss.metrics["log_likelihood"].item(), rel=0.2)


def test_free_bits_are_free() -> None:
    recipe = gencore.recipe("vae", data_shape=(1, 4, 4), hidden=(8,), latent_dim=2)
    model = recipe.model(recipe.config)
    objective = VariationalBound(free_bits=100.0)
    loss = objective.loss(model, "autoencoder", {"x": DOTS})
    torch.testing.assert_close(loss.total, 100 - loss.metrics["log_likelihood"])


def test_labels_are_ignored() -> None:
    """Label-free: other labels, the same loss to the bit."""
    recipe = gencore.recipe("vae", data_shape=(1, 4, 4), hidden=(8,))
    model, objective = recipe.model(recipe.config), recipe.stages[0].objective
    losses = []
    for label in (torch.zeros(5), torch.ones(5)):
        torch.manual_seed(0)
        losses.append(objective.loss(model, "autoencoder", {"x": DOTS, "label": label}).total)
    assert torch.equal(*losses)


@pytest.mark.parametrize(
    ("argument", "value"),
    [("likelihood", "bernoulli"), ("decoder_std", 0.0), ("latent_dim", 0), ("hidden", (8, 0)), ("data_shape", (0,))],
)
def test_bad_arguments(argument: str, value: object) -> None:
    with pytest.raises(gencore.GencoreError, match=argument):
        gencore.recipe("vae", **{argument: value})


def elbo_gap(terms: Terms, x: torch.Tensor) -> float:
    return (truth.log_prob(x) - terms.log_likelihood + terms.kl).mean().item()


def test_gap_of_the_model() -> None:
    assert abs(truth.GAP - 1.147) < 5e-4


def test_elbo_misses_by_the_analytic_gap() -> None:
    """Standard error of 4000 x 4 samples: 0.011 (log weights), 0.008 (closed-form KL)."""
    model = truth.best_diagonal_vae()
    x = truth.draw(16_000, seed=2)
    torch.manual_seed(0)
    assert truth.gap(model, 1, 16_000) == pytest.approx(truth.GAP, abs=0.04)
    with torch.no_grad():
        assert elbo_gap(model.terms(x, GlobalNoise(len(x), x.device)), x) == pytest.approx(truth.GAP, abs=0.04)


@pytest.mark.behaviour
def test_gaussian_vaes_beat_the_linear_model(measured) -> None:
    """The same 8 latents and the same noise: PPCA, which is the twin without hidden layers, -30.7, vae -15.8."""
    std, linear = principal_components(8)
    model = train(gencore.recipe("vae", steps=1500, latent_dim=8, decoder_std=std), grey("train"))
    draws_nearer(model, grey("test"))
    measured(
        "vae",
        "bound at k = 50 on held-out digits, nats; twin: probabilistic PCA",
        figure=mean_bound(model, grey("test"), 50),
        twin=linear,
        bar=linear + 2,
        better="higher",
    )


@pytest.mark.behaviour
def test_learned_covariance_beats_a_fixed_one() -> None:
    """27.5 against -15.8: pixels differ in how well z tells them."""
    recipe = gencore.recipe("vae", steps=1000, likelihood="gaussian-diagonal")
    model = train(recipe, grey("train"))
    assert mean_bound(model, grey("test"), 50) > 5
    with torch.no_grad():
        variance = model.generate(torch.zeros(1, 8)).variance
    assert variance.max() > 5 * variance.min()
