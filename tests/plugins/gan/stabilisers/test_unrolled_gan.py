"""Unrolled GAN: without steps it is the minimax game, and on the Dirac-GAN looking ahead ends the spiral."""

from __future__ import annotations

import pytest
import torch
from dirac_game import played, radius

import gencore
from gencore.adversarial.losses import minimax
from gencore.adversarial.objective import Adversarial
from gencore.data.toys.dirac import dirac
from gencore.errors import GencoreError
from gencore_gan.parts.players import PlayersConfig, PlayersGAN
from gencore_gan.stabilisers.unrolled_gan import UnrolledAdversarial
from tests.plugins.default_sampler import draws_nearer


def generator_gradient(objective: Adversarial, model: PlayersGAN, x: torch.Tensor) -> torch.Tensor:
    model.zero_grad()
    torch.manual_seed(3)
    objective.loss(model, "generator", {"x": x}).total.backward()
    return torch.cat([p.grad.flatten() for p in model.generator.parameters() if p.grad is not None])


def test_no_steps_is_the_minimax_game() -> None:
    """The gradient, not the value: f also has the term of the real examples, in which the generator has no part."""
    torch.manual_seed(0)
    model, x = PlayersGAN(PlayersConfig(data_shape=(2,), latent_dim=3, width=4)), torch.randn(6, 2)
    plain = generator_gradient(Adversarial(minimax), model, x)
    torch.testing.assert_close(
        generator_gradient(UnrolledAdversarial(unrolled_steps=0, unrolled_rate=0.3), model, x), plain
    )
    ahead = generator_gradient(UnrolledAdversarial(unrolled_steps=2, unrolled_rate=0.3), model, x)
    assert (ahead - plain).norm() > 0.05 * plain.norm()


def test_one_step_on_the_dirac_game() -> None:
    """-f(theta, psi_1) = -log 2 - sp(theta psi_1), psi_1 = psi - eta theta s(theta psi), at theta = psi = 1: its slope
    in theta, by finite differences."""
    model = PlayersGAN(PlayersConfig())
    slope = generator_gradient(UnrolledAdversarial(unrolled_steps=1, unrolled_rate=0.3), model, torch.zeros(4, 1))

    def ahead(theta: torch.Tensor) -> torch.Tensor:
        return -torch.nn.functional.softplus(theta * (1 - 0.3 * theta * torch.sigmoid(theta)))

    one, step = torch.tensor(1.0, dtype=torch.float64), 1e-6
    assert slope.item() == pytest.approx(float((ahead(one + step) - ahead(one - step)) / 2 / step), rel=1e-5)


def test_critic_stays_out_of_the_compiler() -> None:
    """Its gradient is differentiated again, which compiled regions do not support."""
    assert gencore.recipe("unrolled-gan").stages[0].objective.double_backward == ("critic",)


@pytest.mark.parametrize("wrong", [{"unrolled_steps": -1}, {"unrolled_rate": 0.0}, {"latent_dim": 3}])
def test_bad_arguments(wrong: dict) -> None:
    with pytest.raises(GencoreError, match=next(iter(wrong))):
        gencore.recipe("unrolled-gan", **wrong)


@pytest.mark.behaviour
def test_the_spiral_ends(measured) -> None:
    """|(theta, psi)| over the last 200 of 1500 steps, from 1.414: nothing in it is random, so all seeds agree.
    Measured: page (K = 5) 6.7e-23, K = 1 6.1e-5; K = 0, the minimax game, 1.415; untrained 1.414. The paper's ring of
    eight modes takes 25,000 iterations and is not tried here."""
    (page, model), twin = played("unrolled-gan"), radius("unrolled-gan", unrolled_steps=0)
    draws_nearer(model, dirac().x)
    what = "distance to the Dirac game's equilibrium"
    measured("unrolled-gan", what, figure=page, twin=twin, bar=1e-3, better="lower")
