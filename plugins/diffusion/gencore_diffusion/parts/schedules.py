"""Noise levels: DDPM's two schedules, NCSN's geometric and EDM's power-law grids. All in float64, all on the host.

    linear     beta_t from 1e-4 to 0.02 over 1000 steps
    cosine     alpha-bar = f(t) / f(0), f = cos^2((t/T + s)/(1 + s) pi/2)
    geometric  sigma_i / sigma_{i+1} constant
    karras     sigma_i = (a^(1/rho) + i/(n-1) (b^(1/rho) - a^(1/rho)))^rho
Ho et al. 2020, arXiv:2006.11239, section 4; Nichol & Dhariwal 2021, arXiv:2102.09672, equation 17; Song & Ermon 2019,
arXiv:1907.05600, section 3.1; Karras et al. 2022, arXiv:2206.00364, equation 5.
For T other than 1000 the linear betas are scaled by 1000 / T, so that alpha-bar_T stays about the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from gencore.config import check
from gencore.errors import GencoreError

Schedule = Literal["linear", "cosine"]
LARGEST_BETA = 0.999
COSINE_OFFSET = 0.008


def betas(schedule: Schedule, num_timesteps: int) -> Tensor:
    """beta_1 ... beta_T, float64 (T,). Raises GencoreError for an unknown schedule or fewer than one step."""
    check(num_timesteps >= 1, "num_timesteps", num_timesteps, "at least 1")
    if schedule == "linear":
        scale = 1000 / num_timesteps
        return torch.linspace(1e-4 * scale, 0.02 * scale, num_timesteps, dtype=torch.float64).clamp(max=LARGEST_BETA)
    check(schedule == "cosine", "schedule", schedule, '"linear" or "cosine"')
    times = torch.arange(num_timesteps + 1, dtype=torch.float64) / num_timesteps
    signal = ((times + COSINE_OFFSET) / (1 + COSINE_OFFSET) * math.pi / 2).cos().square()
    return (1 - signal[1:] / signal[:-1]).clamp(max=LARGEST_BETA)


def alphas_cumprod(betas: Tensor) -> Tensor:
    """alpha-bar_t = prod (1 - beta), float64 (T,)."""
    return (1 - betas.double()).cumprod(0)


def sigmas_of(alphas_bar: Tensor) -> Tensor:
    """sigma = sqrt((1 - alpha-bar) / alpha-bar), the noise beside a signal of scale 1. Needs alpha-bar > 0."""
    if not bool((alphas_bar > 0).all()):
        raise GencoreError(
            "alpha-bar reaches 0 (zero terminal signal): sigma is infinite there. Use a schedule that ends above 0."
        )
    return ((1 - alphas_bar) / alphas_bar).sqrt()


def geometric(sigma_max: float, sigma_min: float, count: int) -> list[float]:
    """`count` falling levels of constant ratio, both ends exact."""
    _check_range(sigma_max, sigma_min, count)
    if count == 1:
        return [sigma_max]
    ratio = (sigma_min / sigma_max) ** (1 / (count - 1))
    return [sigma_max, *(sigma_max * ratio**i for i in range(1, count - 1)), sigma_min]


def karras(sigma_max: float, sigma_min: float, count: int, rho: float = 7.0) -> list[float]:
    """`count` falling levels, denser near sigma_min the larger rho; both ends exact."""
    _check_range(sigma_max, sigma_min, count)
    check(rho > 0, "rho", rho, "a positive number")
    if count == 1:
        return [sigma_max]
    top, bottom = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    inner = [(top + i / (count - 1) * (bottom - top)) ** rho for i in range(1, count - 1)]
    return [sigma_max, *inner, sigma_min]


def check_sigmas(sigmas: Sequence[float]) -> list[float]:
    """The levels as floats. Raises GencoreError unless there are two or more, finite, falling, the last 0 or above."""
    levels = [float(sigma) for sigma in sigmas]
    falling = all(later < earlier for earlier, later in pairwise(levels))
    if len(levels) < 2 or not falling or levels[-1] < 0 or not math.isfinite(levels[0]):
        raise GencoreError(
            f"sigmas are {levels}; expected two or more finite, strictly decreasing numbers, the last 0 or positive."
        )
    return levels


def _check_range(sigma_max: float, sigma_min: float, count: int) -> None:
    check(count >= 1, "the number of steps", count, "at least 1")
    check(0 < sigma_min < sigma_max < math.inf, "(sigma_max, sigma_min)", (sigma_max, sigma_min), "0 < min < max < inf")
