"""SRResNet (Ledig et al. 2017, arXiv:1609.04802, figure 4) without batch normalisation: 9 x 9, residual blocks, pixel
shuffles, 9 x 9, and the bicubic picture added."""

from __future__ import annotations

from torch import Tensor, nn

from gencore.tiling import Tiling

from .enlarging import bicubic, factors, subpixel_layer
from .padding import filled_up

LEAST_SIDE = 5


class Block(nn.Module):
    """h + f(h), f two convolutions with a parametric rectifier between them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(reflected(channels, channels), nn.PReLU(), reflected(channels, channels))

    def forward(self, h: Tensor) -> Tensor:
        """Maps (N, channels, H, W) to the same shape."""
        return h + self.layers(h)


def reflected(before: int, after: int, kernel: int = 3) -> nn.Conv2d:
    """A convolution that keeps the size and mirrors the borders."""
    return nn.Conv2d(before, after, kernel, 1, kernel // 2, padding_mode="reflect")


class SRResNet(nn.Module):
    """Pictures (N, channels, H, W) -> (N, channels, scale H, scale W), not clipped. Pictures of fewer than 5 pixels a
    side, which the mirrors of the first layer need, are filled up by mirroring and cut again."""

    def __init__(self, channels: int, *, scale: int, width: int, blocks: int) -> None:
        super().__init__()
        self.scale = scale
        self.head = nn.Sequential(reflected(channels, width, 9), nn.PReLU())
        self.body = nn.Sequential(*(Block(width) for _ in range(blocks)), reflected(width, width))
        raised = [layer for factor in factors(scale) for layer in (subpixel_layer(width, factor), nn.PReLU())]
        self.tail = nn.Sequential(*raised, reflected(width, channels, 9))

    @property
    def tiling(self) -> Tiling:
        """How a picture may be cut: 4 pixels of each 9 x 9 layer, 1 of each 3 x 3."""
        return Tiling(reach=4 + 2 * (len(self.body) - 1) + 1 + len(factors(self.scale)) + 4)

    def forward(self, x: Tensor) -> Tensor:
        """The bicubic picture and what the network adds to it."""
        height, width = (self.scale * side for side in x.shape[-2:])
        x = filled_up(x, 1, LEAST_SIDE)
        h = self.head(x)
        return (bicubic(x, self.scale) + self.tail(h + self.body(h)))[..., :height, :width]
