"""Convolutions that see only what comes before, in raster order."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn


def raster_mask(kernel_size: int, *, sees_centre: bool) -> Tensor:
    """(kernel_size, kernel_size) float32: 1 in the rows above the centre and left of it, and there if `sees_centre`."""
    mask = torch.zeros(kernel_size, kernel_size)
    middle = kernel_size // 2
    mask[:middle] = 1
    mask[middle, : middle + sees_centre] = 1
    return mask


class MaskedConv2d(nn.Conv2d):
    """A convolution of the same size whose output at a place depends on earlier places, in raster order.

    Kind "A" does not see the place itself, kind "B" does (van den Oord, Kalchbrenner & Kavukcuoglu 2016,
    arXiv:1601.06759, section 3.4). All channels of one place are seen, or not, together. `kernel_size` is odd.
    """

    mask: Tensor

    def __init__(self, kind: Literal["A", "B"], channels: int, outputs: int, kernel_size: int) -> None:
        assert kind in ("A", "B")
        assert kernel_size % 2 == 1
        super().__init__(channels, outputs, kernel_size, padding=kernel_size // 2)
        self.register_buffer("mask", raster_mask(kernel_size, sees_centre=kind == "B"), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) -> (N, outputs, H, W)."""
        return self._conv_forward(x, self.weight * self.mask, self.bias)
