"""Penalties against closed forms, and in the loss of the pages that have them."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

import gencore
from gencore_ae.parts.penalties import (
    absolute_sum,
    bernoulli_divergence,
    sigmoid_layer_jacobian,
)


def test_target_penalty_and_its_gradient() -> None:
    """sum_j KL(rho || m_j); d / d m = -rho / m + (1 - rho) / (1 - m), zero at rho; not the swapped KL(m || rho)."""
    mean = torch.tensor([0.01, 0.05, 0.3, 0.9], dtype=torch.float64, requires_grad=True)
    rho = 0.05
    value = bernoulli_divergence(rho, mean)
    expected = sum(rho * math.log(rho / m) + (1 - rho) * math.log((1 - rho) / (1 - m)) for m in mean.tolist())
    assert value.item() == pytest.approx(expected, rel=1e-12)
    (slope,) = torch.autograd.grad(value, mean)
    torch.testing.assert_close(slope, -rho / mean.detach() + (1 - rho) / (1 - mean.detach()))
    assert abs(slope[1]) < 1e-12
    assert bernoulli_divergence(0.05, torch.tensor([0.0, 1.0])).isfinite()


@pytest.mark.parametrize(
    ("name", "key", "per_example"),
    [
        ("sparse-autoencoder", "sparsity", lambda model, x: model.encode(x).abs().sum(1).mean()),
        (
            "target-sparse-autoencoder",
            "weight",
            lambda model, x: bernoulli_divergence(0.05, model.encode(x).mean(0)),
        ),
        (
            "contractive-autoencoder",
            "weight",
            lambda model, x: sigmoid_layer_jacobian(model.encode(x), model.linear_layers[0].weight).mean(),
        ),
    ],
)
def test_penalties_are_in_the_loss_and_in_its_gradient(name: str, key: str, per_example: Any) -> None:
    """loss(weight) - loss(0) = weight * penalty, and the same of the encoder's gradient."""
    torch.manual_seed(0)
    recipes = [gencore.recipe(name, code_dim=12, **{key: weight}) for weight in (0.7, 0.0)]
    model = recipes[0].model(recipes[0].config).double()
    x = torch.rand(9, 1, 8, 8, dtype=torch.float64) * 2 - 1
    with_term, without = (r.stages[0].objective.loss(model, "autoencoder", {"x": x}).total for r in recipes)
    term = 0.7 * per_example(model, x)
    torch.testing.assert_close(with_term - without, term)
    weight = model.encoder[1].weight
    slopes = [torch.autograd.grad(value, weight)[0] for value in (with_term, without, term)]
    torch.testing.assert_close(slopes[0] - slopes[1], slopes[2])


def test_absolute_sum() -> None:
    assert absolute_sum(torch.tensor([[1.0, -2.0], [0.0, 5.0]])).item() == 4.0
