"""b-GAN: Bregman divergences by hand, and the density ratio that the critic learns."""

from __future__ import annotations

import itertools
from typing import get_args

import pytest
import torch
from gaussian_game import train_critic

import gencore
from gencore.adversarial.losses import AdversarialLosses, logistic_critic_loss
from gencore.adversarial.objective import Adversarial
from gencore_gan.objectives.b_gan import CONVEX, LINKS, Link, Name, ratio_losses
from gencore_gan.objectives.f_gan import DIVERGENCES, bound


@pytest.mark.parametrize("name", get_args(Name))
def test_slope_and_remainder_belong_to_the_function(name: Name) -> None:
    r = torch.tensor([0.2, 1.0, 3.5], dtype=torch.float64, requires_grad=True)
    convex = CONVEX[name]
    (slope,) = torch.autograd.grad(convex.value(r).sum(), r)
    torch.testing.assert_close(convex.slope(r), slope)
    torch.testing.assert_close(convex.remainder(r), slope * r - convex.value(r))
    assert convex.value(torch.ones(1)).item() == 0


def test_losses_by_hand() -> None:
    """exp link, outputs log 2 on data and log 3 on samples: r = 2 and 3."""
    real, fake = torch.tensor([2.0]).log(), torch.tensor([3.0]).log()
    losses = ratio_losses("pearson", "reverse-kl", "exp")
    assert losses.critic(real, fake).item() == pytest.approx((9 - 1) / 2 - (2 - 1))
    assert losses.generator(fake).item() == pytest.approx(-1.0986, abs=1e-4)
    assert ratio_losses("kl", "pearson", "exp").critic(real, fake).item() == pytest.approx(3 - 0.6931 - 1, abs=1e-4)
    assert ratio_losses("kl", "pearson", "exp").generator(fake).item() == pytest.approx(2)
    softplus = ratio_losses("kl", "kl", "softplus").critic(torch.zeros(1), torch.zeros(1)).item()
    assert softplus == pytest.approx(0.6931 - (-0.3665) - 1, abs=1e-4)


def test_pearson_is_the_f_gans() -> None:
    """With T = 2 (r - 1) f-GAN's bound is -2 LSIF - 1, LSIF = E_q r^2 / 2 - E_p r; this critic's loss is LSIF + 1/2."""
    real, fake = torch.randn(2, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    loss = ratio_losses("pearson", "pearson", "exp").critic(real, fake)
    value = bound(DIVERGENCES["pearson"], 2 * (real.exp() - 1), 2 * (fake.exp() - 1))
    torch.testing.assert_close(-2 * (loss - 0.5) - 1, value)


@pytest.mark.parametrize(("name", "link"), [*itertools.product(get_args(Name), get_args(Link))])
def test_the_best_ratio_is_the_density_ratio(name: Name, link: Link) -> None:
    """One place where p = 0.6 and q = 0.2: the critic's loss, 0.2 remainder(r) - 0.6 slope(r), is least at r = 3."""
    v = torch.linspace(-3, 6, 90_001, dtype=torch.float64)
    r = LINKS[link](v)
    loss = 0.2 * CONVEX[name].remainder(r) - 0.6 * CONVEX[name].slope(r)
    assert r[loss.argmin()].item() == pytest.approx(3, abs=0.01)


@pytest.mark.parametrize("link", get_args(Link))
def test_a_ratio_of_nothing_is_finite(link: Link) -> None:
    """Outputs of -500: losses and gradients of every divergence stay finite."""
    for name in get_args(Name):
        real, fake = (torch.tensor([-500.0, 1.0], requires_grad=True) for _ in range(2))
        losses = ratio_losses(name, name, link)
        for loss in (losses.critic(real, fake), losses.generator(fake)):
            assert loss.isfinite()
            assert all(slope.isfinite().all() for slope in torch.autograd.grad(loss, fake, retain_graph=True))


@pytest.mark.parametrize("argument", ["ratio_divergence", "generator_divergence", "link"])
def test_unknown_names(argument: str) -> None:
    with pytest.raises(gencore.GencoreError, match=argument):
        gencore.recipe("b-gan", **{argument: "other"})


RATE = gencore.Adam(learning_rate=5e-4, betas=(0.5, 0.999))


def ratio_error(losses: AdversarialLosses, seed: int) -> float:
    """Mean relative error of r between N(0, 1) and N(1, 1) on [-1, 2.5], where p / q = exp(1/2 - x)."""
    model = train_critic(Adversarial(losses), shift=1.0, steps=1500, optimizer=RATE, seed=seed)
    x = torch.linspace(-1, 2.5, 101)[:, None]
    with torch.no_grad():
        ratio = LINKS["softplus"](model.judge(x))
    return (ratio / torch.exp(0.5 - x[:, 0]) - 1).abs().mean().item()


@pytest.mark.behaviour
def test_the_critic_learns_the_density_ratio(measured) -> None:
    """Twin: the logistic critic in its place, whose output is the ratio's logarithm.

    Measured at seeds 0, 1, 2: page 0.087, 0.043, 0.040; twin 0.29, 0.30, 0.29.
    """
    losses = ratio_losses("pearson", "reverse-kl", "softplus")
    twin = AdversarialLosses(logistic_critic_loss, losses.generator)
    measured(
        "b-gan",
        "mean relative error of the learned density ratio",
        figure=ratio_error(losses, 0),
        twin=ratio_error(twin, 0),
        bar=0.15,
        better="lower",
    )
