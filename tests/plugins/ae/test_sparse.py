"""Sparse autoencoder: unit columns, and few units at a time."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import gencore
from gencore.data import digits
from gencore.errors import GencoreError
from gencore_ae.parts.penalties import (
    normalise_columns,
)
from tests.plugins.ae.judged import TEST, VARIANCE, error, fit


def test_unit_dictionary_undoes_a_doubled_decoder() -> None:
    recipe = gencore.recipe("sparse-autoencoder", code_dim=16)
    model = recipe.model(recipe.config)
    layer, objective = model.decoder[0], recipe.stages[0].objective
    normalise_columns(layer)
    before = layer.weight.detach().clone()
    layer.weight.data.mul_(2)
    objective.after_step(model, "autoencoder", [])
    torch.testing.assert_close(layer.weight.detach(), before)
    torch.testing.assert_close(before.norm(dim=0), torch.ones(16))


@torch.no_grad()
def active(model: Any) -> float:
    """The share of the code's units that are on."""
    return (model.encode(TEST) > 1e-3).float().mean().item()


@pytest.mark.behaviour
def test_sparse_codes_are_sparse_and_still_rebuild(measured) -> None:
    """Twin: lambda = 0. Three seeds: 0.24 to 0.25 of the units, 0.96 to 0.97 explained; the twin uses 0.40 or more."""
    model = fit("sparse-autoencoder", sparsity=0.12)
    explained = 1 - error(model) / VARIANCE
    assert explained > 0.94, explained
    measured(
        "sparse-autoencoder",
        "share of the code's units that are on",
        figure=active(model),
        twin=active(fit("sparse-autoencoder", sparsity=0.0)),
        bar=0.35,
        better="lower",
    )


@pytest.mark.behaviour
def test_sparsity_is_evaded_without_unit_columns() -> None:
    """With a free decoder the code shrinks and the dictionary grows: the twin of the norm constraint."""
    recipe = gencore.recipe("sparse-autoencoder", steps=1500)
    recipe.stages[0].objective.after = None
    free = gencore.Trainer(recipe, digits("train"), cpu=True).fit().eval()
    held = fit("sparse-autoencoder", steps=1500)
    norms = [model.decoder[0].weight.norm(dim=0).detach() for model in (held, free)]
    torch.testing.assert_close(norms[0], torch.ones(128))
    assert norms[1].max() > 2


@pytest.mark.parametrize(("arguments", "message"), [({"sparsity": -0.1}, "sparsity")])
def test_bad_arguments_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(GencoreError, match=message):
        gencore.recipe("sparse-autoencoder", **arguments)
