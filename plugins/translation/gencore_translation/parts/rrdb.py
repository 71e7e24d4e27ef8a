"""The network of ESRGAN (Wang et al. 2018, arXiv:1809.00219, figure 4), laid out as in the checkpoints that people own.

A dense block joins each of its convolutions' outputs to all before; a residual-in-residual dense block (RRDB) is three
of them. Each of the two adds 0.2 of what is inside to what goes in, so that with all last convolutions zero an RRDB
returns 1.2 times its input, as in the authors' program. Three scales share one network that enlarges by 4: for 2 and 1
the picture's blocks of 2 x 2 and 4 x 4 pixels become channels first (Wang et al. 2021, arXiv:2107.10833, section 4.1).
Inside, pictures lie in [0, 1], as those checkpoints want them: the zeros beyond the border are black.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gencore.tiling import Tiling

from .enlarging import bicubic
from .padding import filled_up

RESIDUAL_SCALE = 0.2
CONVOLUTIONS, DENSE_BLOCKS = 5, 3
TAIL_REACH = 3
"""Places of the body beyond its own reach that an output pixel sees: those of the layers that enlarge."""


def conv(before: int, after: int) -> nn.Conv2d:
    """3 x 3, zeros beyond the border."""
    return nn.Conv2d(before, after, 3, 1, 1)


class DenseBlock(nn.Module):
    """h + 0.2 f(h); the first four convolutions have `growth` channels and see all before them."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        inner = [conv(width + k * growth, growth) for k in range(CONVOLUTIONS - 1)]
        layers = [*inner, conv(width + (CONVOLUTIONS - 1) * growth, width)]
        with torch.no_grad():  # the paper's smaller start, section 3.1
            for layer in layers:
                layer.weight.mul_(0.1)
        self.layers = nn.ModuleList(layers)

    def forward(self, h: Tensor) -> Tensor:
        """Maps (N, width, H, W) to the same shape."""
        joined = h
        *inner, last = self.layers
        for layer in inner:
            joined = torch.cat([joined, F.leaky_relu(layer(joined), 0.2)], 1)
        return h + RESIDUAL_SCALE * last(joined)


class RRDB(nn.Module):
    """h + 0.2 of three dense blocks, one after the other."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(DenseBlock(width, growth) for _ in range(DENSE_BLOCKS)))

    def forward(self, h: Tensor) -> Tensor:
        """Maps (N, width, H, W) to the same shape."""
        return h + RESIDUAL_SCALE * self.blocks(h)


class RRDBNet(nn.Module):
    """Pictures (N, channels, H, W) -> (N, channels, scale H, scale W), not clipped; `scale` 1, 2 or 4.

    `skip`: add the bicubic picture. Sizes that 4 / scale does not divide are filled up by mirroring and cut again.
    """

    def __init__(self, channels: int, *, scale: int, width: int, growth: int, blocks: int, skip: bool) -> None:
        super().__init__()
        self.scale, self.skip = scale, skip
        self.head = conv(channels * (4 // scale) ** 2, width)
        self.body = nn.Sequential(*(RRDB(width, growth) for _ in range(blocks)))
        self.after_body = conv(width, width)
        self.enlarge = nn.ModuleList([conv(width, width), conv(width, width)])
        self.fine = conv(width, width)
        self.last = conv(width, channels)

    @property
    def tiling(self) -> Tiling:
        """How a picture may be cut."""
        places = 2 + CONVOLUTIONS * DENSE_BLOCKS * len(self.body) + TAIL_REACH
        return Tiling(reach=places * (4 // self.scale), stride=4 // self.scale)

    def forward(self, x: Tensor) -> Tensor:
        """Each doubling repeats pixels and convolves."""
        height, width = x.shape[-2:]
        unit = (filled_up(x, 4 // self.scale) + 1) / 2
        h = self.head(F.pixel_unshuffle(unit, 4 // self.scale))
        h = h + self.after_body(self.body(h))
        for layer in self.enlarge:
            h = F.leaky_relu(layer(F.interpolate(h, scale_factor=2, mode="nearest")), 0.2)
        made: Tensor = self.last(F.leaky_relu(self.fine(h), 0.2))[..., : self.scale * height, : self.scale * width]
        return made + bicubic(x, self.scale) if self.skip else 2 * made - 1
