"""Bias, activation, gain and clamp in plain PyTorch, with the first two derivatives written out.

With u = x + bias, a the activation and 1 the indicator of |gain a(u)| <= clamp:

    forward      y = clamp(gain a(u))
    derivative   gx = 1 gain a'(u) gy, and the bias's gradient is its sum over all but dim
    curvature    with v the gradient that arrives at gx, the gradient to x is 1 gain a''(u) gy v

Sums and products are in float32 for 16-bit tensors. What was made here is worked on in place.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

PIECEWISE_LINEAR = ("linear", "relu", "leaky_relu")
SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805


def biased(x: Tensor, bias: Tensor | None, dim: int) -> Tensor:
    """x + bias, in float32 unless x is float64; x itself when there is nothing to do."""
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    if bias is None:
        return x.to(dtype)
    return x + bias.to(dtype).reshape(-1, *[1] * (x.dim() - 1 - dim))


def forward(
    x: Tensor, bias: Tensor | None, dim: int, activation: str, negative_slope: float, gain: float, clamp: float | None
) -> Tensor:
    u = biased(x, bias, dim)
    fresh = bias is not None or u.dtype != x.dtype
    if activation in PIECEWISE_LINEAR:
        value = (u if fresh else u.clone()).contiguous()
        if activation == "relu":
            value.relu_()
        elif activation == "leaky_relu":
            functional.leaky_relu_(value, negative_slope)
        if gain != 1.0:
            value.mul_(gain)
    else:
        value = _value(u, activation, negative_slope).mul_(gain)
    if clamp is not None:
        value.clamp_(-clamp, clamp)
    return value.to(x.dtype).contiguous()


def derivative(
    grad: Tensor,
    x: Tensor,
    bias: Tensor | None,
    dim: int,
    activation: str,
    negative_slope: float,
    gain: float,
    clamp: float | None,
) -> Tensor:
    u = biased(x, bias, dim)
    grad = grad.to(u.dtype)
    if activation == "leaky_relu":
        result = torch.ops.aten.leaky_relu_backward(grad, u, negative_slope, False)
    elif activation == "relu":
        result = torch.ops.aten.threshold_backward(grad, u, 0.0)
    elif activation == "linear":
        result = grad.clone()
    else:
        result = _slope(u, activation).mul_(grad)
    return _scaled(result, u, activation, negative_slope, gain, clamp).to(x.dtype).contiguous()


def curvature(
    v: Tensor,
    grad: Tensor,
    x: Tensor,
    bias: Tensor | None,
    dim: int,
    activation: str,
    gain: float,
    clamp: float | None,
) -> Tensor:
    u = biased(x, bias, dim)
    result = _bend(u, activation).mul_(grad).mul_(v)
    return _scaled(result, u, activation, 0.0, gain, clamp).to(x.dtype).contiguous()


def _scaled(
    result: Tensor, u: Tensor, activation: str, negative_slope: float, gain: float, clamp: float | None
) -> Tensor:
    """result, times gain, and 0 where the activation is clamped; in place."""
    if gain != 1.0:
        result.mul_(gain)
    if clamp is not None:
        result.masked_fill_(_value(u, activation, negative_slope).mul_(gain).abs_() > clamp, 0.0)
    return result


def _value(u: Tensor, activation: str, negative_slope: float) -> Tensor:
    """a(u), a tensor of its own, contiguous or of u's strides."""
    match activation:
        case "linear":
            return u.clone()
        case "relu":
            return u.relu()
        case "leaky_relu":
            return functional.leaky_relu(u, negative_slope)
        case "tanh":
            return u.tanh()
        case "sigmoid":
            return u.sigmoid()
        case "elu":
            return functional.elu(u)
        case "selu":
            return functional.selu(u)
        case "softplus":
            return torch.logaddexp(u, u.new_zeros(()))
        case _:
            return functional.silu(u)


def _slope(u: Tensor, activation: str) -> Tensor:
    """a'(u) of an activation that is not piecewise linear; at the bend of elu and selu, as in torch, from below."""
    match activation:
        case "tanh":
            return 1 - u.tanh().square()
        case "elu":
            return u.clamp(max=0).exp()
        case "selu":
            return SELU_SCALE * torch.where(u > 0, 1.0, SELU_ALPHA * u.clamp(max=0).exp())
        case "sigmoid":
            return u.sigmoid() * (-u).sigmoid()
        case "softplus":
            return u.sigmoid()
        case _:
            return u.sigmoid() * (1 + u * (-u).sigmoid())


def _bend(u: Tensor, activation: str) -> Tensor:
    """a''(u) of an activation that is not piecewise linear; at the bend of elu and selu, as in torch, 0."""
    below = u < 0
    match activation:
        case "tanh":
            value = u.tanh()
            return -2 * value * (1 - value.square())
        case "elu":
            return below * u.clamp(max=0).exp()
        case "selu":
            return (SELU_SCALE * SELU_ALPHA) * (below * u.clamp(max=0).exp())
        case "sigmoid":
            return u.sigmoid() * (-u).sigmoid() * ((-u).sigmoid() - u.sigmoid())
        case "softplus":
            return u.sigmoid() * (-u).sigmoid()
        case _:
            return u.sigmoid() * (-u).sigmoid() * (2 + u * ((-u).sigmoid() - u.sigmoid()))
