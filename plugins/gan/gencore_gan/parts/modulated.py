"""Convolutions whose weights a style scales, and those that halve maps, as StyleGAN2 has them (Karras et al. 2020,
arXiv:1912.04958, section 2.2 and figure 7; the filter (1, 3, 3, 1) is that of its code).

    w'_ijk = s_i w_ijk,   w''_ijk = w'_ijk / sqrt(sum_ik w'_ijk^2 + eps)                              (equations 1, 3)
for an input map i, an output map j and a place k. As the style is the same all over a map, s scales the input's maps
and the root the output's, so that one convolution serves all examples of a batch.
"""

from __future__ import annotations

import math

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d

from gencore_gan.parts.equalised import EqualisedLinear, widened
from gencore_gan.parts.styles import NoiseInput
from gencore_kernels import bias_activation, upfirdn2d


def blur() -> Tensor:
    """The filter (1, 3, 3, 1) along both axes; without gencore_kernels.setup_filter, whose checks read numbers that a
    model on the meta device does not have."""
    return torch.tensor((0.125, 0.375, 0.375, 0.125))


def demodulation(weight: Tensor, style: Tensor, eps: float = 1e-8) -> Tensor:
    """1 / ||s w_j|| for weights (outputs, inputs, h, w) and styles s (N, inputs): (N, outputs)."""
    wide, kernels = widened(style), widened(weight)
    return (wide.square() @ kernels.square().sum((2, 3)).T + eps).rsqrt().to(style.dtype)


class ModulatedConv2d(nn.Module):
    """Maps (N, inputs, H, W) and w (N, style_dim) -> (N, outputs, H, W), or twice as large and filtered where `up`."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel_size: int,
        style_dim: int,
        *,
        up: bool = False,
        demodulate: bool = True,
    ) -> None:
        super().__init__()
        self.up, self.demodulate, self.padding = up, demodulate, kernel_size // 2
        self.scale = 1 / math.sqrt(inputs * kernel_size**2)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel_size, kernel_size))
        self.style = EqualisedLinear(style_dim, inputs, gain=1.0, bias=1.0)
        self.filter: Tensor
        self.register_buffer("filter", blur(), persistent=False)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Without bias."""
        return self.convolve(x, self.style(w))

    def convolve(self, x: Tensor, style: Tensor) -> Tensor:
        """With style (N, inputs) as it is."""
        weight = self.weight * self.scale
        x = x * rearrange(style, "n c -> n c 1 1")
        if self.up:
            larger = conv_transpose2d(x, rearrange(weight, "o i h w -> i o h w"), stride=2)
            x = upfirdn2d(larger, self.filter, padding=1, gain=4.0)
        else:
            x = conv2d(x, weight, padding=self.padding)
        return x * rearrange(demodulation(weight, style), "n c -> n c 1 1") if self.demodulate else x


class StyledConvolution(nn.Module):
    """A modulated convolution of 3 x 3, one noise image times a learned number, a bias and LeakyReLU."""

    def __init__(self, inputs: int, outputs: int, style_dim: int, *, up: bool = False) -> None:
        super().__init__()
        self.convolution = ModulatedConv2d(inputs, outputs, 3, style_dim, up=up)
        self.noise = NoiseInput(1)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor, w: Tensor, noise: Tensor) -> Tensor:
        """x (N, inputs, H, W), w (N, style_dim), noise (N, 1, H', W') -> (N, outputs, H', W')."""
        return bias_activation(self.noise(self.convolution(x, w), noise), self.bias)


class ActivatedConv2d(nn.Module):
    """Maps (N, channels, H, W) -> (N, outputs, H, W), or filtered and of half the size where `down`: a convolution
    with an equalised learning rate, a bias and LeakyReLU."""

    def __init__(self, channels: int, outputs: int, kernel_size: int, *, down: bool = False) -> None:
        super().__init__()
        self.down, self.padding = down, kernel_size // 2
        self.scale = 1 / math.sqrt(channels * kernel_size**2)
        self.weight = nn.Parameter(torch.randn(outputs, channels, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.filter: Tensor
        self.register_buffer("filter", blur(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Scaled by sqrt(2), so that the mean square stays."""
        weight = self.weight * self.scale
        if self.down:
            x = conv2d(upfirdn2d(x, self.filter, padding=self.padding + 1), weight, stride=2)
        else:
            x = conv2d(x, weight, padding=self.padding)
        return bias_activation(x, self.bias)
