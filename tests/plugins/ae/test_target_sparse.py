"""Sparse autoencoder with a target: units keep to rho."""

from __future__ import annotations

import pytest
import torch

import gencore
from gencore.errors import GencoreError
from tests.plugins.ae.judged import TEST, VARIANCE, error, fit


@pytest.mark.behaviour
def test_target_sparse_units_keep_to_rho(measured) -> None:
    """Mean activation about 0.05, for every unit. Twin: beta = 0, about one half."""
    ranges = []
    for weight in (1.0, 0.0):
        model = fit("target-sparse-autoencoder", steps=1500, weight=weight)
        with torch.no_grad():
            means = model.encode(TEST).mean(0)
        ranges.append((means.min().item(), means.mean().item(), means.max().item()))
        assert 1 - error(model) / VARIANCE > 0.88
    (low, middle, high), (_, _, twin_high) = ranges
    assert low > 0.02, ranges
    assert 0.04 < middle < 0.07, ranges
    measured(
        "target-sparse-autoencoder",
        "mean activation of the busiest unit",
        figure=high,
        twin=twin_high,
        bar=0.12,
        better="lower",
    )


@pytest.mark.parametrize(("arguments", "message"), [({"rho": 0.0}, "rho")])
def test_bad_arguments_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(GencoreError, match=message):
        gencore.recipe("target-sparse-autoencoder", **arguments)
