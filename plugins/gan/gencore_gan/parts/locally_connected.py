"""Convolutions without shared weights: each place of a picture has its own kernel (LAGAN: de Oliveira, Paganini &
Nachman 2017, arXiv:1701.05927, section 3.2), for pictures whose places do not mean the same."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F


class LocallyConnected(nn.Module):
    """Pictures (N, channels, H, W) -> (N, maps, H, W), by kernels of an odd `size`, zeros beyond the edges."""

    def __init__(self, channels: int, maps: int, shape: tuple[int, int], *, size: int = 3) -> None:
        super().__init__()
        self.size, self.shape = size, shape
        places, inputs = shape[0] * shape[1], channels * size**2
        self.weight = nn.Parameter(torch.randn(places, inputs, maps) * (2 / inputs) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(places, 1, maps))

    def forward(self, x: Tensor) -> Tensor:
        """x (N, channels, H, W)."""
        patches = rearrange(F.unfold(x, self.size, padding=self.size // 2), "n i p -> p n i")
        maps = torch.baddbmm(self.bias, patches, self.weight)
        return rearrange(maps, "(h w) n m -> n m h w", h=self.shape[0])
