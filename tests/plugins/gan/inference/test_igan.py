"""iGAN: predictor, descent and both together, and edits that stay near."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import gencore
from gencore.data import digits
from gencore.errors import GencoreError
from gencore.latent.inversion import Search, invert
from tests.plugins.default_sampler import draws_nearer

from .codes import held_out


def made(**arguments: Any) -> tuple[Any, Any, dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    recipe = gencore.recipe("igan", hidden=(16,), latent_dim=3, **arguments)
    return recipe.model(recipe.config), recipe.stages[1].objective, {"x": torch.rand(5, 1, 8, 8) * 2 - 1}


def error(model: Any, x: torch.Tensor, z: torch.Tensor, weight: float) -> torch.Tensor:
    """Mean square in pixels, and in the critic's features times their weight, (N,) float64."""
    image = model.generate(z)
    pixels = (image - x).double().square().flatten(1).mean(1)
    return pixels + weight * (model.critic[0](image) - model.critic[0](x)).double().square().mean(1)


def test_the_predictor_learns_the_projections_error_on_real_data() -> None:
    model, objective, batch = made(feature_weight=0.7)
    x = batch["x"]
    loss = objective.loss(model, "encoder", batch).total
    torch.testing.assert_close(loss.double(), error(model, x, model.encoder(x.flatten(1)), 0.7).mean())


def test_the_projection_starts_at_the_guess_and_minimises_the_same_error() -> None:
    model, _, batch = made(feature_weight=0.7, projection_steps=15)
    x = batch["x"]
    with torch.no_grad():
        found = model.project(x)
        torch.testing.assert_close(found.first_loss.double(), error(model, x, model.encode(x), 0.7))
        torch.testing.assert_close(found.loss.double(), error(model, x, found.z, 0.7))
        assert (found.loss < found.first_loss).all()
        torch.testing.assert_close(model.reconstruct(x), model.generate(found.z))
    model, _, _ = made(projection_steps=0)
    with torch.no_grad():
        torch.testing.assert_close(model.project(x).z, model.encode(x))


def test_an_edit_by_hand() -> None:
    """sum m (v - G(z))^2 + smoothness ||z - z0||^2; without strokes nothing moves, a great smoothness lets nothing."""
    model, _, batch = made()
    z0 = torch.randn(5, 3)
    mask = torch.zeros(1, 8, 8)
    mask[:, 2:5, 2:5] = 1
    found = model.edit(z0, batch["x"], mask, smoothness=0.3, steps=20)
    image = model.generate(found.z)
    expected = (mask * (image - batch["x"])).square().flatten(1).sum(1) + 0.3 * (found.z - z0).square().sum(1)
    torch.testing.assert_close(found.loss, expected.detach())
    assert (found.loss < found.first_loss).all()
    assert torch.equal(model.edit(z0, batch["x"], torch.zeros(1, 8, 8)).z, z0)
    stiff = model.edit(z0, batch["x"], mask, smoothness=1e5, steps=20)
    assert (stiff.z - z0).norm() < 0.05 * (found.z - z0).norm()
    with pytest.raises(GencoreError, match="smoothness"):
        model.edit(z0, batch["x"], mask, smoothness=-1.0)


@pytest.mark.behaviour
def test_the_hybrid_is_better_than_either_half(measured) -> None:
    """1800 and 500 steps, seed 0, mean square errors on held-out digits: guess 0.1106, descent from the prior 0.1540,
    both 0.0989, which is 0.894 and 0.64 of them; with a GAN of 800 steps 0.97 and 0.73."""
    recipe = gencore.recipe("igan", steps=1800, inverter_steps=500)
    model = gencore.Trainer(recipe, digits("train"), seed=0, cpu=True).fit().eval()
    x = held_out()
    draws_nearer(model, x)
    with torch.no_grad():
        guess, hybrid = model.generate(model.encode(x)), model.reconstruct(x)
    descent = invert(model, x, search=Search(steps=model.config.projection_steps)).x
    errors = [(image - x).square().mean().item() for image in (guess, descent, hybrid)]
    assert errors[2] < 0.8 * errors[1]
    measured(
        "igan",
        "held-out error of guess and descent over that of the guess alone; the twin descends from the prior",
        figure=errors[2] / errors[0],
        twin=errors[1] / errors[0],
        bar=0.95,
        better="lower",
    )
