"""Errors of a reconstruction: their sums, minima and likelihoods."""

from __future__ import annotations

import pytest
import torch

from gencore_ae.parts.losses import bernoulli_error, squared_error


def test_squared_error_is_summed_over_an_example() -> None:
    assert squared_error(torch.ones(3, 2, 2), torch.zeros(3, 2, 2)).tolist() == [4.0] * 3


def test_bernoulli_error_is_least_at_x_and_is_the_entropy_there() -> None:
    brightness = torch.rand(5, 7, dtype=torch.float64)
    logits = brightness.logit().requires_grad_()
    error = bernoulli_error(logits, 2 * brightness - 1)
    (slope,) = torch.autograd.grad(error.sum(), logits)
    assert slope.abs().max() < 1e-12
    entropy = -(brightness * brightness.log() + (1 - brightness) * (1 - brightness).log()).sum(1)
    torch.testing.assert_close(error.detach(), entropy)


def test_bernoulli_error_is_a_likelihood_on_binary_data() -> None:
    """exp(-error) sums to one over all 2^4 outcomes."""
    outcomes = 2.0 * torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 4).double() - 1
    logits = torch.randn(1, 4, dtype=torch.float64).expand(16, 4)
    assert bernoulli_error(logits, outcomes).neg().exp().sum().item() == pytest.approx(1, abs=1e-12)
