"""The U-Net of pix2pix (Isola et al. 2017, arXiv:1611.07004, appendix 6.1.1), for pictures of any size.

Down: 4 x 4 convolutions of stride 2, with `width`, 2, 4, 8, 8, ... times `width` channels. Up: the same mirrored, each
level given the map of the same size from the way down. Normalised but for the first and the innermost level; leaky
rectifiers (0.2) down, rectifiers up, tanh at the end. Dropout, the paper's noise, stands in at most three levels next
to the innermost one.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gencore.config import check
from gencore.noise import NoiseSource
from gencore.tiling import Tiling

from .keeping import Keeps, check_keeps, kept, seen
from .norms import Norm, norm_layers
from .padding import filled_up

NOISY_LEVELS = 3


def unet_widths(width: int, depth: int) -> tuple[int, ...]:
    """Channels of the maps on the way down, at half the picture's size first."""
    return tuple(width * min(2**level, 8) for level in range(depth))


class UNet(nn.Module):
    """Pictures (N, channels_in, H, W) -> (N, channels_out, H, W) in [-1, 1]; `depth` halvings, at least 2.

    Other sizes than multiples of 2 ** depth are filled up by mirroring and cut again. What it `keeps` of the given
    picture (gencore_translation.parts.keeping) stands in the result, which may then lead out of [-1, 1].
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        *,
        width: int,
        depth: int,
        norm: Norm,
        dropout: float = 0.0,
        keeps: Keeps = "nothing",
    ) -> None:
        super().__init__()
        check(depth >= 2, "depth", depth, "at least 2")
        check(0 <= dropout < 1, "dropout", dropout, "a number in [0, 1)")
        check_keeps(keeps, channels_in, channels_out)
        self.depth, self.dropout, self.norm, self.keeps = depth, dropout, norm, keeps
        channels_seen = channels_in + (keeps == "known")
        widths = unet_widths(width, depth)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for level, (before, after) in enumerate(pairwise((channels_seen, *widths))):
            normed = norm_layers(norm, after) if 0 < level < depth - 1 else []
            self.down.append(nn.Sequential(nn.Conv2d(before, after, 4, 2, 1, bias=not normed), *normed))
            inner = after if level == depth - 1 else 2 * after
            outer = before if level else channels_out
            normed = norm_layers(norm, outer) if level else []
            self.up.append(nn.Sequential(nn.ConvTranspose2d(inner, outer, 4, 2, 1, bias=not normed), *normed))

    def forward(self, x: Tensor, noise: NoiseSource | None = None) -> Tensor:
        """`noise` draws the dropout's masks; None: torch's global stream in training, and no dropout in evaluation."""
        height, width = x.shape[-2:]
        shown = seen(x, self.keeps)
        h, maps = filled_up(shown, 2**self.depth), []
        for level, layer in enumerate(self.down):
            h = layer(h if level == 0 else F.leaky_relu(h, 0.2))
            maps.append(h)
        for level in reversed(range(self.depth)):
            h = self.up[level](F.relu(h if level == self.depth - 1 else torch.cat([maps[level], h], 1)))
            if self.dropout and max(1, self.depth - 1 - NOISY_LEVELS) <= level < self.depth - 1:
                h = self._dropped(h, noise)
        return kept(torch.tanh(h)[..., :height, :width], shown, self.keeps)

    @property
    def tiling(self) -> Tiling | None:
        """How a picture may be cut; instance normalisation and the membrane in a hole look at all of it."""
        if self.norm == "instance" or self.keeps == "known":
            return None
        return Tiling(reach=4 * 2**self.depth, stride=2**self.depth)

    def _dropped(self, h: Tensor, noise: NoiseSource | None) -> Tensor:
        if noise is None:
            return F.dropout(h, self.dropout, self.training)
        kept = noise.uniform(*h.shape[1:]) >= self.dropout
        return h * kept / (1 - self.dropout)
