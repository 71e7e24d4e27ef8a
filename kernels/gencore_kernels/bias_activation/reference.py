"""Bias, activation, gain, clamp, one after the other. In float64 it is the oracle of every test."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional


def _softplus(u: Tensor) -> Tensor:
    """Without the threshold of torch's softplus, beyond which that is the identity."""
    return torch.logaddexp(u, u.new_zeros(()))


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda u: u,
    "relu": functional.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "elu": functional.elu,
    "selu": functional.selu,
    "softplus": _softplus,
    "silu": functional.silu,
}


def bias_activation(
    x: Tensor, bias: Tensor | None, dim: int, activation: str, negative_slope: float, gain: float, clamp: float | None
) -> Tensor:
    """clamp(gain a(x + bias), -clamp, clamp), of x's shape; any order of derivative by autograd."""
    u = x.to(torch.float32) if x.dtype in (torch.float16, torch.bfloat16) else x
    if bias is not None:
        u = u + bias.to(u.dtype).reshape(-1, *[1] * (x.dim() - 1 - dim))
    if activation == "leaky_relu":
        value = functional.leaky_relu(u, negative_slope)
    else:
        value = ACTIVATIONS[activation](u)
    value = gain * value
    return (value if clamp is None else value.clamp(-clamp, clamp)).to(x.dtype)
