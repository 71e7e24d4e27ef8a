"""IWAE: the loss by hand, bounds that tighten with more samples, and a posterior that is trained for many."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch

import gencore
from gencore.noise import GlobalNoise
from gencore_vae.vae import VariationalBound
from tests.plugins.default_sampler import draws_nearer
from tests.plugins.vae import linear_gaussian as truth
from tests.plugins.vae.vae_models import DOTS


def test_iwae_of_one_sample_has_the_elbo_in_expectation_and_more_with_more() -> None:
    losses = {}
    for k in (1, 50):
        recipe = gencore.recipe("iwae", data_shape=(1, 4, 4), hidden=(8,), latent_dim=2, num_samples=k)
        torch.manual_seed(0)
        model = recipe.model(recipe.config)
        objective = recipe.stages[0].objective
        losses[k] = torch.stack([objective.loss(model, "autoencoder", {"x": DOTS}).total for _ in range(50)]).mean()
    elbo = torch.stack(
        [VariationalBound(binarization="dynamic").loss(model, "autoencoder", {"x": DOTS}).total for _ in range(50)]
    ).mean()
    assert losses[1].item() == pytest.approx(elbo.item(), abs=0.1)
    assert losses[50] < losses[1]


def test_iwae_loss_is_the_log_of_the_mean_weight() -> None:

    recipe = gencore.recipe("iwae", data_shape=(1, 4, 4), hidden=(8,), num_samples=7, binarization="none")
    model = recipe.model(recipe.config)
    torch.manual_seed(0)
    loss = recipe.stages[0].objective.loss(model, "autoencoder", {"x": DOTS})
    torch.manual_seed(0)
    weights = model.log_weights(DOTS, model.proposal(DOTS), GlobalNoise(len(DOTS), DOTS.device), 7).double().exp()
    torch.testing.assert_close(loss.total.double(), -weights.mean(0).log().mean())
    effective = weights.sum(0).square() / weights.square().sum(0)
    torch.testing.assert_close(loss.metrics["effective_samples"].double(), effective.mean(), rtol=1e-4, atol=0)


def test_iwae_gradient_weights_samples_by_importance() -> None:
    """Equation 14: the gradient with respect to log w_i is -w_i / sum w."""
    from gencore.nn.likelihood import log_mean_exp

    weights = torch.randn(6, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(log_mean_exp(weights).sum(), weights)
    torch.testing.assert_close(gradient, weights.softmax(0))


@pytest.mark.parametrize(("argument", "value"), [("num_samples", 0)])
def test_bad_arguments(argument: str, value: object) -> None:
    with pytest.raises(gencore.GencoreError, match=argument):
        gencore.recipe("iwae", **{argument: value})


def test_importance_weights_tighten_the_bound() -> None:
    """The figures of this model at k = 1, 5, 50, 500: 1.147, 0.80, 0.55, 0.38 within sampling error."""
    model = truth.best_diagonal_vae()
    gaps = [truth.gap(model, k, 1000) for k in (1, 5, 50, 500)]
    assert all(before - after >= 0.05 for before, after in itertools.pairwise(gaps)), gaps
    assert 0 < gaps[-1] < 0.6, gaps


def test_a_mean_of_logs_does_not_tighten() -> None:
    """The twin: averaging log weights instead of weights leaves the gap where it was."""
    model = truth.best_diagonal_vae()
    x = truth.draw(1000, seed=1)
    with torch.no_grad():
        weights = model.log_weights(x, model.proposal(x), gencore.Noise(0, 0, 1000), 50)
    assert (truth.log_prob(x) - weights.mean(0)).mean().item() == pytest.approx(truth.GAP, abs=0.05)


def importance_gap(num_samples: int, seed: int = 0) -> float:
    """What L_20 misses with the diagonal posterior that is the best for L_k, nats."""
    made = truth.posterior_only(truth.recipe("vae", batch_size=64, learning_rate=1e-2), steps=600)
    objective = gencore.recipe("iwae", num_samples=num_samples, binarization="none").stages[0].objective
    stage = dataclasses.replace(made.stages[0], objective=objective)
    model = truth.with_the_true_decoder(dataclasses.replace(made, stages=(stage,)), seed)
    draws_nearer(model, truth.draw(1000), share=0.2)
    return truth.gap(model, 20)


@pytest.mark.behaviour
def test_a_posterior_trained_for_many_samples_serves_them_better(measured) -> None:
    """The weights of many samples make up for a wide posterior, not for a narrow one. Twin: trained for L_1, the VAE's
    bound. Two seeds: 0.121 and 0.109; the twin 0.310 and 0.234."""
    measured(
        "iwae",
        "nats that the bound of 20 samples misses log p(x) by; twin: trained with one",
        figure=importance_gap(20),
        twin=importance_gap(1),
        bar=0.17,
        better="lower",
    )
