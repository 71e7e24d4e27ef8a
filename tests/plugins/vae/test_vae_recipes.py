"""The objectives of the one-player recipes, their units, and what they refuse."""

from __future__ import annotations

import math

import pytest
import torch

import gencore
from gencore.nn.likelihood import PROBABILITY, bits_per_dim
from gencore_vae.parts.binary import binarize
from gencore_vae.parts.networks import LOWEST_LOG_VARIANCE, VAEConfig, data_distribution
from gencore_vae.vae import VariationalBound


def loss_of(name: str, x: torch.Tensor, **overrides: object) -> gencore.Loss:
    torch.manual_seed(0)
    recipe = gencore.recipe(name, data_shape=tuple(x.shape[1:]), **overrides)
    model = recipe.model(recipe.config)
    torch.manual_seed(1)
    return recipe.stages[0].objective.loss(model, "autoencoder", {"x": x})


X = torch.where(torch.rand(5, 1, 4, 4, generator=torch.Generator().manual_seed(0)) < 0.4, 1.0, -1.0)


def test_loss_is_the_negative_bound_in_nats_summed_over_pixels() -> None:
    loss = loss_of("vae", X, hidden=(8,), latent_dim=2)
    torch.testing.assert_close(loss.total, loss.metrics["kl"] - loss.metrics["log_likelihood"])
    doubled = loss_of("vae", X.repeat(1, 1, 2, 1), hidden=(8,), latent_dim=2)
    assert doubled.metrics["log_likelihood"].item() == pytest.approx(2 * loss.metrics["log_likelihood"].item(), rel=0.2)


def test_beta_weights_the_kl() -> None:
    terms = [loss_of("beta-vae", X, hidden=(8,), latent_dim=2, beta=beta) for beta in (1.0, 4.0)]
    assert terms[0].metrics == terms[1].metrics
    torch.testing.assert_close(terms[1].total - terms[0].total, 3 * terms[0].metrics["kl"])


def test_free_bits_are_free() -> None:
    recipe = gencore.recipe("vae", data_shape=(1, 4, 4), hidden=(8,), latent_dim=2)
    model = recipe.model(recipe.config)
    objective = VariationalBound(free_bits=100.0)
    loss = objective.loss(model, "autoencoder", {"x": X})
    torch.testing.assert_close(loss.total, 100 - loss.metrics["log_likelihood"])


def test_iwae_of_one_sample_has_the_elbo_in_expectation_and_more_with_more() -> None:
    losses = {}
    for k in (1, 50):
        recipe = gencore.recipe("iwae", data_shape=(1, 4, 4), hidden=(8,), latent_dim=2, num_samples=k)
        torch.manual_seed(0)
        model = recipe.model(recipe.config)
        objective = recipe.stages[0].objective
        losses[k] = torch.stack([objective.loss(model, "autoencoder", {"x": X}).total for _ in range(50)]).mean()
    elbo = torch.stack(
        [VariationalBound(binarization="dynamic").loss(model, "autoencoder", {"x": X}).total for _ in range(50)]
    ).mean()
    assert losses[1].item() == pytest.approx(elbo.item(), abs=0.1)
    assert losses[50] < losses[1]


def test_iwae_loss_is_the_log_of_the_mean_weight() -> None:
    from gencore.noise import GlobalNoise

    recipe = gencore.recipe("iwae", data_shape=(1, 4, 4), hidden=(8,), num_samples=7, binarization="none")
    model = recipe.model(recipe.config)
    torch.manual_seed(0)
    loss = recipe.stages[0].objective.loss(model, "autoencoder", {"x": X})
    torch.manual_seed(0)
    weights = model.log_weights(X, model.proposal(X), GlobalNoise(len(X), X.device), 7).double().exp()
    torch.testing.assert_close(loss.total.double(), -weights.mean(0).log().mean())
    effective = weights.sum(0).square() / weights.square().sum(0)
    torch.testing.assert_close(loss.metrics["effective_samples"].double(), effective.mean(), rtol=1e-4, atol=0)


def test_iwae_gradient_weights_samples_by_importance() -> None:
    """Equation 14: the gradient with respect to log w_i is -w_i / sum w."""
    from gencore.nn.likelihood import log_mean_exp

    weights = torch.randn(6, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(log_mean_exp(weights).sum(), weights)
    torch.testing.assert_close(gradient, weights.softmax(0))


def test_gaussian_decoder_keeps_its_constant() -> None:
    """At the mean: -(D / 2) log(2 pi s^2)."""
    config = VAEConfig(data_shape=(3,), decoder_std=0.3)
    distribution = data_distribution(torch.zeros(1, 1, 3), config)
    expected = -1.5 * math.log(2 * math.pi * 0.09)
    assert distribution.log_prob(torch.zeros(1, 3)).item() == pytest.approx(expected, rel=1e-5)


def test_learned_variance_has_a_floor() -> None:
    config = VAEConfig(data_shape=(3,), likelihood="gaussian-diagonal")
    parameters = torch.stack([torch.zeros(3), torch.tensor([-100.0, 0.0, 2.0])])[None]
    variance = data_distribution(parameters, config).variance
    torch.testing.assert_close(variance.log(), torch.tensor([[LOWEST_LOG_VARIANCE, 0.0, 2.0]]))


def test_binarize() -> None:
    grey = torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0]).expand(20_000, 5)
    torch.manual_seed(0)
    dynamic = binarize(grey, "dynamic")
    assert dynamic.unique().tolist() == [-1, 1]
    torch.testing.assert_close(dynamic.mean(0), grey[0], atol=0.03, rtol=0)
    assert binarize(grey[:1], "threshold").tolist() == [[-1, -1, -1, 1, 1]]
    assert binarize(grey, "none") is grey


