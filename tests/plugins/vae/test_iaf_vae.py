"""IAF-VAE: the flow's causality, Jacobian and order, and the gap to the truth that it closes."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

import gencore
from gencore_vae.iaf_vae import MADE, IAFVAEConfig, InverseAutoregressiveFlow
from tests.plugins.default_sampler import draws_nearer
from tests.plugins.vae import linear_gaussian as truth


@pytest.mark.parametrize("hidden", [(), (7,), (16, 16)])
@pytest.mark.parametrize("dim", [1, 2, 5])
def test_made_sees_only_earlier_places(dim: int, hidden: tuple[int, ...]) -> None:
    """The Jacobian of m and s is strictly lower triangular, and full below where the hidden layers are wide enough."""
    torch.manual_seed(0)
    made = MADE(dim, hidden, 3).double()
    z, context = torch.randn(dim).double(), torch.randn(3).double()
    for output in (0, 1):
        jacobian = torch.autograd.functional.jacobian(lambda z, o=output: made(z, context)[o], z)
        assert torch.equal(jacobian, jacobian.tril(-1))
        assert (jacobian[torch.tril_indices(dim, dim, -1).unbind()] != 0).all()
    assert not torch.equal(made(z, context)[0], made(z, context + 1)[0])


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_log_determinant(steps: int) -> None:
    torch.manual_seed(0)
    config = IAFVAEConfig(data_shape=(4,), latent_dim=5, flow_steps=steps, flow_hidden=(16,), context_dim=2)
    flow = InverseAutoregressiveFlow(config).double()
    z, context = torch.randn(5).double(), torch.randn(2).double()
    jacobian = torch.autograd.functional.jacobian(lambda z: flow(z, context)[0], z)
    torch.testing.assert_close(flow(z, context)[1], torch.linalg.slogdet(jacobian).logabsdet, atol=1e-9, rtol=0)
    if steps == 1:
        assert torch.equal(jacobian, jacobian.tril())


def test_the_order_is_reversed_between_steps() -> None:
    """After two steps every place depends on every other; without the reversal the first would depend on none."""
    torch.manual_seed(0)
    config = IAFVAEConfig(data_shape=(4,), latent_dim=4, flow_steps=2, flow_hidden=(16,), context_dim=0)
    flow = InverseAutoregressiveFlow(config).double()
    jacobian = torch.autograd.functional.jacobian(
        lambda z: flow(z, torch.zeros(0).double())[0], torch.randn(4).double()
    )
    assert ((jacobian != 0).sum(1) > 1).all()


def test_a_step_starts_near_the_identity() -> None:
    torch.manual_seed(0)
    config = IAFVAEConfig(data_shape=(4,), latent_dim=6, flow_steps=1, flow_hidden=(64,), context_dim=0)
    z = torch.randn(100, 6)
    moved, _ = InverseAutoregressiveFlow(config)(z, torch.zeros(100, 0))
    assert torch.nn.functional.cosine_similarity(moved, z).min() > 0.95


@pytest.mark.parametrize(("argument", "value"), [("flow_steps", 0), ("free_bits", -1.0)])
def test_bad_arguments(argument: str, value: object) -> None:
    with pytest.raises(gencore.GencoreError, match=argument):
        gencore.recipe("iaf-vae", **{argument: value})


@pytest.mark.parametrize("k", [1, 7])
def test_one_linear_flow_step_closes_the_gap(k: int) -> None:
    """To rounding, for every x and every sample: the posterior is exact."""
    model = truth.exact_flow_vae()
    x = truth.draw(200, seed=1)
    torch.testing.assert_close(model.bound(x, k), truth.log_prob(x), atol=2e-4, rtol=0)


def test_flow_without_its_jacobian_is_wrong() -> None:
    """The twin: it lies above log p(x), by two gates of sigmoid(1), 0.627 nats."""
    model = truth.exact_flow_vae()
    x = truth.draw(50, seed=1)
    flow = model.flow.forward
    model.flow.forward = lambda z, context: (flow(z, context)[0], torch.zeros(()))
    error = (model.bound(x) - truth.log_prob(x)).mean().item()
    assert error == pytest.approx(-2 * math.log(torch.tensor(1.0).sigmoid().item()), abs=1e-3)


def trained_gap(system: str, **flow: Any) -> float:
    """What the best posterior that training finds for the true decoder misses, nats. With that decoder the default
    sampler draws the truth, whatever the posterior."""
    made = truth.posterior_only(truth.recipe(system, batch_size=128, learning_rate=1e-2, **flow), steps=1500)
    model = truth.with_the_true_decoder(made)
    draws_nearer(model, truth.draw(1000), share=0.2)
    return truth.gap(model, 1)


@pytest.mark.behaviour
def test_training_finds_the_best_posterior(measured) -> None:
    """Measured gaps after 2000 steps: 0.003 with the flow, 1.20 for the twin without it (its floor is 1.147)."""
    left = trained_gap("iaf-vae", likelihood="gaussian", flow_steps=1, flow_hidden=(), context_dim=2)
    twin = trained_gap("vae")
    assert left > -0.05
    assert twin > truth.GAP - 0.06
    measured("iaf-vae", "nats that the bound misses log p(x) by", figure=left, twin=twin, bar=0.1, better="lower")
