"""Distributions and their formulas against hand values, Monte Carlo and torch.distributions."""

from __future__ import annotations

import math

import pytest
import torch
from torch import distributions as reference

from gencore.nn.distributions import DiagonalGaussian, OneHot, SignedBernoulli
from gencore.nn.likelihood import gaussian_log_prob, kl_to_standard_normal
from gencore.noise import GlobalNoise, Noise


def test_kl_by_hand_and_by_monte_carlo() -> None:
    """mean 2, std e: (4 + e^2 - 1 - 2) / 2."""
    mean, log_variance = torch.tensor(2.0).double(), torch.tensor(2.0).double()
    assert kl_to_standard_normal(mean, log_variance).item() == pytest.approx((4 + math.e**2 - 3) / 2)
    torch.manual_seed(0)
    mean, log_variance = torch.tensor(1.0).double(), torch.tensor(-1.0).double()
    z = mean + torch.exp(0.5 * log_variance) * torch.randn(1_000_000, 1, dtype=torch.float64)
    zero = torch.zeros((), dtype=torch.float64)
    sampled = (gaussian_log_prob(z, mean, log_variance, 1) - gaussian_log_prob(z, zero, zero, 1)).mean()
    assert sampled.item() == pytest.approx(kl_to_standard_normal(mean, log_variance).item(), rel=5e-3)


def test_gaussian_is_torchs() -> None:
    mean, log_variance, value = torch.randn(3, 4, 2, 5)
    ours = DiagonalGaussian(mean, log_variance)
    theirs = reference.Independent(reference.Normal(mean, torch.exp(0.5 * log_variance)), 2)
    torch.testing.assert_close(ours.log_prob(value), theirs.log_prob(value))
    standard = reference.Independent(reference.Normal(torch.zeros(4, 2, 5), 1.0), 2)
    torch.testing.assert_close(ours.kl_to_standard_normal(), reference.kl_divergence(theirs, standard))
    torch.testing.assert_close(ours.variance, theirs.variance)
    assert ours.event_shape == (2, 5)


def test_one_variance_for_all_is_the_same_gaussian() -> None:
    mean, value = torch.randn(2, 4, 2, 5)
    one = torch.tensor(-0.7)
    single, full = DiagonalGaussian(mean, one), DiagonalGaussian(mean, one.expand_as(mean))
    torch.testing.assert_close(single.log_prob(value), full.log_prob(value))
    torch.testing.assert_close(single.log_prob(value.expand(3, 4, 2, 5)), full.log_prob(value).expand(3, 4))
    torch.testing.assert_close(single.kl_to_standard_normal(), full.kl_to_standard_normal())
    torch.testing.assert_close(single.variance, full.variance)


def test_pathwise_gradient() -> None:
    """d/d(mean, std) E z^2 = (2 mean, 2 std)."""
    torch.manual_seed(0)
    mean, std = torch.tensor([[0.7]], requires_grad=True), torch.tensor([[1.3]], requires_grad=True)
    z = DiagonalGaussian(mean, 2 * std.log()).draw(GlobalNoise(1, mean.device), 200_000)
    slopes = torch.autograd.grad(z.square().mean(), (mean, std))
    assert slopes[0].item() == pytest.approx(1.4, rel=0.02)
    assert slopes[1].item() == pytest.approx(2.6, rel=0.02)


@pytest.mark.parametrize("distribution", [DiagonalGaussian, SignedBernoulli, OneHot])
def test_draws_depend_on_their_stream_alone(distribution: type) -> None:
    torch.manual_seed(0)
    parameter = torch.randn(6, 2, 3)
    many = distribution(*([parameter] * (2 if distribution is DiagonalGaussian else 1)))
    few = distribution(*([parameter[4:]] * (2 if distribution is DiagonalGaussian else 1)))
    assert many.draw(Noise(7, 0, 6), 5).shape == (5, 6, 2, 3)
    assert torch.equal(many.draw(Noise(7, 0, 6), 5)[:, 4:], few.draw(Noise(7, 4, 2), 5))
    assert many.sample((2, 3)).shape == (2, 3, 6, 2, 3)


def test_moments_of_draws() -> None:
    torch.manual_seed(0)
    parameter = torch.randn(2, 4)
    for made in (DiagonalGaussian(parameter, parameter), SignedBernoulli(parameter), OneHot(parameter)):
        z = made.draw(GlobalNoise(2, parameter.device), 100_000)
        torch.testing.assert_close(z.mean(0), made.mean, atol=0.02, rtol=0)
        if isinstance(made, DiagonalGaussian):
            torch.testing.assert_close(z.var(0), made.variance, rtol=0.03, atol=0)


def test_signed_bernoulli_is_torchs() -> None:
    logits = torch.randn(3, 1, 2, 2)
    x = torch.randint(0, 2, logits.shape).float()
    theirs = reference.Independent(reference.Bernoulli(logits=logits), 3)
    torch.testing.assert_close(SignedBernoulli(logits).log_prob(2 * x - 1), theirs.log_prob(x))
    torch.testing.assert_close(SignedBernoulli(logits).mean, 2 * theirs.mean - 1)


def test_one_hot_is_torchs() -> None:
    logits = torch.randn(3, 2, 5)
    x = torch.nn.functional.one_hot(torch.randint(0, 5, (4, 3, 2)), 5).float()
    theirs = reference.Independent(reference.OneHotCategorical(logits=logits), 1)
    torch.testing.assert_close(OneHot(logits).log_prob(x), theirs.log_prob(x))
    uniform = reference.Independent(reference.OneHotCategorical(logits=torch.zeros(3, 2, 5)), 1)
    torch.testing.assert_close(OneHot(logits).kl_to_uniform(), reference.kl_divergence(theirs, uniform))


def test_discrete_draws_have_no_pathwise_gradient() -> None:
    with pytest.raises(NotImplementedError, match="no pathwise gradient"):
        OneHot(torch.zeros(1, 2)).rsample()
