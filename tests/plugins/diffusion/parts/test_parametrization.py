"""Parametrisations against formulas written out a second time."""

from __future__ import annotations

import itertools

import pytest
import torch

from gencore.errors import GencoreError
from gencore_diffusion.parts.parametrization import PARAMETRIZATIONS, convert, scalings


@pytest.fixture
def noised() -> dict[str, torch.Tensor]:
    """Random x0, eps, sigma over six decades, and each target from its paper's own definition."""
    generator = torch.Generator().manual_seed(0)
    x0, eps = torch.randn(2, 20, 3, generator=generator, dtype=torch.float64)
    sigma = torch.logspace(-3, 3, 20, dtype=torch.float64)
    alpha = (1 + sigma**2).rsqrt()[:, None]
    beta = (1 - alpha**2).sqrt()
    return {
        "sigma": sigma,
        "x": x0 + sigma[:, None] * eps,
        "x0": x0,
        "eps": eps,
        "v": alpha * eps - beta * x0,
        "score": -eps / sigma[:, None],
    }


@pytest.mark.parametrize(("source", "target"), list(itertools.permutations(PARAMETRIZATIONS, 2)))
def test_conversions(noised: dict[str, torch.Tensor], source: str, target: str) -> None:
    """All twelve: exact against the definition. Rounding grows where x0 or eps is hidden by the other."""
    converted = convert(noised[source], noised["x"], noised["sigma"], source=source, target=target)
    torch.testing.assert_close(converted, noised[target], rtol=1e-8, atol=1e-9)
    back = convert(converted, noised["x"], noised["sigma"], source=target, target=source)
    torch.testing.assert_close(back, noised[source], rtol=1e-8, atol=1e-9)
    middle = slice(7, 13)  # sigma from 0.16 to 6, where neither hides the other
    torch.testing.assert_close(back[middle], noised[source][middle], rtol=1e-12, atol=1e-12)


def test_loss_weights(noised: dict[str, torch.Tensor]) -> None:
    """An error of x0 shows as SNR times its square in eps, (1 + SNR) times in v, 1 / sigma^4 in the score."""
    sigma, x = noised["sigma"], noised["x"]
    wrong = noised["x0"] + 1.0
    weights = {"eps": sigma**-2, "v": 1 + sigma**-2, "score": sigma**-4}
    for name, weight in weights.items():
        error = convert(wrong, x, sigma, source="x0", target=name) - noised[name]
        torch.testing.assert_close(error.square().mean(1), weight, rtol=1e-6, atol=0)


def test_unknown_parametrization() -> None:
    with pytest.raises(GencoreError, match=r"'epsilon'.*'eps'"):
        scalings("epsilon", torch.ones(()))
