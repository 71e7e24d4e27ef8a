"""Layers that enlarge a picture: the pixel shuffle with a start in which its pixels agree, and plain bicubic."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gencore.config import check

SCALES = (1, 2, 3, 4, 8)


def check_scale(scale: int) -> None:
    """Raise GencoreError unless a chain of pixel shuffles enlarges by `scale`."""
    check(scale in SCALES, "scale", scale, f"one of {list(SCALES)}")


def factors(scale: int) -> tuple[int, ...]:
    """`scale` as a product of twos, or one three: 8 is 2 x 2 x 2."""
    return (scale,) if scale in (2, 3) else (2,) * (scale.bit_length() - 1)


def subpixel_layer(channels: int, factor: int) -> nn.Sequential:
    """Maps (N, channels, H, W) -> (N, channels, factor H, factor W): 3 x 3 convolution, pixel shuffle (Shi et al. 2016,
    arXiv:1609.05158), started so that the factor^2 pixels of a place are equal (ICNR: Aitken et al. 2017,
    arXiv:1707.02937)."""
    conv = nn.Conv2d(channels, channels * factor**2, 3, 1, 1, padding_mode="reflect")
    with torch.no_grad():
        for tensor in (conv.weight, conv.bias):
            assert tensor is not None
            tensor.copy_(tensor[:channels].repeat_interleave(factor**2, 0))
    return nn.Sequential(conv, nn.PixelShuffle(factor))


def bicubic(x: Tensor, scale: int) -> Tensor:
    """Pictures (N, C, H, W) -> (N, C, scale H, scale W), as torch enlarges; not clipped."""
    return x if scale == 1 else F.interpolate(x, scale_factor=scale, mode="bicubic", align_corners=False)
