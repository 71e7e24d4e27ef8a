"""How near a picture is to its truth, as restoration papers report it: PSNR and SSIM of 8-bit pictures, on luma or RGB.

Y     16 + 65.481 R + 128.553 G + 24.966 B, R, G, B in [0, 1]: BT.601 as MATLAB's rgb2ycbcr has it, not rounded
PSNR  10 log10(255^2 / mean squared error)
SSIM  Wang, Bovik, Sheikh & Simoncelli 2004, equation 13: a Gaussian window of 11 pixels, sigma 1.5, K = (0.01,
      0.03), mean over the places where the window lies inside, and over channels
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from gencore.errors import GencoreError

PEAK = 255.0
WINDOW, SIGMA = 11, 1.5


def luma(x: Tensor) -> Tensor:
    """(N, 3, H, W) in 0 ... 255 -> Y (N, 1, H, W), 16 ... 235; grey pictures (N, 1, H, W) are their own."""
    if x.shape[1] == 1:
        return x
    weight = x.new_tensor([65.481, 128.553, 24.966]) / PEAK
    return 16 + torch.einsum("nchw,c->nhw", x, weight).unsqueeze(1)


def psnr(x: Tensor, y: Tensor) -> float:
    """In dB, of pictures (N, C, H, W) in 0 ... 255; infinite for equal ones. Raises GencoreError for two shapes."""
    _check(x, y, 1)
    error = (x.double() - y.double()).square().mean().item()
    return math.inf if error == 0 else 10 * math.log10(PEAK**2 / error)


def ssim(x: Tensor, y: Tensor) -> float:
    """In [-1, 1], of pictures (N, C, H, W) in 0 ... 255. Raises GencoreError for two shapes, or less than 11 pixels."""
    _check(x, y, WINDOW)
    offset = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
    line = torch.exp(-0.5 * (offset / SIGMA) ** 2)
    line = line / line.sum()

    def mean(z: Tensor) -> Tensor:
        flat = F.conv2d(z.flatten(0, 1).unsqueeze(1), line.view(1, 1, -1, 1))
        return F.conv2d(flat, line.view(1, 1, 1, -1))

    x, y = x.double(), y.double()
    a, b = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2
    mean_x, mean_y = mean(x), mean(y)
    var_x, var_y = mean(x * x) - mean_x**2, mean(y * y) - mean_y**2
    cov = mean(x * y) - mean_x * mean_y
    likeness = (2 * mean_x * mean_y + a) * (2 * cov + b) / ((mean_x**2 + mean_y**2 + a) * (var_x + var_y + b))
    return likeness.mean().item()


def _check(x: Tensor, y: Tensor, least: int) -> None:
    if x.shape != y.shape or x.ndim != 4 or min(x.shape[-2:]) < least:
        raise GencoreError(
            f"got pictures {tuple(x.shape)} and {tuple(y.shape)}; expected one shape (N, C, H, W), sides of {least} or "
            "more."
        )
