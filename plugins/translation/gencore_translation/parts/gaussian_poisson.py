"""The Gaussian-Poisson equation of GP-GAN (Wu, Zheng, Zhang & Huang 2019, arXiv:1703.07195, section 3.2), in closed
form.

The picture x with the gradients v and the colours of `low` minimises
    |grad x - v|^2 + beta |g * (x - low)|^2
with g a Gaussian. Differences are forward ones and none crosses the border, so that the discrete cosine transform takes
both operators apart:
    (l + beta g^2) dct(x) = dct(-div v) + beta g^2 dct(low),   l = 4 sin^2(pi i / 2H) + 4 sin^2(pi j / 2W)
The authors' program has g for both g^2 and takes `low` smoothed; for the exact low-pass both return the picture.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def dct(x: Tensor) -> Tensor:
    """DCT-II of the last axis: sum_n x_n cos(pi k (2 n + 1) / 2 N)."""
    size = x.shape[-1]
    spectrum = torch.fft.rfft(torch.cat([x, x.flip(-1)], -1))[..., :size]
    return (spectrum * _turn(size, -1.0, x)).real / 2


def inverse_dct(x: Tensor) -> Tensor:
    """The inverse of `dct`, in the last axis."""
    size = x.shape[-1]
    spectrum = F.pad(torch.view_as_real(2 * x * _turn(size, 1.0, x)), (0, 0, 0, 1))
    return torch.fft.irfft(torch.view_as_complex(spectrum.contiguous()), 2 * size)[..., :size]


def _turn(size: int, sign: float, like: Tensor) -> Tensor:
    angle = sign * math.pi / (2 * size) * torch.arange(size, device=like.device, dtype=like.dtype)
    return torch.polar(torch.ones_like(angle), angle)


def dct_2d(x: Tensor) -> Tensor:
    """`dct` of the last two axes."""
    return dct(dct(x).mT).mT


def inverse_dct_2d(x: Tensor) -> Tensor:
    """The inverse of `dct_2d`."""
    return inverse_dct(inverse_dct(x).mT).mT


def laplacian(size: int) -> Tensor:
    """(size,) float64: the eigenvalues of minus the second difference with free ends, 4 sin^2(pi k / 2 size)."""
    return 4 * (math.pi / (2 * size) * torch.arange(size, dtype=torch.float64)).sin().square()


def gaussian(size: int, sigma: float) -> Tensor:
    """(size,) float64: the factors of `dct` under a Gaussian blur of `sigma` pixels, cut at 4 sigma, mirrored with the
    edge repeated."""
    offset = torch.arange(1, math.ceil(4 * sigma) + 1, dtype=torch.float64)
    weight = torch.exp(-0.5 * (offset / sigma) ** 2)
    k = math.pi / size * torch.arange(size, dtype=torch.float64)
    return (1 + 2 * (weight * torch.cos(k[:, None] * offset)).sum(1)) / (1 + 2 * weight.sum())


def gradients(x: Tensor) -> tuple[Tensor, Tensor]:
    """Forward differences (N, C, H, W) down and across, 0 at the last row and column."""
    down = F.pad(x[..., 1:, :] - x[..., :-1, :], (0, 0, 0, 1))
    across = F.pad(x[..., 1:] - x[..., :-1], (0, 1))
    return down, across


def minus_divergence(down: Tensor, across: Tensor) -> Tensor:
    """The transpose of `gradients`; the last row of `down` and column of `across` do not count."""
    down, across = down[..., :-1, :], across[..., :-1]
    rows = F.pad(down, (0, 0, 1, 0)) - F.pad(down, (0, 0, 0, 1))
    return rows + F.pad(across, (1, 0)) - F.pad(across, (0, 1))


def solve(down: Tensor, across: Tensor, low: Tensor, *, beta: float, sigma: float) -> Tensor:
    """x of the header, (N, C, H, W), from gradients v = (down, across) and colours `low` of that shape."""
    height, width = low.shape[-2:]
    stiffness = (laplacian(height)[:, None] + laplacian(width)).to(low)
    colour = beta * (gaussian(height, sigma)[:, None] * gaussian(width, sigma)).square().to(low)
    wanted = dct_2d(minus_divergence(down, across)) + colour * dct_2d(low)
    return inverse_dct_2d(wanted / (stiffness + colour))
