"""The relaxation of categorical latents: frequencies, gradients, densities, and digits beside independent pixels."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

import gencore
from gencore.nn.distributions import OneHot
from gencore.noise import GlobalNoise
from gencore_vae.gumbel_vae import RelaxedBound, concrete_log_density, relaxed_one_hot, straight_through
from tests.plugins.default_sampler import draws_nearer
from tests.plugins.vae.vae_digits import binary, independent_pixels, mean_bound, train

LOGITS = torch.tensor([0.3, -0.5, 1.0, 0.0])
VALUES = torch.tensor([1.0, -2.0, 0.5, 3.0])


def perturbed(logits: torch.Tensor, count: int) -> torch.Tensor:
    """(count, 4) log-probabilities plus Gumbel noise."""
    torch.manual_seed(0)
    return OneHot(logits[None]).gumbel(GlobalNoise(1, logits.device), count)[:, 0]


def test_gumbel_max_has_the_right_frequencies() -> None:
    drawn = perturbed(LOGITS, 200_000).argmax(-1).bincount(minlength=4) / 200_000
    torch.testing.assert_close(drawn, LOGITS.softmax(0), atol=0.005, rtol=0)


def gradient_error(temperature: float, *, square: bool = False, through: bool = False) -> float:
    """Relative error of the gradient of E f(y), f linear or its square, against that of sum_i pi_i f_i."""
    logits = LOGITS.clone().requires_grad_()
    shape = torch.Tensor.square if square else torch.Tensor.clone
    (exact,) = torch.autograd.grad((logits.softmax(0) * shape(VALUES)).sum(), logits)
    soft = relaxed_one_hot(perturbed(logits, 200_000), temperature)
    code = straight_through(soft) if through else soft
    (estimate,) = torch.autograd.grad(shape((code * VALUES).sum(-1)).mean(), logits)
    return ((estimate - exact).norm() / exact.norm()).item()


def test_gradient_bias_falls_with_the_temperature() -> None:
    """Measured by others: 0.83, 0.33, 0.12, 0.003 at 5, 1, 0.5, 0.1."""
    errors = [gradient_error(temperature) for temperature in (5.0, 1.0, 0.5, 0.1)]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 0.5
    assert errors[-1] < 0.02


def test_straight_through_of_a_curved_function() -> None:
    assert gradient_error(0.1, square=True, through=True) < 0.15


def test_straight_through_is_hard_forward_and_soft_backward() -> None:
    logits = LOGITS.clone().requires_grad_()
    soft = logits.softmax(0)
    hard = straight_through(soft)
    torch.testing.assert_close(hard, torch.tensor([0.0, 0.0, 1.0, 0.0]))
    (through,) = torch.autograd.grad(hard @ VALUES, logits, retain_graph=True)
    torch.testing.assert_close(through, torch.autograd.grad(soft @ VALUES, logits)[0])


@pytest.mark.parametrize("temperature", [0.6, 1.0, 2.0])
def test_concrete_density_integrates_to_one(temperature: float) -> None:
    """Over the simplex of two categories; at K = 2 and any temperature log(y / (1 - y)) is logistic."""
    logits = torch.tensor([0.4, -0.3], dtype=torch.float64)
    odds = torch.linspace(-80, 80, 200_001, dtype=torch.float64)
    log_y = torch.stack([torch.nn.functional.logsigmoid(odds), torch.nn.functional.logsigmoid(-odds)], -1)
    log_density = concrete_log_density(log_y, logits, temperature)
    mass = torch.trapezoid((log_density + log_y.sum(-1)).exp(), odds)  # dy = y (1 - y) d(odds)
    assert mass.item() == pytest.approx(1, abs=1e-6)


def test_concrete_density_of_three_categories() -> None:
    """By a grid over the simplex; and it ignores a constant added to the logits."""
    logits = torch.tensor([0.4, -0.3, 0.2], dtype=torch.float64)
    steps = torch.arange(0.5, 1200, 1.0, dtype=torch.float64) / 1200
    first, second = torch.meshgrid(steps, steps, indexing="ij")
    inside = first + second < 1 - 1e-9
    y = torch.stack([first, second, 1 - first - second], -1)[inside]
    density = concrete_log_density(y.log(), logits, 0.9).exp()
    assert density.sum().item() / 1200**2 == pytest.approx(1, abs=0.02)
    shifted = concrete_log_density(y[:5].log(), logits + 3, 0.9)
    torch.testing.assert_close(shifted.exp(), density[:5])


def test_temperature_falls_and_stops() -> None:
    objective = RelaxedBound(
        relaxation="gumbel-softmax", lowest_temperature=0.5, anneal_rate=0.1, kl_warm_up=4, binarization="dynamic"
    )
    seen, weights = [], []
    for _ in range(10):
        seen.append(objective.temperature.item())
        weights.append(objective.kl_weight.item())
        objective.after_step(None, "autoencoder", [])
    assert seen[0] == 1
    assert seen[1] == pytest.approx(0.9048, abs=1e-4)
    assert seen[-1] == 0.5
    assert all(before >= after for before, after in itertools.pairwise(seen))
    assert weights[:5] == [0.25, 0.5, 0.75, 1, 1]
    assert "step" in objective.state_dict()


@pytest.mark.parametrize("relaxation", ["gumbel-softmax", "straight-through", "concrete"])
def test_warm_up_weighs_the_kl(relaxation: str) -> None:
    """And only the relaxed bound has one unless asked."""
    recipes = [gencore.recipe("gumbel-softmax-vae", steps=8, relaxation=relaxation, kl_warm_up=n) for n in (None, 0)]
    model, x = recipes[0].model(recipes[0].config), torch.ones(4, 1, 8, 8)
    losses = []
    for recipe in recipes:
        torch.manual_seed(0)
        losses.append(recipe.stages[0].objective.loss(model, "autoencoder", {"x": x}))
    weight = 0.25 if relaxation == "concrete" else 1.0
    torch.testing.assert_close(losses[1].total, losses[1].metrics["kl"] - losses[1].metrics["log_likelihood"])
    torch.testing.assert_close(losses[1].total - losses[0].total, (1 - weight) * losses[1].metrics["kl"])


def test_relaxed_kl_of_weak_logits_is_many_times_the_categorical_one() -> None:
    """Why the concrete bound collapses without a warm-up: 10 categories, about 10 times the nats, at 2 temperatures."""
    torch.manual_seed(0)
    logits = 0.5 * torch.randn(1, 10)
    posterior, uniform = OneHot(logits), torch.zeros(1, 10)
    relaxed = []
    for temperature in (0.5, 1.0):
        log_y = (posterior.gumbel(GlobalNoise(1, logits.device), 200_000) / temperature).log_softmax(-1)
        densities = [
            concrete_log_density(log_y, weights, temperature) for weights in (posterior.log_probabilities, uniform)
        ]
        relaxed.append((densities[0] - densities[1]).mean().item())
    assert relaxed[0] == pytest.approx(relaxed[1], rel=0.05)
    assert 5 < relaxed[0] / posterior.kl_to_uniform().item() < 12


@pytest.mark.parametrize(
    ("argument", "value"),
    [("relaxation", "soft"), ("lowest_temperature", 0.0), ("num_categories", 1), ("kl_warm_up", -1)],
)
def test_bad_arguments(argument: str, value: object) -> None:
    with pytest.raises(gencore.GencoreError, match=argument):
        gencore.recipe("gumbel-softmax-vae", **{argument: value})


@pytest.mark.behaviour
@pytest.mark.parametrize("relaxation", ["gumbel-softmax", "straight-through"])
def test_categorical_latents_are_used(relaxation: str, measured) -> None:
    """The bound of the hard model: -19.8 for both. Twin: independent pixels, what is left without z, -24.5."""
    recipe = gencore.recipe(
        "gumbel-softmax-vae", steps=1200, binarization="none", relaxation=relaxation, anneal_rate=1e-3
    )
    model = train(recipe, binary("train"))
    draws_nearer(model, binary("test"))
    measured(
        "gumbel-softmax-vae",
        f"bound of the hard model on held-out binary digits, nats, {relaxation}; twin: independent pixels",
        figure=mean_bound(model, binary("test"), 1),
        twin=independent_pixels(),
        bar=-21.5,
        better="higher",
    )


@pytest.mark.behaviour
@pytest.mark.parametrize(("warm_up", "used"), [(None, True), (0, False)])
def test_concrete_latents_are_used_after_a_warm_up(warm_up: int | None, used: bool) -> None:
    """Three seeds: -22.3 to -22.4 with a KL of 1.6; the twin without a warm-up stays at the prior: -24.5, 0.005.

    Of 4 categories, as the paper's are few: 10 are learned too late for some seeds (2000 steps: KL 0.2 to 0.7).
    """
    arguments: dict[str, Any] = {"relaxation": "concrete", "binarization": "none", "kl_warm_up": warm_up}
    shape = {"latent_dim": 20, "num_categories": 4}
    recipe = gencore.recipe("gumbel-softmax-vae", steps=2000, anneal_rate=1e-3, **shape, **arguments)
    model, x = train(recipe, binary("train")), binary("test")
    with torch.no_grad():
        kl = model.encode(x).kl_to_uniform().mean()
    assert mean_bound(model, x, 1) > -23.2 if used else mean_bound(model, x, 1) < -24
    assert kl > 1 if used else kl < 0.05
