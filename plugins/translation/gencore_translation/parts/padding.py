"""Pictures of any size for networks that halve them: filled up by mirroring, and cut again."""

from __future__ import annotations

import torch
from torch import Tensor


def mirrored_indices(length: int, size: int) -> Tensor:
    """(length,) int64 in [0, size): 0 ... size - 1, back again with the edge repeated, and so on."""
    places = torch.arange(length) % (2 * size)
    return torch.minimum(places, 2 * size - 1 - places)


def filled_up(x: Tensor, multiple: int, least: int = 1) -> Tensor:
    """Pictures (N, C, H, W) with height and width raised to a multiple of `multiple`, and to `least` at the least.

    What is added stands below and at the right: the picture mirrored, the edge pixel repeated. A picture that fits is
    returned as it is.
    """
    for axis in (-2, -1):
        size = x.shape[axis]
        wanted = -(-max(size, least) // multiple) * multiple
        if wanted != size:
            x = x.index_select(axis, mirrored_indices(wanted, size).to(x.device))
    return x
