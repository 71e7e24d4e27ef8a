"""Likelihoods in nats: DDPM's variational bound by terms, and the probability-flow ODE's density.

Bound (Ho et al. 2020, arXiv:2006.11239, equation 5), for x_t at levels s_1 < ... < s_T in this family's coordinates:

    -log p(x0) <= L_T + sum_{t>1} L_{t-1} + L_0
    L_T      KL(q(x_T | x0) || prior)
    L_{t-1}  KL(q(x_{t-1} | x_t, x0) || p(x_{t-1} | x_t)): two Gaussians, (1 - r^2) (x0 - D) apart, r = s_{t-1} / s_t
    L_0      -log p(x0 | x_1): a Gaussian around D, integrated over the bins of discrete data (section 3.3)
KL is the same in any scaling of x_t, so that these are the paper's terms.

Flow (Song et al. 2021, arXiv:2011.13456, equation 39): dx/ds = (x - D)/s, log p(x; s_min) = log prior(x(s_max)) +
integral of div (x - D)/s ds. As in Heun's method, but with the linear part exact: x / s and log s as coordinates,
the trapezoid for D and for the trace of its Jacobian (measured on a Gaussian: 1.7 times closer than Heun's in x and s).
The trace is exact, or Hutchinson's estimate.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, NamedTuple, get_args

import torch
from torch import Tensor

from gencore import Noise
from gencore.config import check
from gencore.errors import GencoreError
from gencore_diffusion.parts.denoiser import Denoises
from gencore_diffusion.parts.parametrization import column, to_x0
from gencore_diffusion.parts.reverse_variance import (
    Variance,
    ancestral_variance,
    check_learned,
    interpolated,
    log_bounds,
)
from gencore_diffusion.parts.schedules import geometric


class VariationalBound(NamedTuple):
    """Nats per example, each an unbiased estimate from one draw of noise."""

    prior: Tensor
    """L_T, (N,)."""
    steps: Tensor
    """L_1 ... L_{T-1}, (N, T - 1); column t - 1 is the KL of the step from level t + 1 to t."""
    reconstruction: Tensor
    """L_0, (N,)."""

    @property
    def total(self) -> Tensor:
        """The bound on -log p, (N,)."""
        return self.prior + self.steps.sum(1) + self.reconstruction


@torch.no_grad()
def variational_bound(
    model: Any,
    x: Tensor,
    noise: Noise,
    *,
    variance: Variance = "beta",
    steps: int | None = None,
    bins: int | None = 256,
    clip: float | None = None,
    condition: Tensor | None = None,
) -> VariationalBound:
    """The bound on -log p(x) by terms, from one evaluation at each of the model's T levels, or of `steps` of them.

    x: (N, *data_shape). model: a DDPM, or anything with its `sigmas` (T,). noise: streams for the N examples.
    `variance` of the reverse steps: the choice is part of the result, and so is the number of steps. `bins`: the data
    are that many even levels from -1 to 1 (256 for 8-bit images) and L_0 is a probability; None: L_0 is a density.
    `clip`: clamp D to [-clip, clip]. Raises GencoreError for a model without discrete levels, values off the bins, or
    a learned variance that the model does not have.
    """
    if not hasattr(model, "sigmas"):
        raise GencoreError(
            f"The variational bound needs a model with discrete noise levels (system ddpm); a {type(model).__name__} "
            "has none. Use flow_log_prob."
        )
    if bins is not None:
        _check_bins(x, bins)
    check(steps is None or steps >= 2, "steps", steps, "at least 2, or null for all of the model's")
    check(variance in get_args(Variance), "variance", variance, ", ".join(get_args(Variance)))
    if variance == "learned":
        check_learned(model)
    levels = [*(model.sigmas.flip(0).tolist() if steps is None else model.grid(steps)), 0.0]
    labels = model.labels(condition, len(x))
    terms = []
    for (sigma, following), bounds in zip(pairwise(levels), log_bounds(levels).to(x), strict=True):
        noisy = x + sigma * noise.normal(*x.shape[1:]).to(x)
        at = torch.full((len(x),), sigma, dtype=torch.float64, device=x.device)
        if variance == "learned":
            prediction, v = model.predict_with_variance(noisy, at, labels)
            log_variance = interpolated(v, *bounds)
        else:
            prediction = model.predict(noisy, at, labels)
            log_variance = bounds[("posterior", "beta").index(variance)]
        clean = to_x0(prediction, noisy, model.scalings(at))
        clean = clean if clip is None else clean.clamp(-clip, clip)
        if following:
            term = step_divergence((x - clean).square(), log_variance, *transition(at, at * 0 + following))
        else:
            term = -gaussian_log_prob(x, clean, (log_variance / 2).exp(), bins)
        terms.append(term.flatten(1).sum(1))
    return VariationalBound(
        prior=prior_divergence(x, levels[0]), steps=torch.stack(terms[-2::-1], 1), reconstruction=terms[-1]
    )


def prior_divergence(x: Tensor, sigma: float) -> Tensor:
    """KL(N(sqrt(abar) x, 1 - abar) || N(0, 1)) summed over all but the first dimension, abar = 1 / (1 + sigma^2)."""
    signal = 1 / (1 + sigma**2)
    excess = signal * (x.square() - 1) - math.log1p(-signal)
    return 0.5 * excess.flatten(1).sum(1)


def transition(sigma: Tensor, following: Tensor) -> tuple[Tensor, Tensor]:
    """For steps between levels (N,) float64: log of the posterior's variance, and (1 - r^2)^2, its mean's slope in x0,
    squared."""
    log_true = ancestral_variance(sigma, following, "posterior").log()
    return log_true, (1 - (following / sigma) ** 2).square()


def step_divergence(squares: Tensor, log_variance: Tensor, log_true: Tensor, slope: Tensor) -> Tensor:
    """L_{t-1} of each number, from (x0 - D)^2 (N, ...): KL of two Gaussians with means (1 - r^2)(x0 - D) apart.

    log_variance: of the reverse step, broadcasts to `squares`. log_true, slope: `transition`'s, (N,).
    """
    log_ratio = log_variance - column(log_true, squares)
    return 0.5 * (log_ratio + (-log_ratio).exp() - 1 + column(slope, squares) * squares * (-log_variance).exp())


def gaussian_log_prob(x: Tensor, mean: Tensor, deviation: Tensor, bins: int | None) -> Tensor:
    """log N(x; mean, deviation^2) elementwise; with `bins`, of the bin around x, the outermost reaching to infinity."""
    if bins is None:
        return -0.5 * ((x - mean) / deviation).square() - (deviation * math.sqrt(2 * math.pi)).log()
    half = 1 / (bins - 1)
    offset = (x - mean).double()
    upper = torch.where(x > 1 - half, math.inf, (offset + half) / deviation)
    lower = torch.where(x < -1 + half, -math.inf, (offset - half) / deviation)
    flip = offset > 0  # by symmetry: the difference of two values near 1 would round to 0
    high, low = torch.where(flip, -lower, upper), torch.where(flip, -upper, lower)
    log_high, log_low = torch.special.log_ndtr(high), torch.special.log_ndtr(low)
    return (log_high + torch.log(-torch.expm1(log_low - log_high))).to(x.dtype)


def flow_log_prob(
    model: Denoises,
    x: Tensor,
    *,
    steps: int = 100,
    noise: Noise | None = None,
    condition: Tensor | None = None,
) -> Tensor:
    """log density of x (N, *data_shape) under the probability-flow ODE, (N,) in nats, at noise level model.sigma_min.

    2 `steps` evaluations with gradients. `noise`: Hutchinson's estimator with one probe for each example; None: the
    exact trace, as many gradients as x has numbers. For data on a grid of spacing w add numel * log(w) and
    dequantise; for bits per dimension see `bits_per_dim`.
    """
    check(steps >= 1, "steps", steps, "at least 1")
    labels = model.labels(condition, len(x))
    probes = [noise.normal(*x.shape[1:]).to(x).sign()] if noise else _axes(x)

    def denoise(x: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
        """D and the trace of its Jacobian (N,)."""
        at = torch.full((len(x),), sigma, dtype=torch.float64, device=x.device)
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            clean = to_x0(model.predict(x, at, labels), x, model.scalings(at))
            trace = torch.zeros(len(x), dtype=x.dtype, device=x.device)
            for probe in probes:
                (row,) = torch.autograd.grad(clean, x, probe, retain_graph=True)
                trace = trace + (row * probe).flatten(1).sum(1)
        return clean.detach(), trace

    gained = torch.zeros(len(x), dtype=x.dtype, device=x.device)
    rising = geometric(model.sigma_max, model.sigma_min, steps + 1)[::-1]
    for sigma, following in pairwise(rising):
        grown, growth = following / sigma, math.log(following / sigma)
        clean, trace = denoise(x, sigma)
        ahead, trace_ahead = denoise(grown * x + (1 - grown) * clean, following)
        x = grown * x + (1 - grown) * (clean + ahead) / 2
        gained = gained + growth * (x[0].numel() - (trace + trace_ahead) / 2)
    deviation = torch.tensor(math.hypot(1.0, model.sigma_max) if model.preserves_variance else model.sigma_max)
    return gaussian_log_prob(x, torch.zeros_like(x), deviation, None).flatten(1).sum(1) + gained


def bits_per_dim(nats: Tensor, size: int) -> Tensor:
    """Nats per example -> bits per number, for examples of `size` numbers."""
    check(size >= 1, "size", size, "at least 1")
    return nats / (size * math.log(2))


def _axes(x: Tensor) -> list[Tensor]:
    """One probe along each coordinate: their products with the Jacobian sum to its trace."""
    size = x[0].numel()
    return [row.reshape(1, *x.shape[1:]).expand_as(x) for row in torch.eye(size, dtype=x.dtype, device=x.device)]


def _check_bins(x: Tensor, bins: int) -> None:
    check(bins >= 2, "bins", bins, "at least 2, or null for a density")
    places = (x + 1) * (bins - 1) / 2
    if not bool((places - places.round()).abs().max() < 1e-2) or bool(x.abs().max() > 1 + 1e-6):
        raise GencoreError(
            f"x runs from {x.min():.4g} to {x.max():.4g} and is not on {bins} even levels from -1 to 1: scale 8-bit "
            "images by x / 127.5 - 1 without resizing them, set bins, or take bins=None for a density."
        )
