"""A diffusion step by its three lines, see `table`. In float64 it is the oracle of every test.

Dynamic thresholding: Saharia et al., "Photorealistic Text-to-Image Diffusion Models with Deep Language Understanding",
2022, arXiv:2205.11487, section 2.3: s is a quantile of |x0| of the sample, at least 1; x0 is clamped to [-s, s] and
divided by s.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gencore_kernels.philox import philox_normal


def working_dtype(*tensors: Tensor | None) -> torch.dtype:
    """float64 when any tensor has it, else float32."""
    return torch.float64 if any(t is not None and t.dtype == torch.float64 for t in tensors) else torch.float32


def rows_at(table: Tensor, step: Tensor, x: Tensor, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """The eight columns at step, each [batch or 1, 1, ...] to broadcast against x; NaN where step is out of range.

    No host sync.
    """
    step = step.reshape(-1).long()
    inside = (step >= 0) & (step < len(table))
    rows = table.to(dtype)[step.clamp(0, len(table) - 1)]
    rows = torch.where(inside[:, None], rows, math.nan)
    return tuple(column.reshape(-1, *[1] * (x.dim() - 1)) for column in rows.unbind(dim=1))


def term(coefficient: Tensor, value: Tensor) -> Tensor:
    """coefficient * value, and 0 where the coefficient is exactly 0, whatever the value."""
    return torch.where(coefficient == 0, 0.0, coefficient * value)


def quantile_abs(x: Tensor, p: float) -> Tensor:
    """x [batch, ...] -> [batch], the p-quantile of |x| of each sample with linear interpolation, by sorting."""
    ordered = x.flatten(1).abs().sort(dim=1).values
    position = p * (ordered.shape[1] - 1)
    below = math.floor(position)
    low, high = ordered[:, below], ordered[:, min(below + 1, ordered.shape[1] - 1)]
    between = torch.where(low == high, low, low + (high - low) * (position - below))  # inf - inf would be NaN
    return torch.where(ordered[:, -1].isnan(), math.nan, between)  # sorting puts NaN last


def dynamic_radius(quantile: Tensor, radius: Tensor) -> Tensor:
    """s of the dynamic threshold: the quantile, at least 1 and at most the table's radius; NaN stays NaN."""
    return torch.minimum(quantile.clamp(min=1.0), radius)


def diffusion_step(
    x: Tensor,
    out: Tensor,
    table: Tensor,
    step: Tensor,
    uncond: Tensor | None,
    noise: Tensor | None,
    seeds: Tensor | None,
    threshold: float | None,
) -> Tensor:
    """The next sample, of x's shape and dtype; differentiable by autograd, through the quantile too."""
    dtype = working_dtype(x, out, uncond, noise)
    kx, ko, p0, px, po, sigma, radius, guidance = rows_at(table, step, x, dtype)
    x_, o = x.to(dtype), out.to(dtype)
    if uncond is not None:
        o = uncond.to(dtype) + guidance * (o - uncond.to(dtype))
    x0 = term(kx, x_) + term(ko, o)
    if threshold is None:
        x0 = x0.clamp(min=-radius, max=radius)
    else:
        scale = dynamic_radius(quantile_abs(x0, threshold).reshape(-1, *[1] * (x.dim() - 1)), radius)
        x0 = x0.clamp(min=-scale, max=scale) / scale
    y = term(p0, x0) + term(px, x_) + term(po, o)
    if noise is not None:
        y = y + term(sigma, noise.to(dtype))
    elif seeds is not None:
        y = y + term(sigma, philox_normal(seeds, step, tuple(x.shape[1:]), dtype=dtype))
    else:
        y = y + torch.where(sigma == 0, 0.0, math.nan)
    return y.to(x.dtype)
