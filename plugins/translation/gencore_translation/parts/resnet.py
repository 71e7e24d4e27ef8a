"""The residual translator of CycleGAN (Zhu et al. 2017, arXiv:1703.10593, appendix 7.2; blocks after Johnson et al.
2016, arXiv:1603.08155), for pictures of any size: c7s1-w, d2w, d4w, R4w x blocks, u2w, uw, c7s1-out, tanh.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gencore.tiling import Tiling

from .norms import Norm, norm_layers
from .padding import filled_up


class ResidualBlock(nn.Module):
    """x + f(x), f two 3 x 3 convolutions with mirrored borders."""

    def __init__(self, channels: int, norm: Norm) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for last in (False, True):
            normed = norm_layers(norm, channels)
            layers += [nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3, bias=not normed), *normed]
            layers += [] if last else [nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W), H and W at least 2, to the same shape."""
        return x + self.layers(x)


class ResNetTranslator(nn.Module):
    """Pictures (N, channels_in, H, W) -> (N, channels_out, H, W) in [-1, 1].

    Other sizes than multiples of 2 ** halvings are filled up by mirroring and cut again.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        *,
        width: int,
        blocks: int,
        halvings: int = 2,
        norm: Norm = "instance",
    ) -> None:
        super().__init__()
        self.halvings, self.blocks, self.norm = halvings, blocks, norm
        bare = norm == "none"
        layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(channels_in, width, 7, bias=bare)]
        layers += [*norm_layers(norm, width), nn.ReLU(inplace=True)]
        for level in range(halvings):
            after = width << level + 1
            layers += [nn.Conv2d(after // 2, after, 3, 2, 1, bias=bare), *norm_layers(norm, after)]
            layers += [nn.ReLU(inplace=True)]
        layers += [ResidualBlock(width << halvings, norm) for _ in range(blocks)]
        for level in reversed(range(halvings)):
            after = width << level
            layers += [nn.ConvTranspose2d(2 * after, after, 3, 2, 1, 1, bias=bare), *norm_layers(norm, after)]
            layers += [nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(width, channels_out, 7))

    @property
    def tiling(self) -> Tiling | None:
        """How a picture may be cut; instance normalisation looks at all of it."""
        stride = 2**self.halvings
        reach = 3 + 2 * stride + 2 * self.blocks * stride + 2 * stride + 3
        return None if self.norm == "instance" else Tiling(reach=reach, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        """At least as many places as the borders' mirrors need are made of small pictures."""
        height, width = x.shape[-2:]
        least = max(4, 2 << self.halvings)
        made: Tensor = torch.tanh(self.layers(filled_up(x, 2**self.halvings, least)))
        return made[..., :height, :width]
