"""The grid of Gaussians in the plane on which lost modes are counted (see gencore.data.sources.synthetic for the ring).

Five by five modes at -4, -2, 0, 2, 4, each of standard deviation 0.05, as in Dumoulin et al. 2017 (arXiv:1606.00704)
and Lin et al. 2018 (PacGAN, arXiv:1712.04086).

key     shape, dtype
x       (N, 2) float32
label   (N,) int64, the mode: 5 * column + row, counted from the lower left
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gencore.conditions import ClassLabel
from gencore.data.toys.draws import normals, split_seed
from gencore.data.toys.rendered import Rendered, first_indices
from gencore.errors import GencoreError

SIDE = 5
SPACING = 2.0


def grid_modes() -> Tensor:
    """The 25 means, (25, 2) float32."""
    steps = (torch.arange(SIDE) - SIDE // 2) * SPACING
    return torch.cartesian_prod(steps, steps)


def grid25(num_examples: int = 50_000, *, std: float = 0.05, seed: int = 0, split: str = "train") -> Rendered:
    """Example i lies in mode i % 25. Raises GencoreError: fewer than 1 example, std below 0, an unknown split."""
    if not (std >= 0 and math.isfinite(std)):
        raise GencoreError(f"std is {std}; expected a finite number, 0 or more.")
    index = first_indices(num_examples)
    label = index % SIDE**2
    x = grid_modes()[label] + std * normals(split_seed(seed, split), index, 0, 2)
    return Rendered(
        x=x,
        further={"label": label},
        num_classes=SIDE**2,
        conditions=(ClassLabel(count=SIDE**2),),
        name=f"grid of {SIDE**2} Gaussians ({split})",
    )
