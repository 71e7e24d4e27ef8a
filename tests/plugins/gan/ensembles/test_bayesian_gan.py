"""Bayesian GAN: the sampler's variance, the chain, the energy."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch

import gencore
from gencore.data import ring
from gencore.errors import GencoreError
from gencore_gan.ensembles.bayesian_gan import BayesianGAN, BayesianGANConfig, PosteriorSampling, negative_log_prior
from gencore_gan.parts.sghmc import gradient_noise, sghmc
from gencore_gan.parts.stacked import Chain, StackedMLP


@pytest.mark.parametrize(("noise", "low", "high"), [(True, 0.85, 1.15), (False, 0.0, 1e-3)])
def test_the_chain_reaches_the_variance_of_its_target(noise: bool, low: float, high: float) -> None:
    """U = theta^2 / (2 v) for v = 0.25, 1, 4, 500 chains each, rate 0.01, friction 0.1: the last of 800 steps. Without
    noise they end in the mode."""
    torch.manual_seed(0)
    variance = torch.tensor([0.25, 1.0, 4.0])[:, None]
    theta = torch.nn.Parameter(torch.randn(3, 500))
    optimizer, total = sghmc(0.01, 0.1).build([theta]), torch.zeros(3)
    for step in range(1400):
        optimizer.zero_grad()
        loss = (theta.square() / (2 * variance)).sum()
        if noise:
            loss = loss + gradient_noise([theta], learning_rate=0.01, friction=0.1)
        loss.backward()
        optimizer.step()
        if step >= 1000:
            total += theta.detach().var(1) / variance[:, 0] / 400
    assert total.min() >= low, total
    assert total.max() < high, total


def test_friction_out_of_range_is_refused() -> None:
    """By name."""
    with pytest.raises(GencoreError, match="friction"):
        sghmc(0.01, 0.0)


def test_stacked_perceptrons_are_perceptrons_side_by_side() -> None:
    """Against torch's layers, one network after the other; and a chain picks the same states."""
    torch.manual_seed(0)
    network = StackedMLP(3, (2, 4, 1))
    z = torch.randn(5, 2)
    expected = []
    for number in range(3):
        hidden = torch.nn.functional.leaky_relu(z @ network.weights[0][number] + network.biases[0][number], 0.2)
        expected.append(hidden @ network.weights[1][number] + network.biases[1][number])
    torch.testing.assert_close(network(z.expand(3, 5, 2)), torch.stack(expected))
    chain = Chain(network, 2)
    torch.testing.assert_close(
        chain(z, torch.tensor([0, 4, 2, 1, 5])),
        torch.stack([expected[number][row] for row, number in enumerate((0, 1, 2, 1, 2))]),
    )


def test_a_chain_keeps_its_last_states() -> None:
    """Of length 2: after three states the second and third stand, the third in the first place."""
    network = StackedMLP(1, (1, 1))
    chain = Chain(network, 2)
    for value in (1.0, 2.0, 3.0):
        for weight in network.weights:
            weight.data.fill_(value)
        chain.keep(network)
    assert chain.state_0.flatten().tolist() == [3.0, 2.0]
    assert chain(torch.ones(2, 1), torch.tensor([0, 1])).flatten().tolist() == [3.0, 2.0]


def test_the_prior_is_gaussian() -> None:
    """(1 + 4 + 9) / (2 * 2^2)."""
    assert negative_log_prior([torch.tensor([1.0, 2.0]), torch.tensor([[3.0]])], 2.0).item() == pytest.approx(14 / 8)


def blank(**arguments: Any) -> tuple[PosteriorSampling, Any, dict[str, torch.Tensor]]:
    """A critic that knows nothing, two generators of weights 0."""
    torch.manual_seed(0)
    recipe = gencore.recipe("bayesian-gan", num_generators=2, chain_length=3, thinning=2, hidden=(4,), **arguments)
    model = recipe.model(recipe.config)
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    return recipe.stages[0].objective, model, {"x": torch.randn(6, 2)}


def test_the_energy_counts_each_chain() -> None:
    """500 log 2 for each of two; noise on top moves the total and not the reported energy."""
    objective, model, batch = blank(noise=False)
    assert objective.generators(model, batch).total.item() == pytest.approx(1000 * math.log(2), rel=1e-5)
    assert objective.critic(model, batch).total.item() == pytest.approx(2 * math.log(2), rel=1e-5)
    objective, model, batch = blank()
    torch.nn.init.ones_(model.generators.biases[-1])
    loss = objective.generators(model, batch)
    assert abs(loss.total.item() - loss.metrics["energy"].item()) > 1


def test_every_second_state_is_kept() -> None:
    """`thinning` 2; the critic's steps do not count."""
    objective, model, _ = blank()
    for phase in ("generators", "critic", "critic", "generators", "generators"):
        objective.after_step(model, phase, [])
    assert int(model.chain.kept) == 1


class Unknowing(BayesianGAN):
    """A critic that says 0 to everything, and biases of 0 in the generators: their posterior is the prior."""

    def __init__(self, config: BayesianGANConfig) -> None:
        super().__init__(config)
        torch.nn.init.zeros_(self.critic[-1].weight)
        torch.nn.init.zeros_(self.critic[-1].bias)


@pytest.mark.behaviour
def test_the_states_kept_have_the_spread_of_the_posterior(measured: Any) -> None:
    """600 steps of the generators alone, at a rate of 1e-3. |variance of the biases / prior variance - 1|, over chains
    and kept states; the twin has no noise, so that all its chains stay in the mode. On the ring the noise cannot be
    told from the critic's own movement, which spreads the chains as well. 0.080; without noise 1.000."""
    source, errors = ring(), []
    for noise in (True, False):
        recipe = gencore.recipe("bayesian-gan", steps=600, thinning=50, generator_rate=1e-3, noise=noise)
        alone = dataclasses.replace(recipe.stages[0], phases=recipe.stages[0].phases[1:])
        recipe = dataclasses.replace(recipe, model=Unknowing, stages=(alone,))
        model: Any = gencore.Trainer(recipe, source, seed=0, cpu=True).fit().eval()
        depth = model.chain.depth
        biases = [getattr(model.chain, f"state_{number}").flatten() for number in range(depth, 2 * depth)]
        errors.append(abs(torch.cat(biases).square().mean().item() - 1))
    measured(
        "bayesian-gan",
        "relative error of the variance of the weights that the chains keep",
        figure=errors[0],
        twin=errors[1],
        bar=0.3,
        better="lower",
    )
