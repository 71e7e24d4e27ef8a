"""What defines each system, measured after a little training, beside an ablated twin that must miss the bar."""

from __future__ import annotations

import pytest
import torch
from gaussian_game import distance, train_critic

import gencore
from gencore.adversarial.losses import least_squares, non_saturating, wasserstein
from gencore.adversarial.objective import Adversarial, AdversarialLosses
from gencore.adversarial.penalties import GradientPenalty, gradient_norms
from gencore_gan.objectives.wgan import clip_weights

pytestmark = pytest.mark.behaviour
GRID = torch.linspace(-2, 3, 101)[:, None]


def judged(model: object) -> torch.Tensor:
    with torch.no_grad():
        return model.judge(GRID)


def density(mean: float) -> torch.Tensor:
    return torch.exp(-0.5 * (GRID[:, 0] - mean) ** 2)


@pytest.mark.parametrize(("ablated", "holds"), [(False, True), (True, False)])
def test_gan_critic_is_the_log_density_ratio(ablated: bool, holds: bool) -> None:
    """Between N(0, 1) and N(1, 1) the best logit is 1/2 - x. Twin: the critic's generated term dropped."""
    losses = AdversarialLosses(lambda real, fake: torch.nn.functional.softplus(-real).mean(), non_saturating.generator)
    model = train_critic(Adversarial(losses if ablated else non_saturating), shift=1.0)
    error = (judged(model) - (0.5 - GRID[:, 0])).abs().max().item()
    assert (error < 0.5) == holds, error


@pytest.mark.parametrize(("ablated", "holds"), [(False, True), (True, False)])
@pytest.mark.parametrize("coding", [(0.0, 1.0, 1.0), (-1.0, 1.0, 0.0)])
def test_lsgan_critic_is_the_weighted_density(coding: tuple, ablated: bool, holds: bool) -> None:
    """Equation 5: D* = (b p + a q) / (p + q). Twin: the generated term dropped."""
    losses = least_squares(coding)
    if ablated:
        losses = AdversarialLosses(lambda real, fake: 0.5 * (real - coding[1]).square().mean(), losses.generator)
    model = train_critic(Adversarial(losses), shift=1.0)
    p, q = density(0.0), density(1.0)
    best = (coding[1] * p + coding[0] * q) / (p + q)
    error = (judged(model) - best).abs().max().item() / (coding[1] - coding[0])
    assert (error < 0.1) == holds, error


@pytest.mark.parametrize(("weight", "holds"), [(10.0, True), (0.0, False)])
@pytest.mark.parametrize(("shift", "scale", "w1"), [(2.0, 1.0, 2.0), (1.0, 2.0, 1.167)])
def test_wgan_gp_estimates_w1_with_unit_slope(
    shift: float, scale: float, w1: float, weight: float, holds: bool
) -> None:
    """W1 within 15 %, gradient norm near 1. Twin: no gradient penalty."""
    penalties = (GradientPenalty(weight=weight),) if weight else ()
    model = train_critic(Adversarial(wasserstein, penalties=penalties), shift=shift, scale=scale, dim=2)
    estimate = distance(model, shift=shift, scale=scale)
    assert (abs(estimate / w1 - 1) < 0.15) == holds, estimate
    if shift == 2.0:
        line = torch.stack([torch.linspace(-1, 3, 50), torch.zeros(50)], 1)
        norm = gradient_norms(model.judge, line).mean().item()
        assert (abs(norm - 1) < 0.15) == holds, norm


class LargestWeight:
    """Remembers the largest weight of the critic after each iteration."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def after_step(self, trainer: gencore.Trainer) -> None:
        self.seen.append(max(p.abs().max().item() for p in trainer.model.critic.parameters()))


@pytest.mark.parametrize(("ablated", "holds"), [(False, True), (True, False)])
def test_wgan_clips_and_underestimates_w1(ablated: bool, holds: bool) -> None:
    """Weights stay within c; the estimate over the critic's own slope is at most W1, and grows with the shift.

    Clipping gives W1 only up to an unknown scale, so no closeness is asked. Twin: no clipping.
    """
    estimates = []
    for shift in (0.5, 1.0, 2.0, 4.0):
        largest = LargestWeight()
        clip = None if ablated else lambda model: clip_weights(model, 0.1)
        objective = Adversarial(wasserstein, after_critic=clip)
        optimizer = gencore.RMSprop(learning_rate=5e-4)
        model = train_critic(objective, shift=shift, steps=400, optimizer=optimizer, callbacks=(largest,))
        points = torch.linspace(-4, 8, 500)[:, None]
        lipschitz = gradient_norms(model.judge, points).max().item()
        assert distance(model, shift=shift) <= 1.05 * shift * lipschitz
        assert (max(largest.seen) <= 0.1 + 1e-7) == holds
        estimates.append(distance(model, shift=shift))
    if holds:
        assert estimates == sorted(estimates)
