"""Sparse 15 x 15 images of jets with one or two prongs, as LAGAN's (de Oliveira et al. 2017, 1701.05927) but small.

A jet of transverse momentum 250 to 300 GeV is split among 30 particles (exponential shares). One prong sits at the
centre. With two, the second lies below it at a distance of 0.5 to 0.8, and takes 0.25 to 0.5 of the particles. One
particle in five is soft and lands anywhere. Pixels are 0.1 wide; those of 0.5 GeV and less are exact zeros.

key     shape, dtype
x       (N, 15, 15) float32 >= 0, transverse momentum per pixel [GeV]
label   (N,) int64, 0 for one prong, 1 for two
"""

from __future__ import annotations

import torch
from torch import Tensor

from gencore.conditions import ClassLabel
from gencore.data.toys import draws
from gencore.data.toys.rendered import Rendered, first_indices
from gencore.errors import GencoreError

SIZE, PIXEL, PARTICLES = 15, 0.1, 30
PRONGS = ("one prong", "two prongs")

# First columns of the draws; those of the particles are 100 apart.
_PRONGS, _PART, _MOMENTUM, _DISTANCE, _SECOND, _SOFT, _SHARE, _NEAR, _ANYWHERE = 0, 1, 2, 3, 100, 200, 300, 400, 500


def particles(label: Tensor, index: Tensor, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Momenta (N, 30) [GeV] and places (N, 30, 2) (down, across) of the particles of jets with `label` + 1 prongs."""
    two = label[:, None].float()
    part = two * (0.25 + 0.25 * draws.uniforms(seed, index, _PART, 1))
    second = draws.uniforms(seed, index, _SECOND, PARTICLES) < part
    soft = draws.uniforms(seed, index, _SOFT, PARTICLES) < 0.2
    share = -draws.uniforms(seed, index, _SHARE, PARTICLES).clamp_min(1e-6).log() * torch.where(soft, 0.1, 1.0)
    momentum = (250 + 50 * draws.uniforms(seed, index, _MOMENTUM, 1)) * share / share.sum(1, keepdim=True)

    spread = 0.06 + 0.04 * (1 - two)  # one prong is a little wider: sparsity alone must not tell the class
    near = spread[..., None] * draws.normals(seed, index, _NEAR, 2 * PARTICLES).view(-1, PARTICLES, 2)
    near[..., 0] += second * (0.5 + 0.3 * draws.uniforms(seed, index, _DISTANCE, 1))
    anywhere = (2 * draws.uniforms(seed, index, _ANYWHERE, 2 * PARTICLES).view_as(near) - 1) * SIZE * PIXEL / 2
    return momentum, torch.where(soft[..., None], anywhere, near)


def deposit(momentum: Tensor, place: Tensor) -> Tensor:
    """Images (N, 15, 15) of momenta (N, K) at places (N, K, 2); what lies outside goes to the pixel at the edge."""
    pixel = ((place + SIZE * PIXEL / 2) / PIXEL).long().clamp(0, SIZE - 1)
    flat = pixel[..., 0] * SIZE + pixel[..., 1]
    images = torch.zeros(len(momentum), SIZE**2).scatter_add_(1, flat, momentum)
    return torch.where(images > 0.5, images, 0.0).view(-1, SIZE, SIZE)


def mass(images: Tensor, *, pixel: float = PIXEL) -> Tensor:
    """The invariant mass of massless pixels at small angles, (N, H, W) to (N,) [GeV]; `pixel`: the side of one.

    m^2 = (sum pT) (sum pT r^2) - |sum pT r|^2.
    """
    down, across = ((torch.arange(size) - size // 2) * pixel for size in images.shape[1:])
    total, by_row, by_column = images.sum((1, 2)), images.sum(2), images.sum(1)
    second = by_row @ down**2 + by_column @ across**2
    return (total * second - (by_row @ down) ** 2 - (by_column @ across) ** 2).clamp_min(0).sqrt()


def hit_share(images: Tensor) -> Tensor:
    """The share of pixels that are not exactly 0, (N, H, W) to (N,)."""
    return (images > 0).float().mean((1, 2))


def jets(num_examples: int = 5000, *, prongs: int | None = None, seed: int = 0, split: str = "train") -> Rendered:
    """Jets of 1 or 2 `prongs`, or as often of each. Raises GencoreError for bad values."""
    index, seed = first_indices(num_examples), draws.split_seed(seed, split)
    if prongs not in (None, 1, 2):
        raise GencoreError(f"prongs is {prongs}; expected 1, 2, or None for both.")
    label = draws.integers(seed, index, _PRONGS, 2)
    if prongs is not None:
        label = torch.full_like(label, prongs - 1)
    return Rendered(
        x=deposit(*particles(label, index, seed=seed)),
        further={"label": label},
        num_classes=len(PRONGS),
        conditions=(ClassLabel(count=len(PRONGS), names=PRONGS),),
        name=f"jets ({split})",
    )
