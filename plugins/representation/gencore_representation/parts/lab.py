"""CIE 1976 L*a*b* of sRGB pictures (CIE 15:2004; IEC 61966-2-1), for the white D65.

    X = M srgb^-1(RGB),   f(t) = t^(1/3) above (6/29)^3, else t / (3 (6/29)^2) + 4/29
    L = 116 f(Y/Yn) - 16,   a = 500 (f(X/Xn) - f(Y/Yn)),   b = 200 (f(Y/Yn) - f(Z/Zn))
L is in [0, 100]; a and b of sRGB's colours are within 108 of 0, and 0 for grey.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

_TO_XYZ = (
    (0.4123907993, 0.3575843394, 0.1804807884),
    (0.2126390059, 0.7151686788, 0.0721923154),
    (0.0193308187, 0.1191947798, 0.9505321522),
)
_KNEE = 6 / 29


def rgb_to_lab(rgb: Tensor) -> Tensor:
    """Pictures (N, 3, H, W) in [-1, 1] -> Lab (N, 3, H, W)."""
    unit = (rgb + 1) / 2
    linear = torch.where(unit <= 0.04045, unit / 12.92, ((unit.clamp_min(0.04045) + 0.055) / 1.055) ** 2.4)
    matrix = rgb.new_tensor(_TO_XYZ)
    t = torch.einsum("xc,nchw->nxhw", matrix / matrix.sum(1, keepdim=True), linear)  # divided by the white's
    f = torch.where(t > _KNEE**3, t.clamp_min(_KNEE**3) ** (1 / 3), t / (3 * _KNEE**2) + 4 / 29)
    x, y, z = f.unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


def lab_to_rgb(lab: Tensor) -> Tensor:
    """Lab (N, 3, H, W) -> pictures in [-1, 1]; colours beyond sRGB are clipped."""
    lightness, a, b = lab.unbind(1)
    y = (lightness + 16) / 116
    f = torch.stack([y + a / 500, y, y - b / 200], 1)
    t = torch.where(f > _KNEE, f**3, 3 * _KNEE**2 * (f - 4 / 29))
    matrix = lab.new_tensor(_TO_XYZ)
    back = torch.linalg.inv((matrix / matrix.sum(1, keepdim=True)).double()).to(lab.dtype)
    linear = torch.einsum("cx,nxhw->nchw", back, t).clamp(0, 1)
    unit = torch.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear.clamp_min(0.0031308) ** (1 / 2.4) - 0.055)
    return unit * 2 - 1


@functools.cache
def gamut_bins(step: int = 10) -> Tensor:
    """The cells of a grid of (a, b) that sRGB's colours fall in: their middles, (Q, 2) float32."""
    levels = torch.linspace(-1, 1, 52, device="cpu")  # also where a model is built on the meta device
    cube = torch.cartesian_prod(levels, levels, levels)
    ab = rgb_to_lab(cube[:, :, None, None])[:, 1:, 0, 0]
    return ((ab / step).round() * step).unique(dim=0)
