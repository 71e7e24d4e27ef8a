"""The shared objective: its rate, its target, and that labels do not reach it."""

from __future__ import annotations

import pytest
import torch

import gencore
from gencore.errors import GencoreError
from gencore_ae.parts.reconstruction import Reconstruction, cosine


def test_a_rate_warms_up_in_a_line_and_falls_along_a_cosine() -> None:
    falling, warmed = cosine(100), cosine(100, warm_up=9)
    assert [falling(step) for step in (0, 50, 100, 200)] == pytest.approx([1.0, 0.5, 0.0, 0.0])
    assert [warmed(step) / falling(step) for step in (0, 4, 9, 10)] == pytest.approx([0.1, 0.5, 1.0, 1.0])


def test_the_target_is_the_clean_input() -> None:
    """With a corruption that wipes x out, a perfect copy of what was seen still pays ||x||^2."""
    recipe = gencore.recipe("deep-autoencoder", hidden=(), code_dim=64)
    model = recipe.model(recipe.config)
    with torch.no_grad():
        for layer in (model.encoder[1], model.decoder[0]):
            layer.weight.copy_(torch.eye(64))
            layer.bias.zero_()
    x = torch.rand(4, 1, 8, 8) * 2 - 1
    loss = Reconstruction(corrupt=torch.zeros_like).loss(model, "autoencoder", {"x": x}).total
    assert loss.item() == pytest.approx(x.square().flatten(1).sum(1).mean().item(), rel=1e-6)
    assert Reconstruction().loss(model, "autoencoder", {"x": x}).total.item() == pytest.approx(0, abs=1e-9)


def test_labels_do_not_reach_the_training() -> None:
    recipe = gencore.recipe("deep-autoencoder", hidden=(16,), code_dim=2)
    model = recipe.model(recipe.config)
    x, objective = torch.rand(4, 1, 8, 8), recipe.stages[0].objective
    losses = [objective.loss(model, "autoencoder", {"x": x, "label": label}).total for label in torch.eye(2).long()]
    assert torch.equal(*losses)


@pytest.mark.parametrize(("x", "message"), [(torch.full((8, 1, 8, 8), 200.0), "127.5"), (torch.nan, "NaN")])
def test_training_refuses_bad_images(x: object, message: str) -> None:
    from gencore.data import InMemory

    images = torch.full((8, 1, 8, 8), x) if isinstance(x, float) else x
    recipe = gencore.recipe("deep-autoencoder", hidden=(8,), code_dim=2, steps=1, batch_size=8)
    with pytest.raises(GencoreError, match=message):
        gencore.Trainer(recipe, InMemory(x=images), cpu=True).fit()
