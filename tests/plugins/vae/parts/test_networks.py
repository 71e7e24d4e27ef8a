"""The decoder's distribution: its constant, and the floor of a learned variance."""

from __future__ import annotations

import math

import pytest
import torch

from gencore_vae.parts.networks import LOWEST_LOG_VARIANCE, VAEConfig, data_distribution


def test_gaussian_decoder_keeps_its_constant() -> None:
    """At the mean: -(D / 2) log(2 pi s^2)."""
    config = VAEConfig(data_shape=(3,), decoder_std=0.3)
    distribution = data_distribution(torch.zeros(1, 1, 3), config)
    expected = -1.5 * math.log(2 * math.pi * 0.09)
    assert distribution.log_prob(torch.zeros(1, 3)).item() == pytest.approx(expected, rel=1e-5)


def test_learned_variance_has_a_floor() -> None:
    config = VAEConfig(data_shape=(3,), likelihood="gaussian-diagonal")
    parameters = torch.stack([torch.zeros(3), torch.tensor([-100.0, 0.0, 2.0])])[None]
    variance = data_distribution(parameters, config).variance
    torch.testing.assert_close(variance.log(), torch.tensor([[LOWEST_LOG_VARIANCE, 0.0, 2.0]]))
