"""BEGAN: the feedback by hand, and the balance that it holds."""

from __future__ import annotations

import pytest
import torch

import gencore
from gencore_gan.objectives.began import BEGAN, Equilibrium, convergence, updated_share
from gencore_gan.parts.autoencoder_critic import AutoencoderGANConfig


def share(k: float, real: float, fake: float, gamma: float = 0.5, rate: float = 0.1) -> float:
    return updated_share(torch.tensor(k), torch.tensor(real), torch.tensor(fake), gamma=gamma, rate=rate).item()


def test_the_feedback_by_hand() -> None:
    """k + rate (gamma L(x) - L(G)): 0.2 + 0.1 (0.5 * 0.8 - 0.1) = 0.23; held at both ends."""
    assert share(0.2, real=0.8, fake=0.1) == pytest.approx(0.23)
    assert share(0.2, real=0.8, fake=0.6) == pytest.approx(0.18)
    assert share(0.0, real=0.1, fake=1.0) == 0
    assert share(1.0, real=1.0, fake=0.1) == 1


def test_the_convergence_measure_by_hand() -> None:
    """0.8 + |0.5 * 0.8 - 0.1|, and the same on the other side of the balance."""
    assert convergence(torch.tensor(0.8), torch.tensor(0.1), 0.5).item() == pytest.approx(1.1)
    assert convergence(torch.tensor(0.8), torch.tensor(0.7), 0.5).item() == pytest.approx(1.1)


def test_the_phases_losses_are_their_formulas() -> None:
    torch.manual_seed(0)
    model, batch = BEGAN(AutoencoderGANConfig(width=4)), {"x": torch.randn(6, 1, 8, 8)}
    objective = Equilibrium(gamma=0.5, k_rate=0.1)
    objective.k.fill_(0.25)
    torch.manual_seed(1)
    fake = model.generate(2 * torch.rand(6, 16) - 1)
    on_real = (model.reconstruct(batch["x"]) - batch["x"]).abs().mean()
    on_fake = (model.reconstruct(fake) - fake).abs().mean()
    torch.manual_seed(1)
    loss = objective.loss(model, "critic", batch)
    torch.testing.assert_close(loss.total, on_real - 0.25 * on_fake)
    torch.testing.assert_close(loss.seen, torch.stack([on_real, on_fake]).detach())
    torch.manual_seed(1)
    torch.testing.assert_close(objective.loss(model, "generator", batch).total, on_fake)
    assert objective.k.item() == 0.25


def test_the_feedback_follows_the_critics_step_alone() -> None:
    """Over accumulated batches it takes the mean: errors 0.8, 0.4 and 0.2, 0.0 give 0.2 + 0.1 (0.5 * 0.6 - 0.1)."""
    objective = Equilibrium(gamma=0.5, k_rate=0.1)
    objective.k.fill_(0.2)
    objective.after_step(None, "generator", [])
    assert objective.k.item() == pytest.approx(0.2)
    objective.after_step(None, "critic", [torch.tensor([0.8, 0.2]), torch.tensor([0.4, 0.0])])
    assert objective.k.item() == pytest.approx(0.22)


@pytest.mark.parametrize(("name", "value"), [("gamma", 0.0), ("k_rate", -1.0)])
def test_bad_arguments(name: str, value: object) -> None:
    with pytest.raises(gencore.GencoreError, match=name):
        gencore.recipe("began", **{name: value})
