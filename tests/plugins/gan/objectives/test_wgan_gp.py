"""WGAN-GP: the penalty by hand, and W1 by a critic of unit slope."""

from __future__ import annotations

import pytest
import torch
from gaussian_game import distance, train_critic

from gencore.adversarial.losses import (
    wasserstein,
)
from gencore.adversarial.objective import Adversarial
from gencore.adversarial.penalties import GradientPenalty, gradient_norms


def test_gradient_penalty_of_a_linear_critic() -> None:
    a = torch.tensor([3.0, 4.0], dtype=torch.float64)
    real, fake = torch.randn(2, 5, 2, dtype=torch.float64)
    loss = GradientPenalty(weight=10.0)(lambda x: x @ a, real, fake)
    assert loss.total.item() == pytest.approx(10 * (5 - 1) ** 2)
    assert loss.metrics["slope"].item() == pytest.approx(5)


def test_gradient_penalty_is_on_the_segments() -> None:
    """D(x) = x^2 / 2 has slope x: with real = 0 and fake = 1 the slopes are uniform in [0, 1]."""
    torch.manual_seed(0)
    loss = GradientPenalty(weight=1.0)(lambda x: 0.5 * x.square().sum(1), torch.zeros(4000, 1), torch.ones(4000, 1))
    assert loss.metrics["slope"].item() == pytest.approx(0.5, abs=0.02)
    assert loss.total.item() == pytest.approx(1 / 3, abs=0.02)


def test_gradient_norms_differentiate_again() -> None:
    a = torch.tensor([3.0, 4.0], dtype=torch.float64, requires_grad=True)
    norms = gradient_norms(lambda x: x @ a, torch.zeros(2, 2, dtype=torch.float64))
    torch.testing.assert_close(torch.autograd.grad(norms.sum(), a)[0], 2 * a.detach() / 5)


@pytest.mark.behaviour
@pytest.mark.parametrize(("shift", "scale", "w1"), [(2.0, 1.0, 2.0), (1.0, 2.0, 1.167)])
def test_wgan_gp_estimates_w1_with_unit_slope(shift: float, scale: float, w1: float, measured) -> None:
    """W1 within 15 %, gradient norm near 1. Twin: no gradient penalty."""
    errors = []
    for penalties in ((GradientPenalty(weight=10.0),), ()):
        model = train_critic(Adversarial(wasserstein, penalties=penalties), shift=shift, scale=scale, dim=2)
        errors.append(abs(distance(model, shift=shift, scale=scale) / w1 - 1))
        if shift == 2.0:
            line = torch.stack([torch.linspace(-1, 3, 50), torch.zeros(50)], 1)
            norm = gradient_norms(model.judge, line).mean().item()
            assert (abs(norm - 1) < 0.15) == bool(penalties), norm
    measured(
        "wgan-gp",
        f"relative error of W1 between N(0, 1) and N({shift:g}, {scale:g})",
        figure=errors[0],
        twin=errors[1],
        bar=0.15,
        better="lower",
    )
