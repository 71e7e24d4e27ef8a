"""Consensus optimisation's direction on games that can be worked out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gencore.adversarial.consensus import ConsensusAdversarial, along, consensus
from gencore.adversarial.losses import non_saturating
from gencore.errors import GencoreError


class Number(nn.Module):
    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor([value], dtype=torch.float64))


def slopes(weight: float, *, game: bool = True) -> tuple[float, float]:
    """The step's direction on f = theta psi at theta = 2, psi = 3, where theta minimises f and psi maximises it."""
    theta, psi = Number(2.0), Number(3.0)
    value = (theta.value * psi.value).sum()
    consensus((value, -value), (theta, psi), weight=weight, game=game).total.backward()
    return theta.value.grad.item(), psi.value.grad.item()  # type: ignore[union-attr]


def test_direction_on_the_bilinear_game() -> None:
    """(psi + gamma theta, -theta + gamma psi)."""
    assert slopes(0.0) == pytest.approx((3.0, -2.0))
    assert slopes(0.6) == pytest.approx((3 + 0.6 * 2, -2 + 0.6 * 3))
    assert slopes(0.6, game=False) == pytest.approx((0.6 * 2, 0.6 * 3))


def test_value_is_what_is_paid() -> None:
    """The players' losses and the weighted half squared length, 1/2 (3^2 + 2^2)."""
    theta, psi = Number(2.0), Number(3.0)
    value = (theta.value * psi.value).sum()
    loss = consensus((value, 1 - value), (theta, psi), weight=0.1)
    assert loss.total.item() == pytest.approx(1 + 0.1 * 6.5)
    assert loss.metrics["half_squared_length"].item() == pytest.approx(6.5)


def test_along_is_zero_with_the_field_as_gradient() -> None:
    parameters = [torch.randn(3, requires_grad=True), torch.randn(2, 2, requires_grad=True)]
    field = [torch.randn(3), torch.randn(2, 2)]
    value = along(field, parameters)
    assert value.item() == 0
    assert all(torch.equal(*pair) for pair in zip(torch.autograd.grad(value, parameters), field, strict=True))


def descend(*, game: bool, steps: int = 400) -> tuple[float, float]:
    """Both players minimise f = theta^2 / 2 - psi^2 / 2 from (0.5, 0.1): psi = 0 is the second one's worst choice."""
    theta, psi = Number(0.5), Number(0.1)
    for _ in range(steps):
        theta.zero_grad(), psi.zero_grad()
        value = (theta.value.square() / 2 - psi.value.square() / 2).sum()
        consensus((value, value), (theta, psi), weight=0.5, game=game).total.backward()
        with torch.no_grad():
            theta.value -= 0.1 * theta.value.grad
            psi.value -= 0.1 * psi.value.grad
            psi.value.clamp_(-10, 10)
    return theta.value.item(), psi.value.item()


def test_full_relaxation_is_drawn_to_a_maximum() -> None:
    """Without the game's own gradient the second player ends at its worst point; with it, it runs away from there."""
    theta, psi = descend(game=False)
    assert abs(theta) < 1e-3
    assert abs(psi) < 1e-3
    theta, psi = descend(game=True)
    assert abs(theta) < 1e-3
    assert abs(psi) == 10


class Pair(nn.Module):
    condition = None

    def __init__(self) -> None:
        super().__init__()
        self.generator, self.critic = Number(0.7), Number(-0.4)

    def draw_prior(self, noise: object) -> Tensor:
        return torch.zeros(4, 1, dtype=torch.float64)

    def generate(self, z: Tensor, *, condition: Tensor | None = None) -> Tensor:
        return z + self.generator.value

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        return (self.critic.value * x).squeeze(1)


def test_objective_on_the_dirac_game() -> None:
    """With s the sigmoid: v = (-psi s(-theta psi), theta s(theta psi)), and grad 1/2 ||v||^2 by finite differences."""
    model = Pair()
    batch = {"x": torch.zeros(4, 1, dtype=torch.float64)}
    objective = ConsensusAdversarial(non_saturating, weight=1.5)
    objective.loss(model, "players", batch).total.backward()

    def field(w: Tensor) -> Tensor:
        theta, psi = w
        return torch.stack([-psi * torch.sigmoid(-theta * psi), theta * torch.sigmoid(theta * psi)])

    at, step = torch.tensor([0.7, -0.4], dtype=torch.float64), 1e-6 * torch.eye(2, dtype=torch.float64)
    half = [(field(at + e).square().sum() - field(at - e).square().sum()) / 2 / 2e-6 for e in step]
    expected = field(at) + 1.5 * torch.stack(half)
    got = torch.cat([model.generator.value.grad, model.critic.value.grad])
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-7)  # float32 inside: judgements are cast


def test_negative_weight_is_refused() -> None:
    with pytest.raises(GencoreError, match="weight is -1"):
        ConsensusAdversarial(non_saturating, weight=-1.0)
