"""The minibatch standard deviation layer on the CPU in C++ (deviations.cpp): value and first derivative of torch_path,
whose second derivative serves here, too."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gencore_kernels import cpp
from gencore_kernels.minibatch_stddev import torch_path

GRAIN = 1 << 17  # numbers of x below which another thread costs more than it saves


def forward(x: Tensor, group_size: int, num_features: int, eps: float, concat: bool) -> Tensor:
    """x [N, C, *spatial], on the CPU and float32 or narrower -> [N, C + F, *spatial], or [N, F, *spatial] without
    concat, of x's dtype."""
    numbers = x.float().contiguous()
    statistic = numbers.new_empty(len(x) // group_size, num_features)
    result = None
    if concat and x.dtype == torch.float32:
        result = numbers.new_empty(len(x), x.shape[1] + num_features, *x.shape[2:])
    _run("minibatch_stddev", x, group_size, num_features, numbers, statistic, result, eps)
    return torch_path.with_planes(x, statistic, group_size, concat) if result is None else result


def backward(grad: Tensor, x: Tensor, group_size: int, num_features: int, eps: float, concat: bool) -> Tensor:
    """The gradient to x, contiguous, of x's dtype."""
    numbers = x.float().contiguous()
    result = torch.empty_like(numbers)
    arguments = grad.float().contiguous(), numbers, result, eps, int(concat)
    _run("minibatch_stddev_backward", x, group_size, num_features, *arguments)
    return result.to(x.dtype)


def _run(name: str, x: Tensor, members: int, features: int, *arguments: Tensor | float | None) -> None:
    groups, length = len(x) // members, math.prod(x.shape[1:]) // features
    sizes = members, groups, features, length, math.prod(x.shape[2:])
    grain = max(1, GRAIN // max(1, members * length))
    cpp.run(name, *arguments, *sizes, units=groups * features, grain=grain)
