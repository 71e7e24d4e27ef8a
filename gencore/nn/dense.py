"""Fully connected networks."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import nn


def mlp(widths: Sequence[int], *, slope: float = 0.2) -> nn.Sequential:
    """Linear layers from widths[0] to widths[-1] with LeakyReLU(slope) between them (0: ReLU), none at the end."""
    layers: list[nn.Module] = []
    for width_in, width_out in itertools.pairwise(widths):
        layers += [nn.Linear(width_in, width_out), nn.LeakyReLU(slope, inplace=True)]
    return nn.Sequential(*layers[:-1])
