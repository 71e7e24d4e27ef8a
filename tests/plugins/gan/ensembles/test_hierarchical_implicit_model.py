"""Hierarchical implicit models: the simulator, the ratio, the two losses."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

import gencore
from gencore.data import gaussian
from gencore.errors import GencoreError
from gencore.noise import Noise
from gencore_gan.ensembles.hierarchical_implicit_model import LikelihoodFree, first_examples, products
from tests.plugins.default_sampler import draws_nearer


def model_of(**arguments: Any) -> Any:
    """A small model."""
    torch.manual_seed(0)
    recipe = gencore.recipe("hierarchical-implicit-model", hidden=(8,), **arguments)
    return recipe.model(recipe.config)


def test_the_simulator_has_its_variances() -> None:
    """z of variance 1 around beta, x of variance 1.25, their covariance 1."""
    beta = torch.full((20_000, 1), 3.0)
    x, z = model_of().simulate(beta, Noise(0, 0, 20_000))
    moments = torch.cov(torch.cat([x, z], 1).T)
    torch.testing.assert_close(moments, torch.tensor([[1.25, 1.0], [1.0, 1.0]]), atol=0.04, rtol=0)
    assert x.mean().item() == pytest.approx(3.0, abs=0.03)


def test_samples_are_of_the_posterior_predictive() -> None:
    """Mean that of q(beta), variance its own and the simulator's: 0.5^2 + 1.25."""
    model = model_of()
    model.posterior.mean.data.fill_(2.0)
    model.posterior.log_std.data.fill_(math.log(0.5))
    samples = model.sample(8000, batch_size=8000)
    assert samples.mean().item() == pytest.approx(2.0, abs=0.05)
    assert samples.var().item() == pytest.approx(1.5, abs=0.1)


def test_the_ratio_sees_all_products() -> None:
    """Of 2, 3, 5."""
    x, z, beta = (torch.tensor([[value]]) for value in (2.0, 3.0, 5.0))
    assert products(x, z, beta).tolist() == [[2.0, 3.0, 5.0, 4.0, 9.0, 25.0, 6.0, 10.0, 15.0]]


def test_the_losses_of_a_known_ratio() -> None:
    """With r = 0.3 everywhere: sp(-0.3) + sp(0.3), and KL - 5 * 0.3; KL of N(1, 1) to N(0, 1) is 1 / 2."""
    model = model_of()
    torch.nn.init.zeros_(model.log_ratio[-1].weight)
    torch.nn.init.constant_(model.log_ratio[-1].bias, 0.3)
    model.posterior.mean.data.fill_(1.0)
    batch = {"x": torch.randn(4, 1)}
    for weight in (1.0, 0.0):
        objective = LikelihoodFree(num_examples=5, num_draws=3, prior_weight=weight)
        expected = math.log1p(math.exp(-0.3)) + math.log1p(math.exp(0.3))
        assert objective.ratio(model, batch).total.item() == pytest.approx(expected, rel=1e-5)
        assert objective.inference(model, batch).total.item() == pytest.approx(weight * 0.5 - 1.5, rel=1e-4)


def test_the_ratio_is_larger_for_the_simulator() -> None:
    """The classifier's loss falls where the ratio is positive on simulated triples: real side first."""
    model = model_of()
    model.ratio = lambda x, z, beta: torch.where((x - z).abs().squeeze(1) < 5, 4.0, -4.0)
    model.infer = lambda x, beta, noise: x + 100
    objective = LikelihoodFree(num_examples=5, num_draws=3, prior_weight=1.0)
    assert objective.ratio(model, {"x": torch.randn(4, 1)}).total.item() < 0.1


def test_only_the_first_examples_are_observed() -> None:
    """Five of many; more than there are is refused."""
    source = gaussian(num_examples=10)
    assert len(first_examples(source, model_of(), count=5)) == 5
    with pytest.raises(GencoreError, match="num_examples"):
        first_examples(source, model_of(), count=11)


@pytest.mark.behaviour
def test_the_posterior_of_the_global_unknown_is_found(measured: Any) -> None:
    """KL [nats] of q(beta) from the exact posterior of the first five numbers, which the simulator's densities give:
    0.008 and 0.043 at seeds 0 and 1; without the KL to the prior 0.228 at seed 0."""
    source, errors = gaussian(2.0, 1.0), []
    x, noise_std = source.x[:5], 0.5
    precision = 1 + 5 / (1 + noise_std**2)
    mean, std = (x.sum() / (1 + noise_std**2) / precision).item(), precision**-0.5
    for weight in (1.0, 0.0):
        recipe = gencore.recipe("hierarchical-implicit-model", prior_weight=weight)
        model = gencore.Trainer(recipe, source, seed=0, cpu=True).fit().eval()
        if weight:
            draws_nearer(model, source.x)
        found, spread = model.posterior.mean.item(), model.posterior.log_std.exp().item()
        errors.append((spread**2 + (found - mean) ** 2) / (2 * std**2) - 0.5 - math.log(spread / std))
    measured(
        "hierarchical-implicit-model",
        "KL of q(beta) from the exact posterior, nats",
        figure=errors[0],
        twin=errors[1],
        bar=0.1,
        better="lower",
    )
