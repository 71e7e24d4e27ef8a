"""The variance of DDPM's reverse steps: fixed, by one of two rules, or between the two as the network says.

From noise level s to t (standard deviations, x = x0 + s eps) and r = t / s, in these coordinates:

    posterior   t^2 (1 - r^2)                                beta~_t: a lower bound on the best isotropic variance
    beta        s^2 (1 - r^2) (1 + t^2) / (1 + s^2)          beta_t: an upper bound
    learned     log variance = v log beta + (1 - v) log posterior, v from the network for every number of x
Ho et al. 2020, arXiv:2006.11239, section 3.2; Nichol & Dhariwal 2021, arXiv:2102.09672, equation 15. These are the
papers' variances divided by alpha-bar_t = 1 / (1 + t^2). At t = 0 the posterior's is 0: there p(x0 | x_1) stands, whose
lower bound is the second step's, as the papers have it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from gencore.errors import GencoreError

FixedVariance = Literal["posterior", "beta"]
Variance = Literal["posterior", "beta", "learned"]
Number = TypeVar("Number", float, Tensor)


def ancestral_variance(sigma: Number, following: Number, variance: FixedVariance) -> Number:
    """Of the step from level sigma to `following` < sigma, in units of the data, squared."""
    share = 1 - (following / sigma) ** 2
    if variance == "posterior":
        return following**2 * share
    return sigma**2 * share * (1 + following**2) / (1 + sigma**2)


def ancestral_noise(sigma: float, following: float, variance: FixedVariance) -> float:
    """Standard deviation that DDPM draws; none at the last step, to 0."""
    return math.sqrt(ancestral_variance(sigma, following, variance)) if following else 0.0


def interpolated(v: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The learned log variance: v high + (1 - v) low, for v (N, ...) and logarithms, scalars or (N,)."""
    shape = (-1, *[1] * (v.dim() - 1))
    return torch.lerp(low.reshape(shape), high.reshape(shape), v)


def log_bounds(sigmas: Sequence[float] | Tensor) -> Tensor:
    """(K, 2) float64: the logarithms of posterior and beta for each of K steps along K + 1 falling levels.

    Of a last step to 0: those of p(x0 | x_1), log beta~_2 and log beta_1; the latter twice where it is the only step.
    """
    levels = torch.as_tensor(sigmas, dtype=torch.float64)
    steps = levels[:-1], levels[1:]
    bounds = torch.stack([ancestral_variance(*steps, "posterior"), ancestral_variance(*steps, "beta")], 1)
    if levels[-1] == 0:
        bounds[-1, 0] = bounds[-2, 0] / (1 + levels[-2] ** 2) if len(bounds) > 1 else bounds[-1, 1]
    return bounds.log()


def check_learned(model: Any) -> None:
    """Raise GencoreError unless the model's network tells a variance."""
    if not getattr(model, "learns_variance", False):
        raise GencoreError(
            f'variance is "learned", but this {type(model).__name__} tells none: train ddpm with variance=learned, or '
            'take "posterior" or "beta".'
        )
