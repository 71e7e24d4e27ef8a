"""Schedules and grids of noise levels against formulas written out a second time."""

from __future__ import annotations

import math

import pytest
import torch

from gencore.errors import GencoreError
from gencore_diffusion.parts import schedules


def test_schedule_tables() -> None:
    """Figures of the papers' schedules for T = 1000."""
    linear = schedules.alphas_cumprod(schedules.betas("linear", 1000))
    cosine_betas = schedules.betas("cosine", 1000)
    cosine = schedules.alphas_cumprod(cosine_betas)
    assert linear[-1].item() == pytest.approx(4.04e-5, rel=2e-3)
    assert linear[499].item() == pytest.approx(0.0786, abs=5e-5)
    assert cosine_betas[0].item() == pytest.approx(4.13e-5, rel=2e-3)
    assert cosine_betas[-1].item() == 0.999
    assert cosine[499].item() == pytest.approx(0.4938, abs=5e-5)
    for alphas in (linear, cosine):
        assert (schedules.sigmas_of(alphas).diff() > 0).all()


def test_linear_schedule_is_rescaled() -> None:
    """Another T ends at about the same signal."""
    ends = [schedules.alphas_cumprod(schedules.betas("linear", total))[-1].item() for total in (500, 1000, 2000)]
    assert max(ends) / min(ends) < 1.3


def test_grids() -> None:
    karras, geometric = schedules.karras(80.0, 0.002, 18), schedules.geometric(10.0, 0.01, 4)
    assert (karras[0], karras[-1], len(karras)) == (80.0, 0.002, 18)
    roots = torch.tensor(karras, dtype=torch.float64) ** (1 / 7)
    torch.testing.assert_close(roots.diff(), roots.diff().mean().expand(17))
    assert geometric == pytest.approx([10.0, 1.0, 0.1, 0.01])
    assert schedules.karras(80.0, 20.0, 4, rho=1.0) == pytest.approx([80.0, 60.0, 40.0, 20.0])
    for grid in (schedules.karras, schedules.geometric):
        assert (grid(80.0, 0.002, 1), grid(80.0, 0.002, 2)) == ([80.0], [80.0, 0.002])
    with pytest.raises(GencoreError, match="rho is 0"):
        schedules.karras(80.0, 0.002, 4, rho=0.0)


@pytest.mark.parametrize(
    "sigmas", [[1.0, 1.0, 0.0], [0.5, 1.0], [1.0], [1.0, -0.1], [math.inf, 1.0], [1.0, math.nan, 0.0]]
)
def test_sigmas_must_fall(sigmas: list[float]) -> None:
    with pytest.raises(GencoreError, match="strictly decreasing"):
        schedules.check_sigmas(sigmas)


def test_unknown_schedules_are_refused() -> None:
    with pytest.raises(GencoreError, match="quadratic"):
        schedules.betas("quadratic", 10)


def test_zero_terminal_signal_is_refused() -> None:
    with pytest.raises(GencoreError, match="reaches 0"):
        schedules.sigmas_of(torch.tensor([0.5, 0.0]))
