"""Differentiable inner steps against closed forms."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gencore.adversarial.unrolled import judge_by, unroll


class Slope(nn.Module):
    """D(x) = psi x."""

    def __init__(self, psi: float) -> None:
        super().__init__()
        self.psi = nn.Parameter(torch.tensor(psi, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return self.psi * x


class Game(nn.Module):
    def __init__(self, psi: float) -> None:
        super().__init__()
        self.critic = Slope(psi)

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        return self.critic(x) if condition is None else self.critic(x) + condition


@pytest.mark.parametrize("steps", [0, 1, 5])
def test_bilinear_game(steps: int) -> None:
    """f = -theta psi is the critic's loss: psi_K = psi + K eta theta, and theta's gradient of -f(theta, psi_K) is
    psi + 2 K eta theta, of which half comes through the steps."""
    theta = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    game = Game(3.0)
    ahead = unroll(game.critic, lambda psi: -judge_by(game, psi, theta), steps=steps, rate=0.3)
    assert ahead["psi"].item() == pytest.approx(3 + steps * 0.3 * 2)
    (slope,) = torch.autograd.grad(judge_by(game, ahead, theta), theta)
    assert slope.item() == pytest.approx(3 + 2 * steps * 0.3 * 2)
    assert game.critic.psi.item() == 3


def test_steps_are_gradient_descent() -> None:
    """On a net of two layers, the same as torch's SGD takes."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    x, y = torch.randn(6, 3, dtype=torch.float64), torch.randn(6, 1, dtype=torch.float64)
    ahead = unroll(
        net, lambda p: (torch.func.functional_call(net, dict(p), (x,)) - y).square().mean(), steps=3, rate=0.2
    )
    optimizer = torch.optim.SGD(net.parameters(), lr=0.2)
    for _ in range(3):
        optimizer.zero_grad()
        (net(x) - y).square().mean().backward()
        optimizer.step()
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(ahead[name].detach(), parameter.detach())


def test_judge_by_takes_the_condition_and_leaves_the_model() -> None:
    game = Game(3.0)
    judged = judge_by(game, {"psi": torch.tensor(5.0)}, torch.tensor(2.0), torch.tensor(1.0))
    assert judged.item() == 11
    assert game.critic.psi.item() == 3
    assert [name for name, _ in game.named_parameters()] == ["critic.psi"]
