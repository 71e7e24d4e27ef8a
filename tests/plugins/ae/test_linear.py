"""Linear autoencoder: it is PCA."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

import gencore
from gencore.data import digits
from gencore.errors import GencoreError
from tests.plugins.ae.judged import TRAIN, error, fit, principal_axes


def test_linear_autoencoder_works_around_the_mean_of_what_it_saw() -> None:
    """z = A (x - m), x = B z + m, with m the average over two steps of two batches each."""
    recipe = gencore.recipe("linear-autoencoder", code_dim=3, data_shape=(2, 4, 4))
    model, objective = recipe.model(recipe.config), recipe.stages[0].objective
    x = torch.rand(2, 2, 6, 2, 4, 4) * 2 - 1
    for batches in x:
        seen = [objective.loss(model, "autoencoder", {"x": batch}).seen for batch in batches]
        with torch.no_grad():
            objective.after_step(model, "autoencoder", seen)
    mean, x = x.flatten(0, 2).mean(0), x[0, 0]
    torch.testing.assert_close(model.mean, mean)
    z = (x - mean).flatten(1) @ model.encoder[1].weight.T
    torch.testing.assert_close(model.encode(x), z)
    torch.testing.assert_close(model.generate(z), (z @ model.decoder[0].weight.T).view(-1, 2, 4, 4) + mean)


def angle_to_principal_axes(model: Any) -> float:
    """The largest, in degrees, of the space that the decoder spans."""
    basis = torch.linalg.qr(model.decoder[0].weight.detach().double()).Q
    cosines = torch.linalg.svdvals(basis.T @ principal_axes(8))
    return torch.rad2deg(torch.acos(cosines.min().clamp(max=1))).item()


@pytest.mark.behaviour
def test_linear_autoencoder_is_pca(measured) -> None:
    """The largest angle to the principal subspace under a degree, the error that of PCA. Twin: stopped early."""
    model = fit("linear-autoencoder", steps=2000)
    discarded = torch.linalg.svdvals((TRAIN - TRAIN.mean(0)).double())[8:].square().sum().item() / len(TRAIN)
    ratio = error(model, TRAIN.view(-1, 1, 8, 8), TRAIN.view(-1, 1, 8, 8)) / discarded
    assert ratio < 1.001, ratio
    measured(
        "linear-autoencoder",
        "largest angle to the principal subspace, degrees",
        figure=angle_to_principal_axes(model),
        twin=angle_to_principal_axes(fit("linear-autoencoder", steps=100)),
        bar=1.0,
        better="lower",
    )


@pytest.mark.behaviour
def test_stages_are_frozen_values() -> None:
    """A recipe can be re-used: training does not change it."""
    recipe = gencore.recipe("linear-autoencoder", steps=5)
    first = gencore.Trainer(recipe, digits("train"), cpu=True).fit()
    second = gencore.Trainer(dataclasses.replace(recipe), digits("train"), cpu=True).fit()
    assert torch.equal(first.decoder[0].weight, second.decoder[0].weight)


@pytest.mark.parametrize(
    ("arguments", "message"), [({"code_dim": 0}, "code_dim"), ({"data_shape": (1, 0, 8)}, "positive sizes")]
)
def test_bad_arguments_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(GencoreError, match=message):
        gencore.recipe("linear-autoencoder", **arguments)
