"""Solid shapes on a cubic grid: boxes, balls, cylinders and stools, of random size and a little off the middle.

key     shape, dtype
x       (N, 1, size, size, size) float32 in {0, 1}, axes z (up), y, x
label   (N,) int64, an index into SHAPES
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor
from torch.nn.functional import max_pool3d

from gencore.conditions import ClassLabel
from gencore.data.toys import draws
from gencore.data.toys.rendered import Rendered, check_size, first_indices

SHAPES = ("box", "ball", "cylinder", "stool")
LEAST_SIZE = 8

# First columns of the draws.
_SHAPE, _MIDDLE, _BOX, _BALL, _CYLINDER, _STOOL = 0, 1, 4, 7, 8, 10


def build(index: Tensor, *, size: int = 12, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Grids (N, size, size, size) float32 in {0, 1}, and their shapes (N,) int64.

    Lengths are shares of half the grid. Every object keeps to the grid and is one connected piece.
    """
    label = draws.integers(seed, index, _SHAPE, len(SHAPES))

    def between(low: float, high: float, column: int) -> Tensor:
        return rearrange(low + (high - low) * draws.uniform(seed, index, column), "n -> n 1 1 1")

    at = (torch.arange(size) + 0.5) / size * 2 - 1
    axes = (rearrange(at, "z -> z 1 1"), rearrange(at, "y -> y 1"), at)
    z, y, x = (axis - between(-0.15, 0.15, _MIDDLE + i) for i, axis in enumerate(axes))

    sides = [axis.abs() < between(0.35, 0.75, _BOX + i) for i, axis in enumerate((z, y, x))]
    box = sides[0] & sides[1] & sides[2]
    ball = z**2 + y**2 + x**2 < between(0.5, 0.8, _BALL) ** 2
    disc = y**2 + x**2 < between(0.3, 0.5, _CYLINDER) ** 2
    cylinder = disc & (z.abs() < between(0.65, 0.8, _CYLINDER + 1))
    stool = _stool((z, y, x), between(0.6, 0.75, _STOOL), between(0.3, 0.7, _STOOL + 1), size)
    return torch.stack([box, ball, cylinder, stool], dim=1)[torch.arange(len(index)), label].float(), label


def _stool(axes: tuple[Tensor, Tensor, Tensor], half: Tensor, top: Tensor, size: int) -> Tensor:
    """A square seat of half side `half` below `top`, about two voxels thick, on four legs under its corners."""
    z, y, x = axes
    seat = (torch.maximum(y.abs(), x.abs()) < half) & (z < top)
    legs = (torch.minimum(y.abs(), x.abs()) > half - 3 / size) & (z > -0.8)
    return seat & ((z >= top - 4 / size) | legs)


def largest_piece(grids: Tensor) -> Tensor:
    """The share of occupied voxels (above 0.5) in the largest piece joined by faces: (N, S, S, S) to (N,) float32.

    0 for an empty grid.
    """
    solid = (grids[:, None] > 0.5).float()
    count = solid[0].numel()
    name = torch.arange(1, count + 1).view(1, *solid.shape[1:]) * solid
    while True:  # every voxel takes the greatest name beside it, until nothing changes
        beside = [max_pool3d(name, k, 1, tuple(v // 2 for v in k)) for k in ((3, 1, 1), (1, 3, 1), (1, 1, 3))]
        grown = torch.stack(beside).amax(0) * solid
        if torch.equal(grown, name):
            break
        name = grown
    flat = rearrange(name, "n ... -> n (...)").long()
    sizes = torch.zeros(len(grids), count + 1).scatter_add_(1, flat, torch.ones(flat.shape))[:, 1:]
    return sizes.amax(1) / sizes.sum(1).clamp_min(1)


def voxels(num_examples: int = 4000, *, size: int = 12, seed: int = 0, split: str = "train") -> Rendered:
    """Grids of `size` voxels a side, at least 8, as often of each shape. Raises GencoreError for bad values."""
    index, seed = first_indices(num_examples), draws.split_seed(seed, split)
    check_size(size, LEAST_SIZE)
    grids, label = build(index, size=size, seed=seed)
    return Rendered(
        x=grids.unsqueeze(1),
        further={"label": label},
        num_classes=len(SHAPES),
        conditions=(ClassLabel(count=len(SHAPES), names=SHAPES),),
        name=f"voxels {size} x {size} x {size} ({split})",
    )
