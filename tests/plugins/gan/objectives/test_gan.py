"""GAN: losses of hand values and of the paper, the family's arguments, and the best critic's log density ratio."""

from __future__ import annotations

import math

import pytest
import torch
from gaussian_game import GRID, critic_error

import gencore
from gencore.adversarial.losses import (
    logistic_critic_loss,
    minimax_generator_loss,
    non_saturating,
    non_saturating_generator_loss,
)
from gencore.adversarial.objective import AdversarialLosses


def slope(loss: object, at: float) -> float:
    logit = torch.tensor([at], dtype=torch.float64, requires_grad=True)
    return torch.autograd.grad(loss(logit), logit)[0].item()


def test_gan_losses() -> None:
    zero = torch.zeros(4, dtype=torch.float64)
    assert logistic_critic_loss(zero, zero).item() == pytest.approx(math.log(4))
    assert slope(minimax_generator_loss, 0.0) == pytest.approx(-0.5)
    assert slope(non_saturating_generator_loss, 0.0) == pytest.approx(-0.5)
    assert slope(minimax_generator_loss, -10.0) == pytest.approx(-4.54e-5, rel=1e-2)
    assert slope(non_saturating_generator_loss, -10.0) == pytest.approx(-1, abs=1e-4)


def test_gan_losses_are_the_papers() -> None:
    real, fake = torch.randn(2, 7, dtype=torch.float64)
    log_sigmoid = torch.nn.functional.logsigmoid
    value = log_sigmoid(real).mean() + (1 - fake.sigmoid()).log().mean()
    torch.testing.assert_close(logistic_critic_loss(real, fake), -value)
    torch.testing.assert_close(minimax_generator_loss(fake), (1 - fake.sigmoid()).log().mean())
    torch.testing.assert_close(non_saturating_generator_loss(fake), -log_sigmoid(fake).mean())


def test_images_are_squashed_and_other_data_are_not() -> None:
    assert gencore.recipe("gan", data_shape=(1, 8, 8)).config.output == "tanh"
    assert gencore.recipe("gan", data_shape=(2,)).config.output == "linear"
    model = gencore.create("gan", data_shape=(1, 8, 8), hidden=(4,))
    with torch.no_grad():
        model.generator[0][-1].bias.fill_(50.0)
    assert model.generate(torch.zeros(1, 64)).max() == 1


@pytest.mark.parametrize(
    ("name", "value"), [("data_shape", ()), ("data_shape", (0,)), ("latent_dim", 0), ("hidden", ())]
)
def test_bad_arguments(name: str, value: object) -> None:
    with pytest.raises(gencore.GencoreError, match=name):
        gencore.recipe("gan", **{name: value})


@pytest.mark.behaviour
def test_gan_critic_is_the_log_density_ratio(measured) -> None:
    """Between N(0, 1) and N(1, 1) the best logit is 1/2 - x. Twin: the critic's generated term dropped."""
    ablated = AdversarialLosses(lambda real, fake: torch.nn.functional.softplus(-real).mean(), non_saturating.generator)
    page, twin = (critic_error(losses, 0.5 - GRID[:, 0]) for losses in (non_saturating, ablated))
    measured("gan", "the critic's error from the log density ratio", figure=page, twin=twin, bar=0.5, better="lower")
