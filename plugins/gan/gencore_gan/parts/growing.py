"""Networks that grow from 4 x 4 images by levels, each twice as large (Karras et al. 2018, arXiv:1710.10196, figure 2
and table 2). A new level is faded in: alpha = 0 is the level below, enlarged; alpha = 1 the new one alone.
"""

from __future__ import annotations

import itertools

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, leaky_relu

from gencore.nn.minibatch import MinibatchStddev
from gencore_gan.parts.equalised import EqualisedConv2d, EqualisedLinear, PixelNorm, pixel_norm


def enlarged(x: Tensor) -> Tensor:
    """Images at twice the size, each pixel four times."""
    return interpolate(x, scale_factor=2)


def channels_by_level(size: int, width: int) -> tuple[int, ...]:
    """Channels at 4 x 4, at 8 x 8, ... and at the full size, where there are `width`; at most 16 `width`."""
    levels = (size // 4).bit_length()
    return tuple(width * min(2 ** (levels - 1 - level), 16) for level in range(levels))


def _convolution(channels: int, outputs: int) -> list[nn.Module]:
    return [EqualisedConv2d(channels, outputs, 3), nn.LeakyReLU(0.2), PixelNorm()]


class GrowingGenerator(nn.Module):
    """Codes (N, latent_dim) -> images of any of its levels."""

    def __init__(self, latent_dim: int, channels: tuple[int, ...], colours: int) -> None:
        super().__init__()
        first = EqualisedLinear(latent_dim, 16 * channels[0], gain=2**0.5 / 4)
        unfolded = [first, nn.Unflatten(1, (channels[0], 4, 4)), nn.LeakyReLU(0.2), PixelNorm()]
        self.start = nn.Sequential(*unfolded, *_convolution(channels[0], channels[0]))
        self.blocks = nn.ModuleList(
            nn.Sequential(*_convolution(inputs, outputs), *_convolution(outputs, outputs))
            for inputs, outputs in itertools.pairwise(channels)
        )
        self.to_image = nn.ModuleList(EqualisedConv2d(c, colours, 1, gain=1.0) for c in channels)

    def forward(self, z: Tensor, level: int, alpha: Tensor | float = 1.0) -> Tensor:
        """Images (N, colours, 4 * 2^level, ...) of no fixed range."""
        x = self.start(pixel_norm(z))
        for block in self.blocks[: max(level - 1, 0)]:
            x = block(enlarged(x))
        if not level:
            image: Tensor = self.to_image[0](x)
            return image
        before = enlarged(self.to_image[level - 1](x))
        after = self.to_image[level](self.blocks[level - 1](enlarged(x)))
        return torch.lerp(before, after, torch.as_tensor(alpha, dtype=after.dtype, device=after.device))


def critic_block(inputs: int, outputs: int) -> nn.Sequential:
    """Two convolutions, then half the size."""
    first, second = EqualisedConv2d(inputs, inputs, 3), EqualisedConv2d(inputs, outputs, 3)
    return nn.Sequential(first, nn.LeakyReLU(0.2), second, nn.LeakyReLU(0.2), nn.AvgPool2d(2))


def critic_end(channels: int) -> nn.Sequential:
    """Maps (N, channels, 4, 4) -> scores (N, 1), with a look at how much the batch varies."""
    third, fourth = EqualisedConv2d(channels + 1, channels, 3), EqualisedConv2d(channels, channels, 4, padding=0)
    layers = [MinibatchStddev(), third, nn.LeakyReLU(0.2), fourth, nn.LeakyReLU(0.2), nn.Flatten()]
    return nn.Sequential(*layers, EqualisedLinear(channels, 1, gain=1.0))


def whole_critic(channels: tuple[int, ...], colours: int) -> nn.Sequential:
    """The critic of the last level without the others' entrances: images of the full size -> scores (N, 1)."""
    down = [critic_block(inputs, outputs) for outputs, inputs in itertools.pairwise(channels)]
    entrance = EqualisedConv2d(colours, channels[-1], 1)
    return nn.Sequential(entrance, nn.LeakyReLU(0.2), *reversed(down), critic_end(channels[0]))


class GrowingCritic(nn.Module):
    """Images of any of its levels -> scores (N,)."""

    def __init__(self, channels: tuple[int, ...], colours: int) -> None:
        super().__init__()
        self.from_image = nn.ModuleList(EqualisedConv2d(colours, c, 1) for c in channels)
        self.blocks = nn.ModuleList(critic_block(inputs, outputs) for outputs, inputs in itertools.pairwise(channels))
        self.end = critic_end(channels[0])

    def forward(self, x: Tensor, level: int, alpha: Tensor | float = 1.0) -> Tensor:
        """x (N, colours, 4 * 2^level, ...)."""
        h = leaky_relu(self.from_image[level](x), 0.2)
        if level:
            before = leaky_relu(self.from_image[level - 1](avg_pool2d(x, 2)), 0.2)
            after = self.blocks[level - 1](h)
            h = torch.lerp(before, after, torch.as_tensor(alpha, dtype=after.dtype, device=after.device))
        for block in self.blocks[: max(level - 1, 0)][::-1]:
            h = block(h)
        return rearrange(self.end(h), "n 1 -> n")
