"""Denoisers in closed form: E[x0 | x] where the data are a Gaussian or a mixture of Gaussians.

With data sum_k w_k N(m_k, d^2 I), x = x0 + sigma eps is sum_k w_k N(m_k, (d^2 + sigma^2) I), and (Bayes)

    E[x0 | x] = sum_k p(k | x) (m_k + d^2 / (d^2 + sigma^2) (x - m_k))
What samplers and likelihoods are measured against: the error that remains is theirs alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from gencore_diffusion.parts.denoiser import FunctionDenoiser
from gencore_diffusion.parts.parametrization import column


def ideal_mixture(
    weights: Sequence[float],
    means: Sequence[Sequence[float]],
    deviation: float,
    *,
    sigma_max: float = 20.0,
    sigma_min: float = 0.02,
    preserves_variance: bool = False,
) -> FunctionDenoiser:
    """The denoiser of sum_k weights_k N(means_k, deviation^2 I) over vectors (N, dim).

    Its condition is the component: (N,) int64, -1 or none for the whole mixture.
    """
    weights_K = torch.tensor(weights, dtype=torch.float64)
    means_KD = torch.tensor(means, dtype=torch.float64)

    def denoise(x: Tensor, sigma: Tensor, condition: Tensor | None) -> Tensor:
        scale = (1 + sigma.square()).sqrt() if preserves_variance else torch.ones_like(sigma)
        x = x * column(scale, x)
        centres = means_KD.to(x)
        offsets = x[:, None] - centres
        total = column(sigma.square() + deviation**2, x)
        logits = weights_K.to(x).log() - offsets.square().sum(2) / (2 * total)
        if condition is not None:
            chosen = torch.arange(len(centres), device=x.device) == condition[:, None]
            logits = torch.where(chosen | (condition[:, None] < 0), logits, -math.inf)
        shrunk = centres + deviation**2 / total[..., None] * offsets
        return (logits.softmax(1)[..., None] * shrunk).sum(1)

    return _Labelled(
        denoise,
        data_shape=(means_KD.shape[1],),
        sigma_max=sigma_max,
        sigma_min=sigma_min,
        preserves_variance=preserves_variance,
    )


def ideal_gaussian(
    mean: float, deviation: float, *, dim: int = 1, sigma_max: float = 20.0, sigma_min: float = 0.02
) -> FunctionDenoiser:
    """The denoiser of N(mean, deviation^2) in each of `dim` coordinates."""
    return ideal_mixture([1.0], [[mean] * dim], deviation, sigma_max=sigma_max, sigma_min=sigma_min)


def gaussian_flow(x: Tensor, sigma: float, following: float, *, mean: float, deviation: float) -> Tensor:
    """Where the probability-flow ODE of N(mean, deviation^2) takes x from noise level sigma to another, exactly."""
    return mean + (x - mean) * math.hypot(deviation, following) / math.hypot(deviation, sigma)


class _Labelled(FunctionDenoiser):
    """A function of components: -1 is the null label."""

    def labels(self, condition: Tensor | None, count: int) -> Tensor | None:
        return torch.full((count,), -1) if condition is None else condition
