"""Layers with an equalised learning rate, and pixel-wise normalisation (Karras et al. 2018, arXiv:1710.10196, sections
4.1 and 4.2).

Weights are stored as N(0, 1) and scaled by He's constant at each use, gain / sqrt(fan_in), so that Adam, whose steps
do not depend on a gradient's scale, moves all layers equally fast. `rate` makes a layer learn slower by that factor
without changing what it computes (Karras et al. 2019, arXiv:1812.04948, appendix C).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def pixel_norm(x: Tensor, eps: float = 1e-8) -> Tensor:
    """x (N, C, ...) divided at each place by the root of the mean of its squares over the C channels."""
    wide = widened(x)
    return (wide * (wide.square().mean(1, keepdim=True) + eps).rsqrt()).to(x.dtype)


def widened(x: Tensor) -> Tensor:
    """x as float32 where it is narrower: float16 has neither room for squares nor an epsilon of 1e-8."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


class EqualisedLinear(nn.Module):
    """(..., inputs) -> (..., outputs); `bias` is what the bias starts at."""

    def __init__(
        self, inputs: int, outputs: int, *, gain: float = math.sqrt(2), rate: float = 1.0, bias: float = 0.0
    ) -> None:
        super().__init__()
        self.scale, self.rate = rate * gain / math.sqrt(inputs), rate
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / rate)
        self.bias = nn.Parameter(torch.full((outputs,), bias / rate))

    def forward(self, x: Tensor) -> Tensor:
        """Affine."""
        return F.linear(x, self.weight * self.scale, self.bias * self.rate)


class EqualisedConv2d(nn.Module):
    """(N, channels, H, W) -> (N, outputs, H', W'), of stride 1, padded to keep the size unless told otherwise."""

    def __init__(
        self,
        channels: int,
        outputs: int,
        kernel_size: int,
        *,
        gain: float = math.sqrt(2),
        padding: int | None = None,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.scale = gain / math.sqrt(channels * kernel_size**2)
        self.padding = kernel_size // 2 if padding is None else padding
        self.weight = nn.Parameter(torch.randn(outputs, channels, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """A convolution."""
        return F.conv2d(x, self.weight * self.scale, self.bias, padding=self.padding)


class PixelNorm(nn.Module):
    """`pixel_norm` as a layer."""

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        return pixel_norm(x)
