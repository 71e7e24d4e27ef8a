"""Contractive autoencoder: both forms of its Jacobian, and codes that move little."""

from __future__ import annotations

import pytest
import torch

import gencore
from gencore.errors import GencoreError
from gencore_ae.parts.penalties import (
    estimated_jacobian,
    sigmoid_layer_jacobian,
)
from tests.plugins.ae.judged import TEST, VARIANCE, error, fit


def autograd_jacobian(encode: object, x: torch.Tensor) -> torch.Tensor:
    """||df / dx||_F^2 of each example, (N,), one exact Jacobian after the other."""
    return torch.stack(
        [torch.autograd.functional.jacobian(lambda one: encode(one[None])[0], row).square().sum() for row in x]
    )


def test_contractive_closed_form_is_the_jacobian() -> None:
    torch.manual_seed(0)
    recipe = gencore.recipe("contractive-autoencoder", code_dim=16)
    model = recipe.model(recipe.config).double()
    x = torch.rand(6, 1, 8, 8, dtype=torch.float64) * 2 - 1
    closed = sigmoid_layer_jacobian(model.encode(x), model.linear_layers[0].weight)
    torch.testing.assert_close(closed, autograd_jacobian(model.encode, x), rtol=1e-10, atol=0)


def test_hutchinson_agrees_with_the_jacobian_of_a_deep_encoder() -> None:
    torch.manual_seed(0)
    recipe = gencore.recipe("contractive-autoencoder", code_dim=16, hidden=(24,), jacobian="hutchinson")
    model = recipe.model(recipe.config).double()
    x = torch.rand(4, 1, 8, 8, dtype=torch.float64) * 2 - 1
    exact = autograd_jacobian(model.encode, x).mean()
    assert estimated_jacobian(model.encode, x, 2000).mean().item() == pytest.approx(exact.item(), rel=0.05)


def test_both_jacobians_send_the_same_gradient_to_the_encoder() -> None:
    """A penalty cut off from the graph, or one on the weights alone, would not."""
    torch.manual_seed(0)
    recipe = gencore.recipe("contractive-autoencoder", code_dim=8)
    model = recipe.model(recipe.config).double()
    x = torch.rand(3, 1, 8, 8, dtype=torch.float64) * 2 - 1
    weight = model.linear_layers[0].weight
    (closed,) = torch.autograd.grad(sigmoid_layer_jacobian(model.encode(x), weight).mean(), weight)
    (estimate,) = torch.autograd.grad(estimated_jacobian(model.encode, x, 4000).mean(), weight)
    assert ((estimate - closed).norm() / closed.norm()).item() < 0.1


def test_contractive_weights_are_tied() -> None:
    recipe = gencore.recipe("contractive-autoencoder", code_dim=5, hidden=(7,), jacobian="hutchinson")
    model = recipe.model(recipe.config)
    first, second = (layer.weight for layer in model.linear_layers)
    z = torch.rand(2, 5)
    torch.testing.assert_close(model.raw_output(z).flatten(1), (z @ second).sigmoid() @ first)


@pytest.mark.behaviour
@pytest.mark.parametrize("jacobian", ["closed-form", "hutchinson"])
def test_contractive_code_moves_little(jacobian: str, measured) -> None:
    """The Jacobian is a quarter or less of the twin's, whose penalty has weight 0; reconstruction still works.

    Three seeds, in closed form: 1.38 to 1.42 against 7.50 to 7.61; 0.16 to 0.17 of the variance is lost.
    """
    norms = []
    for weight in (2.0, 0.0):
        model = fit("contractive-autoencoder", steps=1000, weight=weight, jacobian=jacobian)
        torch.manual_seed(0)
        norms.append(estimated_jacobian(model.encode, TEST, 50).mean().item())
        assert error(model) < 0.25 * VARIANCE
    measured(
        "contractive-autoencoder",
        f"squared norm of the encoder's Jacobian over the twin's, penalty: {jacobian}",
        figure=norms[0] / norms[1],
        twin=1.0,
        bar=1 / 4,
        better="lower",
    )


@pytest.mark.parametrize(
    ("arguments", "message"), [({"data_shape": (1, 0, 8)}, "positive sizes"), ({"hidden": (8,)}, "hutchinson")]
)
def test_bad_arguments_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(GencoreError, match=message):
        gencore.recipe("contractive-autoencoder", **arguments)
