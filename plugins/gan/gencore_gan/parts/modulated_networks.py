"""StyleGAN2's networks (Karras et al. 2020, arXiv:1912.04958, section 4.1 and figure 7): a generator that sums images
of all sizes, and a critic of residual blocks. `channels`: of each level, from 4 x 4 on; 2 L styles for L levels."""

from __future__ import annotations

import itertools
import math

import torch
from einops import rearrange
from torch import Tensor, nn

from gencore_gan.parts.equalised import EqualisedConv2d
from gencore_gan.parts.growing import critic_end
from gencore_gan.parts.modulated import ActivatedConv2d, ModulatedConv2d, StyledConvolution, blur
from gencore_kernels import downsample2d, upsample2d


def noise_sides(levels: int) -> tuple[int, ...]:
    """The size of the noise image of each convolution: one at 4 x 4, two at each further level."""
    return tuple(4 * 2**level for level in range(levels) for _ in range(2 if level else 1))


class ToImage(nn.Module):
    """Maps (N, channels, H, W) and w -> (N, colours, H, W), modulated, not demodulated."""

    def __init__(self, channels: int, colours: int, style_dim: int) -> None:
        super().__init__()
        self.convolution = ModulatedConv2d(channels, colours, 1, style_dim, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(colours, 1, 1))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Linear."""
        return self.convolution(x, w) + self.bias


class SkipSynthesis(nn.Module):
    """Styles and noise -> images of no fixed range: the sum of an image of each level, enlarged."""

    def __init__(self, channels: tuple[int, ...], colours: int, style_dim: int) -> None:
        super().__init__()
        self.sides = noise_sides(len(channels))
        self.constant = nn.Parameter(torch.randn(channels[0], 4, 4))
        layers = [StyledConvolution(channels[0], channels[0], style_dim)]
        for inputs, outputs in itertools.pairwise(channels):
            layers += [StyledConvolution(inputs, outputs, style_dim, up=True)]
            layers += [StyledConvolution(outputs, outputs, style_dim)]
        self.layers = nn.ModuleList(layers)
        self.to_image = nn.ModuleList(ToImage(c, colours, style_dim) for c in channels)
        self.filter: Tensor
        self.register_buffer("filter", blur(), persistent=False)

    def forward(self, styles: Tensor, noise: Tensor) -> Tensor:
        """styles (N, 2 L, style_dim), noise (N, sum of side^2) -> (N, colours, 4 * 2^(L - 1), ...). The image of level
        l has style 2 l + 1, which is that of the convolution after it too."""
        images = [
            rearrange(flat, "n (h w) -> n 1 h w", h=side)
            for flat, side in zip(noise.split([side**2 for side in self.sides], 1), self.sides, strict=True)
        ]
        x = self.layers[0](self.constant.expand(len(styles), -1, -1, -1), styles[:, 0], images[0])
        total: Tensor = self.to_image[0](x, styles[:, 1])
        for level, to_image in enumerate(self.to_image[1:], 1):
            for place in (2 * level - 1, 2 * level):
                x = self.layers[place](x, styles[:, place], images[place])
            total = upsample2d(total, self.filter) + to_image(x, styles[:, 2 * level + 1])
        return total


class ResidualDown(nn.Module):
    """Two convolutions and half the size, plus a linear way past them, over sqrt(2): the variance stays."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.main = nn.Sequential(ActivatedConv2d(inputs, inputs, 3), ActivatedConv2d(inputs, outputs, 3, down=True))
        self.skip = EqualisedConv2d(inputs, outputs, 1, gain=1.0, bias=False)
        self.filter: Tensor
        self.register_buffer("filter", blur(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, H / 2, W / 2)."""
        total: Tensor = (self.main(x) + self.skip(downsample2d(x, self.filter))) / math.sqrt(2)
        return total


def residual_critic(channels: tuple[int, ...], colours: int) -> nn.Sequential:
    """Images (N, colours, 4 * 2^(L - 1), ...) -> scores (N, 1)."""
    down = [ResidualDown(inputs, outputs) for outputs, inputs in itertools.pairwise(channels)]
    return nn.Sequential(ActivatedConv2d(colours, channels[-1], 1), *reversed(down), critic_end(channels[0]))
