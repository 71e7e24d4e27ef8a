"""Terms on the code h = f(x), (N, K), and on the encoder's Jacobian J = dh / dx: sums over an example, batch means."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


def absolute_sum(code: Tensor) -> Tensor:
    """E sum_j |h_j|, a scalar."""
    return code.abs().sum(1).mean()


def bernoulli_divergence(rho: float, mean: Tensor) -> Tensor:
    """sum_j KL(rho || mean_j) = sum_j [ rho log(rho / m_j) + (1 - rho) log((1 - rho) / (1 - m_j)) ], nats.

    mean (K,): mean activations in (0, 1), clamped away from the ends by the dtype's smallest step.
    """
    tiny = torch.finfo(mean.dtype).eps
    mean = mean.clamp(tiny, 1 - tiny)
    target = torch.full_like(mean, rho)
    return (target * (target / mean).log() + (1 - target) * ((1 - target) / (1 - mean)).log()).sum()


def sigmoid_layer_jacobian(code: Tensor, weight: Tensor) -> Tensor:
    """||J||_F^2 of h = s(W x + b), (N,): sum_j (h_j (1 - h_j))^2 sum_i W_ji^2. code (N, K), weight (K, D)."""
    return (code * (1 - code)).square() @ weight.square().sum(1)


def estimated_jacobian(encode: Callable[[Tensor], Tensor], x: Tensor, probes: int) -> Tensor:
    """Hutchinson's estimate of ||J||_F^2, (N,): the mean of ||J^T v||^2 over `probes` draws v ~ N(0, I).

    Unbiased, with a standard deviation of at most sqrt(2 / probes) of the value. Differentiable in the encoder's
    parameters; advances torch's global random state.
    """
    x = x.detach().requires_grad_()
    code = encode(x)
    total = torch.zeros(len(x), dtype=x.dtype, device=x.device)
    for _ in range(probes):
        (slope,) = torch.autograd.grad(code, x, torch.randn_like(code), create_graph=True)
        total = total + slope.square().flatten(1).sum(1)
    return total / probes


@torch.no_grad()
def normalise_columns(layer: nn.Linear) -> None:
    """Scale every column of a linear layer's weight, a unit's dictionary entry, to length 1, in place."""
    layer.weight.div_(torch.linalg.vector_norm(layer.weight, dim=0).clamp(min=1e-12))
