"""GAN with R1: the penalty by hand, and the Dirac game, which only ends with it."""

from __future__ import annotations

import pytest
import torch
from dirac_game import Radii

import gencore
from gencore.adversarial.losses import non_saturating
from gencore.adversarial.objective import Adversarial
from gencore.adversarial.penalties import R1
from gencore.data.toys.dirac import dirac
from gencore_gan.parts.networks import ConvGAN
from gencore_gan.parts.players import PlayersConfig, PlayersGAN


def test_r1_of_a_linear_critic() -> None:
    """gamma / 2 ||a||^2, a = (3, 4), whatever the generated examples are."""
    a = torch.tensor([3.0, 4.0], dtype=torch.float64)
    real = torch.randn(5, 2, dtype=torch.float64)
    loss = R1(weight=10.0)(lambda x: x @ a, real, torch.full_like(real, torch.nan))
    assert loss.total.item() == pytest.approx(5 * 25)
    assert loss.metrics["r1"].item() == pytest.approx(25)


def test_r1_is_at_the_data() -> None:
    """D(x) = x^2 / 2 has slope x: data at 1 and 3 give E x^2 = 5."""
    real = torch.tensor([[1.0], [3.0]])
    assert R1(weight=1.0)(lambda x: 0.5 * x.square().sum(1), real, torch.zeros(2, 1)).total.item() == pytest.approx(2.5)


def test_the_penalty_joins_the_non_saturating_game() -> None:
    recipe = gencore.recipe("gan-r1", width=4, r1_weight=3.0)
    model, batch = ConvGAN(recipe.config), {"x": torch.randn(4, 1, 8, 8)}
    totals = []
    for objective in (recipe.stages[0].objective, Adversarial(non_saturating)):
        torch.manual_seed(0)
        totals.append(objective.loss(model, "critic", batch).total)
    x = batch["x"].clone().requires_grad_()
    (slope,) = torch.autograd.grad(model.judge(x).sum(), x)
    torch.testing.assert_close(totals[0] - totals[1], 1.5 * slope.square().sum((1, 2, 3)).mean())


def test_no_batch_normalisation_in_the_critic() -> None:
    assert not [m for m in ConvGAN(gencore.recipe("gan-r1").config).critic if isinstance(m, torch.nn.BatchNorm2d)]


def test_bad_arguments() -> None:
    with pytest.raises(gencore.GencoreError, match="weight"):
        gencore.recipe("gan-r1", r1_weight=-1.0)


def radius(objective: Adversarial, steps: int = 600) -> float:
    """The largest |(theta, psi)| of the last 100 steps of the Dirac game, at the rate 0.1, from 1.414."""
    phases = tuple(
        gencore.Phase(name=name, parts=(name,), optimizer=gencore.SGD(learning_rate=0.1))
        for name in ("critic", "generator")
    )
    recipe = gencore.Recipe(
        name="toy",
        model=PlayersGAN,
        config=PlayersConfig(),
        stages=(gencore.Stage(objective=objective, phases=phases, steps=steps),),
    )
    radii = Radii()
    gencore.Trainer(recipe, dirac(), cpu=True, callbacks=(radii,)).fit()
    return max(radii.radii[-100:])


@pytest.mark.behaviour
def test_the_spiral_ends(measured) -> None:
    """Nothing in it is random, so all seeds agree. Twin: the penalty's weight 0.

    Measured: page 8e-9, twin 0.39, untrained 1.414; with the default weight of 10 it is 0.285, on a slow way down:
    at the rate 0.1 of this game psi is damped to nothing in one step, and theta is left to creep.
    """
    measured(
        "gan-r1",
        "distance to the Dirac game's equilibrium",
        figure=radius(gencore.recipe("gan-r1", r1_weight=1.0).stages[0].objective),
        twin=radius(gencore.recipe("gan-r1", r1_weight=0.0).stages[0].objective),
        bar=1e-3,
        better="lower",
    )
