"""The formulas of the family against hand values."""

from __future__ import annotations

import math

import pytest
import torch

import gencore
from gencore.adversarial.losses import (
    least_squares,
    logistic_critic_loss,
    minimax_generator_loss,
    non_saturating_generator_loss,
    wasserstein,
)
from gencore.adversarial.penalties import GradientPenalty, gradient_norms
from gencore_gan.objectives.wgan import clip_weights


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


@pytest.mark.parametrize(("coding", "critic", "generator"), [((0, 1, 1), 0.265, 0.72), ((-1, 1, 0), 0.565, 0.02)])
def test_least_squares(coding: tuple, critic: float, generator: float) -> None:
    losses = least_squares(coding)
    real, fake = torch.tensor([0.3]), torch.tensor([-0.2])
    assert losses.critic(real, fake).item() == pytest.approx(critic)
    assert losses.critic(real.repeat(2), fake.repeat(3)).item() == pytest.approx(critic)
    assert losses.generator(fake.repeat(3)).item() == pytest.approx(generator)


def test_wasserstein() -> None:
    real, fake = torch.tensor([1.0, 3.0]), torch.tensor([0.5, 0.5])
    assert wasserstein.critic(real, fake).item() == -1.5
    assert wasserstein.generator(fake).item() == -0.5


def test_clipping_is_of_the_critic_alone() -> None:
    model = gencore.create("wgan")
    before = [p.detach().clone() for p in model.generator.parameters()]
    with torch.no_grad():
        for parameter in model.critic.parameters():
            parameter.copy_(torch.linspace(-1, 0.5, parameter.numel()).view_as(parameter))
    clip_weights(model, 0.3)
    for parameter in model.critic.parameters():
        expected = torch.linspace(-1, 0.5, parameter.numel()).clamp(-0.3, 0.3)
        torch.testing.assert_close(parameter.detach().flatten(), expected)
    assert all(map(torch.equal, before, model.generator.parameters()))


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
