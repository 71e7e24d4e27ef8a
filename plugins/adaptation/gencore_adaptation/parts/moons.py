"""Two interleaved half circles, and the same turned: the toy of Ganin et al. 2016 (arXiv:1505.07818), section 5.1.1.

    class 0   (cos a, sin a),          class 1   (1 - cos a, 1/2 - sin a),   a ~ U[0, pi], plus Gaussian noise
The target domain's points are turned about their middle, (1/2, 1/4), by 35 degrees, and are others than the source's.

key             shape, dtype
x, label        (N, 2) float32 about the middle, (N,) int64: the source domain
x_b             (N, 2) float32: the target domain, without labels
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gencore.data import InMemory, unpaired
from gencore.data.source import Source
from gencore.data.toys import draws
from gencore.data.toys.rendered import first_indices
from gencore.data.views import unlabelled

DEGREES = 35.0
NUM_EXAMPLES = 600
_ANGLE, _NOISE = 0, 1


def half_circles(
    num_examples: int = NUM_EXAMPLES, *, degrees: float = 0.0, noise: float = 0.05, seed: int = 0, split: str = "train"
) -> InMemory:
    """One domain; example i is of class i % 2. Raises GencoreError for bad values."""
    index, seed = first_indices(num_examples), draws.split_seed(seed, split)
    label = index % 2
    angle = math.pi * draws.uniform(seed, index, _ANGLE)
    upper = torch.stack([angle.cos(), angle.sin()], 1)
    lower = torch.stack([1 - angle.cos(), 0.5 - angle.sin()], 1)
    x = torch.where(label[:, None] == 0, upper, lower) + noise * draws.normals(seed, index, _NOISE, 2)
    x = turned(x - torch.tensor([0.5, 0.25]), degrees)
    return InMemory(x=x, label=label, num_classes=2, name=f"moons at {degrees:g} degrees ({split})")


def turned(x: Tensor, degrees: float) -> Tensor:
    """Points (N, 2) turned anticlockwise about the origin."""
    angle = math.radians(degrees)
    cos, sin = math.cos(angle), math.sin(angle)
    return x @ torch.tensor([[cos, sin], [-sin, cos]], dtype=x.dtype)


def moons(split: str = "train") -> Source:
    """Both domains side by side, in orders of their own."""
    target = half_circles(degrees=DEGREES, seed=1, split=split)
    return unpaired(half_circles(split=split), unlabelled(target))
