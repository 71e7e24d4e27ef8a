"""Overcomplete autoencoder: a code larger than the data needs a regulariser."""

from __future__ import annotations

import pytest
import torch

import gencore
from gencore.errors import GencoreError
from tests.plugins.ae.judged import NOISE_ENERGY, error, fit, noisy


@pytest.mark.behaviour
def test_overcomplete_code_needs_a_regulariser(measured) -> None:
    """Regularised, it takes noise away and cannot rebuild what is no digit; free, it is the identity (the twin).

    Three seeds: clean 0.004 to 0.005, noise passed on 0.76 against 0.22, nonsense 11.0 to 11.6 against 31 to 33.
    """
    free = fit("overcomplete-autoencoder", regulariser="none")
    held = fit("overcomplete-autoencoder", regulariser="noise", strength=0.5)
    nonsense = torch.rand(400, 1, 8, 8, generator=torch.Generator().manual_seed(1)) * 2 - 1
    passed_on = [error(model, noisy()) / NOISE_ENERGY for model in (free, held)]
    rebuilt = [error(model, nonsense, nonsense) for model in (free, held)]
    assert error(free) < 0.01
    assert passed_on[0] > 0.6, passed_on
    assert rebuilt[1] > 2 * rebuilt[0], rebuilt
    measured(
        "overcomplete-autoencoder",
        "share of the noise's energy passed on",
        figure=passed_on[1],
        twin=passed_on[0],
        bar=0.35,
        better="lower",
    )


@pytest.mark.behaviour
def test_jacobian_penalty_regularises_too() -> None:
    model = fit("overcomplete-autoencoder", steps=1500, regulariser="jacobian", strength=0.1)
    assert error(model, noisy()) / NOISE_ENERGY < 0.6


@pytest.mark.parametrize(
    ("arguments", "message"), [({"code_dim": 32}, "at least 64"), ({"regulariser": "hope"}, "hope")]
)
def test_bad_arguments_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(GencoreError, match=message):
        gencore.recipe("overcomplete-autoencoder", **arguments)
