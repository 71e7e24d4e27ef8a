"""LSGAN: the losses by hand, and the best critic's weighted density."""

from __future__ import annotations

import pytest
import torch
from gaussian_game import GRID, critic_error

from gencore.adversarial.losses import (
    least_squares,
)
from gencore.adversarial.objective import AdversarialLosses


@pytest.mark.parametrize(("coding", "critic", "generator"), [((0, 1, 1), 0.265, 0.72), ((-1, 1, 0), 0.565, 0.02)])
def test_least_squares(coding: tuple, critic: float, generator: float) -> None:
    losses = least_squares(coding)
    real, fake = torch.tensor([0.3]), torch.tensor([-0.2])
    assert losses.critic(real, fake).item() == pytest.approx(critic)
    assert losses.critic(real.repeat(2), fake.repeat(3)).item() == pytest.approx(critic)
    assert losses.generator(fake.repeat(3)).item() == pytest.approx(generator)


def density(mean: float) -> torch.Tensor:
    return torch.exp(-0.5 * (GRID[:, 0] - mean) ** 2)


@pytest.mark.behaviour
@pytest.mark.parametrize("coding", [(0.0, 1.0, 1.0), (-1.0, 1.0, 0.0)])
def test_lsgan_critic_is_the_weighted_density(coding: tuple, measured) -> None:
    """Equation 5: D* = (b p + a q) / (p + q). Twin: the generated term dropped."""
    losses, p, q = least_squares(coding), density(0.0), density(1.0)
    ablated = AdversarialLosses(lambda real, fake: 0.5 * (real - coding[1]).square().mean(), losses.generator)
    best = (coding[1] * p + coding[0] * q) / (p + q)
    page, twin = (critic_error(each, best) / (coding[1] - coding[0]) for each in (losses, ablated))
    measured(
        "lsgan",
        f"the critic's error from the weighted density, a = {coding[0]:g}, b = {coding[1]:g}",
        figure=page,
        twin=twin,
        bar=0.1,
        better="lower",
    )
