"""Historical averaging: three steps by hand, and the Dirac game, which it damps."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import softplus

from gencore.adversarial.historical import HistoricalAverage


def test_three_steps_by_hand() -> None:
    """theta = (1, 0), (4, 0), (4, 3): the mean is (3, 1), and (5, 5) is 4 + 16 from it."""
    history = HistoricalAverage(2)
    theta = [torch.tensor([5.0], requires_grad=True), torch.tensor([[5.0]], requires_grad=True)]
    assert history.penalty(theta).item() == 0
    for step in ((1.0, 0.0), (4.0, 0.0), (4.0, 3.0)):
        history.take([torch.tensor([step[0]]), torch.tensor([[step[1]]])])
    torch.testing.assert_close(history.mean, torch.tensor([3.0, 1.0]))
    penalty = history.penalty(theta)
    assert penalty.item() == pytest.approx(20.0)
    assert [g.item() for g in torch.autograd.grad(penalty, theta)] == pytest.approx([4.0, 8.0])
    assert history.mean.tolist() == pytest.approx([3.0, 1.0])


def dirac(weight: float, steps: int = 1500) -> float:
    """|(theta, psi)| after simultaneous steps of rate 0.1 on the non-saturating game from (1, 1)."""
    players = [torch.ones(1, requires_grad=True), torch.ones(1, requires_grad=True)]
    pasts = [HistoricalAverage(1), HistoricalAverage(1)]
    for _ in range(steps):
        product = players[0] * players[1]
        losses = (softplus(-product), softplus(product))
        slopes = [
            torch.autograd.grad(loss.sum() + weight * past.penalty([player]), player, retain_graph=True)[0]
            for loss, past, player in zip(losses, pasts, players, strict=True)
        ]
        with torch.no_grad():
            for player, slope, past in zip(players, slopes, pasts, strict=True):
                player -= 0.1 * slope
                past.take([player])
    return float(torch.cat(players).norm().detach())


@pytest.mark.behaviour
def test_damps_the_dirac_game() -> None:
    """From 1.414, nothing being random: 0.018 at weight 0.1, 0.455 without, 2.11 at -0.1. At weight 1 the players hang
    on to their past, 0.88."""
    held, plain, pushed = dirac(0.1), dirac(0.0), dirac(-0.1)
    assert held < 0.2 < plain < 1.414 < pushed
