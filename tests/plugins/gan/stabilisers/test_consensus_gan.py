"""Consensus optimisation on the Dirac-GAN; its formulas stand in tests/core/adversarial/test_consensus.py."""

from __future__ import annotations

import pytest
import torch
from dirac_game import played, radius

import gencore
from gencore.data.toys.dirac import dirac
from gencore.errors import GencoreError
from tests.plugins.default_sampler import draws_nearer


def test_players_step_together() -> None:
    """One step of the default training from (1, 1), by hand: v = (-s(-1), s(1)) with s the sigmoid, and 1/2 ||v||^2 =
    1/2 (psi^2 s(-theta psi)^2 + theta^2 s(theta psi)^2), whose slope is taken by finite differences."""
    model = gencore.Trainer(gencore.recipe("consensus-gan", steps=1), dirac(), cpu=True).fit()

    def length(w: torch.Tensor) -> torch.Tensor:
        product = w.prod()
        return 0.5 * ((w[1] * torch.sigmoid(-product)).square() + (w[0] * torch.sigmoid(product)).square())

    start, step = torch.ones(2, dtype=torch.float64), 1e-6 * torch.eye(2, dtype=torch.float64)
    slope = torch.stack([(length(start + e) - length(start - e)) / 2e-6 for e in step])
    one = torch.tensor(1.0, dtype=torch.float64)
    field = torch.stack([-torch.sigmoid(-one), torch.sigmoid(one)])
    expected = start - 0.1 * (field + 1.0 * slope)
    got = torch.cat([model.generator.theta, model.critic.psi]).double()
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)


def test_negative_weight_is_refused() -> None:
    with pytest.raises(GencoreError, match="weight is -1"):
        gencore.recipe("consensus-gan", weight=-1.0)


@pytest.mark.behaviour
def test_the_spiral_ends(measured) -> None:
    """|(theta, psi)| over the last 200 of 1500 steps, from 1.414: nothing in it is random, so all seeds agree.
    Measured: page 2.7e-14; weight 0, which is simultaneous gradient descent, 0.458; untrained 1.414."""
    (page, model), twin = played("consensus-gan"), radius("consensus-gan", weight=0.0)
    draws_nearer(model, dirac().x)
    what = "distance to the Dirac game's equilibrium"
    measured("consensus-gan", what, figure=page, twin=twin, bar=1e-3, better="lower")
