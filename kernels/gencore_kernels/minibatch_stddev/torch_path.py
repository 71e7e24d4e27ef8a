"""The minibatch standard deviation layer in plain PyTorch, with its first two derivatives written out.

Over the members g = 1..G of a group, for each element e of a feature's n elements: centred x~_ge = x_ge - mean_g x_ge,
sigma_e = sqrt(mean_g x~_ge^2 + eps), and the statistic s = mean_e sigma_e, repeated over the group and its pixels.

    backward          gx = gy's first C channels + t x~ / (n G sigma),  t = the sum of gy over the statistic's copies
    double backward   with v the gradient that arrives at gx and v~ = v - mean_g v:
                      ggy's first C channels are v, its planes D = sum_ge v_ge x~_ge / (n G sigma_e), and
                      gx_ge = t / (n G sigma_e) (v~_ge - x~_ge mean_g(v x~) / sigma_e^2)
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def grouped(x: Tensor, group_size: int, num_features: int) -> Tensor:
    """[G * M, C, *spatial] -> [G, M, F, C / F * spatial], in float32 unless it is float64."""
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    length = math.prod(x.shape[1:]) // num_features
    return x.reshape(group_size, len(x) // group_size, num_features, length).to(dtype)


def planes(statistic: Tensor, x: Tensor, group_size: int) -> Tensor:
    """[M, F] -> [G * M, F, *spatial], expanded, of x's dtype."""
    repeated = statistic.to(x.dtype).repeat(group_size, 1)
    return repeated.reshape(*repeated.shape, *[1] * (x.dim() - 2)).expand(-1, -1, *x.shape[2:])


def plane_sums(grad: Tensor, x: Tensor, group_size: int, num_features: int) -> Tensor:
    """t [M, F]: the gradient of the planes, grad's last F channels, summed over the group and the pixels."""
    return grouped(grad[:, grad.shape[1] - num_features :], group_size, num_features).sum(dim=(0, 3))


def centred_and_deviation(x: Tensor, group_size: int, num_features: int, eps: float) -> tuple[Tensor, Tensor]:
    """x~ [G, M, F, n] and sigma [M, F, n]. torch.var_mean and vector_norm over dim 0 are 30x slower on the CPU."""
    values = grouped(x, group_size, num_features)
    centred = values - values.mean(dim=0)
    return centred, centred.square().mean(dim=0).add_(eps).sqrt_()


def forward(x: Tensor, group_size: int, num_features: int, eps: float, concat: bool) -> Tensor:
    _, deviation = centred_and_deviation(x, group_size, num_features, eps)
    return with_planes(x, deviation.mean(dim=2), group_size, concat)


def with_planes(x: Tensor, statistic: Tensor, group_size: int, concat: bool) -> Tensor:
    """What the layer returns, from its statistic [M, F]."""
    num_features = statistic.shape[1]
    statistic = planes(statistic, x, group_size)
    if not concat:
        return statistic.contiguous()
    channels = x.shape[1]
    result = x.new_empty(len(x), channels + num_features, *x.shape[2:])
    result[:, :channels] = x
    result[:, channels:] = statistic
    return result


def backward(grad: Tensor, x: Tensor, group_size: int, num_features: int, eps: float, concat: bool) -> Tensor:
    centred, deviation = centred_and_deviation(x, group_size, num_features, eps)
    scale = plane_sums(grad, x, group_size, num_features) / max(1, group_size * centred.shape[3])
    result = centred.mul_(scale[:, :, None] / deviation).reshape(x.shape)
    if concat:
        result += grad[:, : x.shape[1]]
    return result.to(x.dtype)


def double_backward(
    v: Tensor, grad: Tensor, x: Tensor, group_size: int, num_features: int, eps: float, concat: bool
) -> tuple[Tensor, Tensor]:
    """The gradients of <v, backward(grad, x)> to grad and to x."""
    centred, deviation = centred_and_deviation(x, group_size, num_features, eps)
    v_grouped = grouped(v, group_size, num_features)
    count = max(1, group_size * centred.shape[3])
    product = (v_grouped * centred).sum(dim=0)
    statistic = planes((product / deviation).sum(dim=2) / count, v, group_size)
    grad_grad = torch.cat([v, statistic], dim=1) if concat else statistic.contiguous()
    scale = plane_sums(grad, x, group_size, num_features)[:, :, None] / (count * deviation)
    change = v_grouped - v_grouped.mean(dim=0) - centred * (product / group_size / deviation.square())
    return grad_grad.to(grad.dtype), (change * scale).reshape(x.shape).to(x.dtype)
