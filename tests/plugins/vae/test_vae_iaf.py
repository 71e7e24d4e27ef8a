"""The flow: causality, Jacobian, order."""

from __future__ import annotations

import pytest
import torch

from gencore_vae.iaf_vae import MADE, IAFVAEConfig, InverseAutoregressiveFlow


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