@pytest.mark.parametrize(
    ("system", "extra"),
    [
        ("bernoulli-vae", {}),
        ("beta-vae", {}),
        ("iwae", {}),
        ("iaf-vae", {}),
        ("pixel-vae", {}),
        ("gumbel-softmax-vae", {}),
        ("conv-vae", {"likelihood": "bernoulli"}),
        ("semi-supervised-vae", {"likelihood": "bernoulli"}),
    ],
)
def test_grey_images_are_drawn_anew_for_a_bernoulli_decoder(system: str, extra: dict[str, str]) -> None:
    """What reaches the encoder is binary and another draw each time, and follows the grey values."""
    recipe = gencore.recipe(system, **extra)
    model, seen = recipe.model(recipe.config), []
    model.encoder.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].flatten(1)[:, :64].detach()))
    grey = torch.full((20, 1, 8, 8), 0.5)
    batch = {"x": grey, "x_unlabelled": grey, "label": torch.zeros(20, dtype=torch.int64)}
    for _ in range(2):
        recipe.stages[0].objective.loss(model, "autoencoder", batch)
    assert all(x.abs().unique().tolist() == [1.0] for x in seen)
    assert seen[0].mean().item() == pytest.approx(0.5, abs=0.1)
    assert not torch.equal(seen[0], seen[len(seen) // 2])


def test_bits_per_dim_of_a_bound() -> None:
    model = gencore.create("bernoulli-vae", data_shape=(1, 4, 4), hidden=(8,)).eval()
    bits = bits_per_dim(model.bound(X), 16, model.likelihood_scale)
    assert model.likelihood_scale == PROBABILITY
    torch.testing.assert_close(bits, -model.bound(X) / (16 * math.log(2)))


def test_sampler_outputs() -> None:
    from gencore_vae.parts.latent_variable import PriorThenDecoder

    model = gencore.create("bernoulli-vae", data_shape=(1, 4, 4), hidden=(8,))
    assert model.sample(3).abs().max() < 1
    drawn = model.sample(3, sampler=PriorThenDecoder(output="sample"))
    assert drawn.abs().unique().tolist() == [1.0]
    noisy = gencore.create("vae", data_shape=(2,), hidden=(8,), decoder_std=5.0)
    spread = noisy.sample(2000, sampler=PriorThenDecoder(output="sample")).std().item()
    assert spread == pytest.approx(5, rel=0.1)


@pytest.mark.parametrize(
    ("system", "argument", "value"),
    [
        ("vae", "likelihood", "bernoulli"),
        ("vae", "decoder_std", 0.0),
        ("vae", "latent_dim", 0),
        ("vae", "hidden", (8, 0)),
        ("vae", "data_shape", (0,)),
        ("bernoulli-vae", "binarization", "static"),
        ("beta-vae", "beta", -1.0),
        ("iwae", "num_samples", 0),
        ("iaf-vae", "flow_steps", 0),
        ("iaf-vae", "free_bits", -1.0),
        ("conv-vae", "data_shape", (1, 28, 28)),
        ("conv-vae", "data_shape", (64,)),
        ("naive-monte-carlo", "estimator", "median"),
        ("aae", "prior", "uniform"),
        ("aae", "latent_dim", 0),
        ("aae", "critic_hidden", (8, 0)),
    ],
)
def test_bad_arguments(system: str, argument: str, value: object) -> None:
    with pytest.raises(gencore.GencoreError, match=argument):
        gencore.recipe(system, **{argument: value})


def test_the_mixture_lies_in_the_plane() -> None:
    with pytest.raises(gencore.GencoreError, match="latent_dim"):
        gencore.recipe("aae", prior="mixture", latent_dim=3)


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


def test_grey_images_have_no_bernoulli_likelihood() -> None:
    model = gencore.create("bernoulli-vae", data_shape=(1, 4, 4), hidden=(8,))
    with pytest.raises(gencore.GencoreError, match="binarize"):
        model.bound(X * 0.5)


def test_labels_are_ignored() -> None:
    """Label-free: other labels, the same loss to the bit."""
    recipe = gencore.recipe("vae", data_shape=(1, 4, 4), hidden=(8,))
    model, objective = recipe.model(recipe.config), recipe.stages[0].objective
    losses = []
    for label in (torch.zeros(5), torch.ones(5)):
        torch.manual_seed(0)
        losses.append(objective.loss(model, "autoencoder", {"x": X, "label": label}).total)
    assert torch.equal(*losses)
